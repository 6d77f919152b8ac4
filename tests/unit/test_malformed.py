"""A recording that is not what it should be is refused, quickly and in little memory, with its file and the reason."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing import least, processor

from labkit.errors import LabError
from labkit.recordings import files
from labkit.recordings.files import Call, Head, Mark, Played, Recording

NAME = "42-a-lab"
RUN = {"returncode": 0, "stdout": "short", "stderr": "", "seconds": 1.5}
HTTP = {"status": 200, "headers": {"a": "b"}, "text": "x" * 1000, "seconds": 1.5}
WORK = {"value": None, "told": [{"stage": "a", "status": "done", "note": "", "seconds": 1.0}]}
ERROR = {"error": {"type": "LabError", "what": "a", "why": "b", "fix": "c"}}
CALLS = (
    Call("", "run", {"argv": ["true"]}, RUN, 1.0, 0.5, (1.5,)),
    Call("", "http", {"method": "GET", "url": "http://a"}, HTTP, 1.0, 0.5),
    Call("*", "work", {"name": "a"}, WORK, 1.0, 0.5),
    Call("*", "kubernetes", {"method": "GET", "path": "/"}, ERROR, 1.0, 0.5),
)
CELLS = [Played(CALLS, {"": (1.0,)}), Played((Call("", "which", {"program": "a"}, {"value": "y" * 700}, 2.0, 0.5),))]


def write(folder):
    path = folder / f"{NAME}.jsonl"
    files.write(path, Head(NAME, "2026-11-24T12:00:00Z", "a mesh", (Mark("a", "%one"), Mark("b", "%two"))), CELLS)
    return path


@pytest.fixture
def written(tmp_path):
    return write(tmp_path)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The lines of a valid recording but for its digest, and its long answers."""
    path = write(tmp_path_factory.mktemp("valid"))
    return path.read_text().splitlines()[:-1], path.with_suffix(".xz").read_bytes()


def put(path, lines: list[str | bytes], packed: bytes, ending: bytes = b"\n") -> None:
    """Write a recording down whose digest is right, whatever else is wrong."""
    body = b"".join((line if isinstance(line, bytes) else line.encode()) + ending for line in lines)
    digests = {"digest": hashlib.sha256(body).hexdigest(), "long": hashlib.sha256(packed).hexdigest()}
    path.write_bytes(body + json.dumps(digests).encode() + ending)
    path.with_suffix(".xz").write_bytes(packed)


def refusal(path) -> LabError:
    with pytest.raises(LabError) as caught:
        played(path)

    def refused() -> None:
        with suppress(LabError):
            played(path)

    assert least(lambda: processor(refused), 1) < 1
    assert path.stem in caught.value.what
    return caught.value


def played(path) -> list[Played]:
    recording = Recording(path)
    return [recording.played(number) for number in range(len(recording.head.cells))]


# -- what JSON can say, and must not ---------------------------------------------------------------
def edited(change):
    return lambda line: json.dumps(change(json.loads(line)))


def with_(**fields):
    return edited(lambda found: {**found, **fields})


def without(name):
    return edited(lambda found: {key: value for key, value in found.items() if key != name})


def answer(**fields):
    return edited(lambda found: {**found, "answer": {**found["answer"], **fields}})


MALFORMED = {
    # line, what is done to it
    "a cell without its place": (1, without("long")),
    "a later cell without its place": (6, without("long")),
    "a cell without clocks": (1, without("opening")),
    "a head without cells": (0, without("cells")),
    "a head with a number for cells": (0, with_(cells=1)),
    "a head whose time is none": (0, with_(recorded="yesterday")),
    "a head of too many cells": (0, edited(lambda found: {**found, "cells": [*found["cells"], found["cells"][0]]})),
    "a head of too few cells": (0, edited(lambda found: {**found, "cells": found["cells"][:1]})),
    "a head of cells in another order": (0, edited(lambda found: {**found, "cells": found["cells"][::-1]})),
    "a head with more than it has": (0, with_(more=1)),
    "of another notebook": (0, with_(notebook="43-another-lab")),
    "a call without its kind": (2, without("kind")),
    "a call whose answer is a text": (2, with_(answer="a")),
    "a call whose start is a text": (2, with_(start="1")),
    "a call whose start is true": (2, with_(start=True)),
    "a call whose clocks are texts": (2, with_(clocks=["a"])),
    "an answer without its output": (2, with_(answer={"returncode": 0})),
    "an answer whose output is a number": (2, answer(stdout=1)),
    "an error without a reason": (5, with_(answer={"error": {"what": "a"}})),
    "work that told nothing": (4, answer(told=[{"stage": 1}])),
    "a negative offset": (1, with_(long=[-1, 10])),
    "an offset into the cell before": (6, with_(long=[1, 10])),
    "a size beyond the end": (6, edited(lambda found: {**found, "long": [found["long"][0], found["long"][1] + 1]})),
    "a place of one number": (1, with_(long=[0])),
    "places as texts": (1, with_(long=["0", "1"])),
    "an answer beyond what is there": (3, answer(text={"long": [0, 1001]})),
    "an answer at a negative place": (3, answer(text={"long": [-5, 1000]})),
    "an answer of no length": (3, answer(text={"long": [0, 0]})),
    "an answer after a gap": (3, answer(text={"long": [1, 1000]})),
    "a huge length": (3, answer(text={"long": [0, 10**17]})),
    "no number": (2, lambda line: line.replace("1.5", "NaN")),
    "a number without end": (2, lambda line: line.replace("1.5", "1e999")),
    "a huge number": (2, lambda line: line.replace("1.5", "9" * 4000)),
    "an enormous number": (2, lambda line: line.replace("1.5", "9" * 50_000)),
    "a name twice": (2, lambda line: line.replace('"kind"', '"kind": "run", "kind"')),
    "half a character": (2, lambda line: line.replace("short", "\\ud800")),
    "deep lists": (4, lambda line: line.replace("null", "[" * 100_000 + "]" * 100_000)),
    "lists just too deep to work on": (4, lambda line: line.replace("null", "[" * 900 + "]" * 900)),
    "bytes that are no UTF-8": (2, lambda line: line.encode().replace(b"short", b"\xff\xfe")),
    "a byte order mark": (0, lambda line: b"\xef\xbb\xbf" + line.encode()),
    "an empty line": (3, lambda line: ""),
    "a list for a call": (3, lambda line: "[]"),
    "a text for a cell": (1, lambda line: '"cell"'),
    "null for a head": (0, lambda line: "null"),
}


@pytest.mark.parametrize(("line", "change"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_one(tmp_path, lines, line, change):
    text, packed = lines
    put(tmp_path / f"{NAME}.jsonl", [*text[:line], change(text[line]), *text[line + 1 :]], packed)
    refusal(tmp_path / f"{NAME}.jsonl")


@pytest.mark.parametrize("keep", [slice(0), slice(1), slice(2, None), slice(1, None)])
def test_one_that_lost_lines(tmp_path, lines, keep):
    put(tmp_path / f"{NAME}.jsonl", lines[0][keep], lines[1])
    refusal(tmp_path / f"{NAME}.jsonl")


def test_one_whose_lines_end_otherwise(tmp_path, lines):
    put(tmp_path / f"{NAME}.jsonl", *lines, ending=b"\r\n")
    refusal(tmp_path / f"{NAME}.jsonl")


def test_one_under_another_name(written):
    for file in (written, written.with_suffix(".xz")):
        file.rename(file.with_stem("43-another-lab"))
    found = refusal(written.with_stem("43-another-lab"))
    assert NAME in found.why


# -- what lies in a file's place -------------------------------------------------------------------
IN_ITS_PLACE = {
    "nothing": lambda path: None,
    "an empty file": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": lambda path: os.mkfifo(path),
    "a large file": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("make", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
@pytest.mark.parametrize("ending", [".jsonl", ".xz"])
def test_something_else_in_its_place(written, make, ending):
    path = written.with_suffix(ending)
    path.unlink()
    make(path)
    assert path.name in refusal(written).what
    if ending == ".jsonl":
        with pytest.raises(LabError):
            files.head(written)


# -- what is large only when it is unpacked --------------------------------------------------------
@cache
def bomb(size: int) -> bytes:
    return lzma.compress(b"\0" * size, preset=9)


def claiming(text: list[str], size: int, length: int) -> list[str]:
    one, called = json.loads(text[1]), json.loads(text[3])
    one["long"], called["answer"]["text"] = [0, size], {"long": [0, length]}
    two, last = json.loads(text[6]), json.loads(text[7])
    two["long"], last["answer"]["value"] = [size, 0], ""
    return [text[0], json.dumps(one), text[2], json.dumps(called), *text[4:6], json.dumps(two), json.dumps(last)]


# a fresh interpreter, so that its peak is the recording's
READ = """
import resource, sys, time
from pathlib import Path
from labkit.errors import LabError
from labkit.recordings.files import Recording
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, began = peak(), time.process_time()
try:
    Recording(Path(sys.argv[1])).played(0)
except LabError as error:
    print((peak() - before) / 1024, time.process_time() - began)
"""


@pytest.mark.parametrize("length", [1000, files.LARGEST, files.LARGEST + 1])
def test_a_small_file_that_unpacks_to_more_than_it_says(tmp_path, lines, length):
    packed = bomb(1 << 28)
    put(tmp_path / f"{NAME}.jsonl", claiming(lines[0], len(packed), length), packed)
    refusal(tmp_path / f"{NAME}.jsonl")
    command = [sys.executable, "-c", READ, tmp_path / f"{NAME}.jsonl"]

    def read() -> list[float]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [float(word) for word in done.stdout.split()]

    megabytes, _ = read()
    assert megabytes < 100
    assert least(lambda: read()[1], 1) < 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xz",
        lzma.compress(b"x" * 999),
        lzma.compress(b"x" * 1001),
        lzma.compress(b"\xff" * 1000),
        lzma.compress(b"x" * 1000) + b"more",
        lzma.compress(b"x" * 1000)[:-4],
        lzma.compress(b"x" * 1000, format=lzma.FORMAT_ALONE),
        lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]),
    ],
    ids=["empty", "none", "short", "long", "no UTF-8", "with more after it", "cut", "another format", "hungry"],
)
def test_long_answers_that_are_none(tmp_path, lines, content):
    put(tmp_path / f"{NAME}.jsonl", claiming(lines[0], len(content), 1000), content)
    refusal(tmp_path / f"{NAME}.jsonl")


# -- anything at all ------------------------------------------------------------------------------
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw, value):
    """A value of JSON with something in it lost, added or of another type."""
    if draw(st.integers(0, 3)) == 0 or not isinstance(value, dict | list) or not value:
        return draw(json_values)
    at = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    if draw(st.booleans()):
        pairs = [(name, draw(mutated(item)) if name == at else item) for name, item in pairs]
    else:
        pairs = [(name, item) for name, item in pairs if name != at]
    return dict(pairs) if isinstance(value, dict) else [item for _, item in pairs]


@given(st.data())
def test_any_change_is_refused_or_changes_the_answers_alone(tmp_path_factory, lines, data):
    path = tmp_path_factory.mktemp("mutated") / f"{NAME}.jsonl"
    text, packed = lines
    at = data.draw(st.integers(0, len(text) - 1))
    put(path, [*text[:at], json.dumps(data.draw(mutated(json.loads(text[at])))), *text[at + 1 :]], packed)
    with suppress(LabError):
        cells = played(path)
        assert [len(cell.calls) for cell in cells] == [len(cell.calls) for cell in CELLS]
        for call in (call for cell in cells for call in cell.calls):
            assert isinstance(call.start + call.seconds + sum(call.clocks), int | float)
            assert call.key


@given(st.binary(max_size=200), st.integers(0, 7))
def test_any_bytes_are_refused_or_read(tmp_path_factory, lines, content, at):
    path = tmp_path_factory.mktemp("bytes") / f"{NAME}.jsonl"
    text, packed = lines
    put(path, [*text[:at], content, *text[at + 1 :]], packed)
    with pytest.raises(LabError, match=NAME):
        played(path)
