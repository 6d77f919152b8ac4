"""Recordings on disk: what was written is read again, and whatever else lies there is refused with its reason."""

from __future__ import annotations

import base64
import json
import lzma
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from private import of_the_machine, private_things

from labkit.errors import LabError
from labkit.recordings import files, scrub
from labkit.recordings.files import Call, Head, Mark, Played, Recording
from labkit.settings import ISTIO

KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA " + "PRIVATE KEY-----"
TOKEN = ".".join(["eyJhbGciOiJSUzI1NiJ9", "eyJpc3MiOiJ0ZXN0ZXIifQ", "c2lnbmF0dXJlc2ln"])
PLANTED = {
    "a key": KEY,
    "a key in a Secret": base64.b64encode(KEY.encode()).decode(),
    "a token": TOKEN,
    "a bearer token": "Authorization: Bearer " + "a1b2" * 8,
    "a client key": "client-key-data: " + "QUJD" * 8,
    "a session": "Set-Cookie: session=" + "abcd" * 5,
}


def call(answer: dict, request: dict | None = None, kind: str = "which", sequence: str = "", clocks=()) -> Call:
    return Call(sequence, kind, request or {"argv": ["true"]}, answer, 1.0, 0.5, tuple(clocks))


def head(*cells: Mark, **changed) -> Head:
    return Head("42-a-lab", "2026-11-24T12:00:00Z", "a mesh", cells, **changed)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "42-a-lab.jsonl"
    cells = [Played((call({"stdout": "short"}), call({"stdout": "long " * 1000}))), Played(())]
    files.write(path, head(Mark("a", "%one"), Mark("b", "%two")), cells)
    return path


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5).filter(lambda n: n != "long"), each),
    max_leaves=5,
)
# what stands under "error" has a form of its own
NAMES = st.text(string.ascii_letters, min_size=1, max_size=5).filter(lambda name: name not in ("error", "long"))
answers = st.dictionaries(NAMES, json_values, max_size=3)
calls = st.builds(
    Call,
    sequence=st.sampled_from(["", "*", "a"]),
    kind=st.sampled_from(["which", "forward"]),
    request=answers,
    answer=answers | st.text(min_size=files.LONG - 2, max_size=files.LONG + 2).map(lambda text: {"stdout": text}),
    start=st.floats(0, 1e6),
    seconds=st.floats(0, 1e6),
    clocks=st.lists(st.floats(0, 2e9), max_size=3).map(tuple),
)


@given(st.lists(st.lists(calls, max_size=4), min_size=1, max_size=3))
def test_what_was_written_is_read_again(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("tape") / "42-a-lab.jsonl"
    played = [Played(tuple(each), {"": (1.5, 2e9)}) for each in cells]
    files.write(path, head(*(Mark(str(n), f"%{n}") for n in range(len(cells)))), played)
    assert [Recording(path).played(n) for n in range(len(cells))] == played


def test_a_long_answer_that_came_twice_stands_there_once(tmp_path):
    path = tmp_path / "42-a-lab.jsonl"
    text = "".join(map(chr, range(33, 1500)))
    files.write(path, head(Mark("a", "%one")), [Played((call({"stdout": text}), call({"stdout": text})))])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[2]["answer"] == lines[3]["answer"] != {"stdout": text}


# -- refused, with the file and the reason --------------------------------------------------------
def refusal(path) -> LabError:
    with pytest.raises(LabError) as caught:
        Recording(path).played(0)
    return caught.value


@pytest.mark.parametrize("keep", [0, 1, 60, 0.5, -2, -40])
def test_a_truncated_one(written, keep):
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * keep)] if isinstance(keep, float) else content[:keep])
    assert written.name in refusal(written).what


@given(st.data())
def test_one_with_a_single_byte_changed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tape") / "42-a-lab.jsonl"
    files.write(path, head(Mark("a", "%one")), [Played((call({"stdout": "x" * 5000}),))])
    target = path.with_suffix(data.draw(st.sampled_from([".jsonl", ".xz"])))
    content = bytearray(target.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))  # the newline at the very end says nothing
    content[at] ^= data.draw(st.integers(1, 255))
    target.write_bytes(content)
    assert refusal(path)


@pytest.mark.parametrize(
    "digest", ["{}", '{"digest": 1}', '{"digest": "", "Long": ""}', '{"digest": [], "long": {}}', "[1]", "1"]
)
def test_one_with_an_odd_digest(written, digest):
    lines = written.read_text().splitlines()
    written.write_text("\n".join([*lines[:-1], digest]) + "\n")
    assert written.name in refusal(written).what


def test_an_edited_one(written):
    written.write_text(written.read_text().replace("short", "other"))
    assert "edited" in refusal(written).why


def test_one_whose_long_answers_are_another_recordings(written):
    written.with_suffix(".xz").write_bytes(b"")
    found = refusal(written)
    assert written.with_suffix(".xz").name in found.what


def test_one_without_its_long_answers(written):
    written.with_suffix(".xz").unlink()
    assert "missing" in refusal(written).why


@pytest.mark.parametrize("changed", [{"istio": "1.14.1"}, {"format": files.FORMAT + 1}])
def test_one_of_another_version(tmp_path, changed):
    path = tmp_path / "42-a-lab.jsonl"
    files.write(path, head(Mark("a", "%one"), **changed), [Played(())])
    why = refusal(path).why
    assert str(next(iter(changed.values()))) in why
    assert ISTIO in why


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("length", [0, 5000], ids=["short", "long"])
def test_no_secret_is_written(tmp_path, text, length):
    answer = {"stdout": text + " " * length}
    with pytest.raises(LabError, match="holds"):
        files.write(tmp_path / "42-a-lab.jsonl", head(Mark("a", "%one")), [Played((call(answer),))])
    assert not list(tmp_path.iterdir())


# -- scrubbing ------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
@given(before=st.text(), after=st.text())
def test_what_was_scrubbed_holds_no_secret(text, before, after):
    assert scrub.secrets(scrub.scrubbed(f"{before}\n{text}\n{after}")) == []


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_a_secret_is_seen(text):
    assert scrub.secrets(f"before {text} after")


def test_folders_become_words_and_the_readers_own_again(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "here"))
    text = scrub.scrubbed(f"{tmp_path}/here/bin and {tmp_path}/here/cache/istio")
    assert str(tmp_path) not in text
    monkeypatch.setenv("LABKIT_HOME", "/elsewhere")
    assert scrub.expanded(text) == "/elsewhere/bin and /elsewhere/cache/istio"


def test_a_node_tells_nothing_of_the_machine():
    told = scrub.scrubbed('{"machineID": "0123", "bootID":"4567", "kernelVersion": "6.1.0-x", "architecture": "amd64"}')
    assert not re.search(r"0123|4567|6\.1\.0", told)
    assert "amd64" in told


# -- the course's own -----------------------------------------------------------------------------
RECORDINGS = files.recordings()


def everything(path) -> str:
    return path.read_text() + lzma.decompress(path.with_suffix(".xz").read_bytes()).decode()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_courses_recordings_hold_nothing_private(path):
    assert of_the_machine(everything(path)) == []


# however deep the JSON lies in other JSON
MACHINE = re.compile(r'(?:machineID|systemUUID|bootID|kernelVersion|osImage)\\*": ?\\*"(?!⟨machine⟩)')


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_courses_recordings_tell_nothing_of_the_machine(path):
    assert MACHINE.search(everything(path)) is None


def test_a_machine_that_is_told_of_is_seen():
    assert MACHINE.search(json.dumps({"stdout": json.dumps({"bootID": "0123"})}))
    told = {"stdout": scrub.scrubbed(json.dumps({"bootID": "0123"}))}
    assert not MACHINE.search(json.dumps(told, ensure_ascii=False))


def test_something_private_in_a_recording_is_seen(written):
    for planted in ("/" + "root/istio/bin", KEY):
        written.write_text(written.read_text() + planted)
        assert private_things(written.read_text())


def test_the_courses_recordings_are_small():
    size = sum(each.stat().st_size for path in RECORDINGS for each in (path, path.with_suffix(".xz")))
    assert size < 15 * 2**20
