"""A recording as it lies on disk: what a notebook's cells asked, in their order, and what they were answered.

NAME.jsonl is text: a line that heads it, then for each cell a line of its own and one for each call, then a digest.
NAME.xz holds the answers that are long, compressed cell by cell, so that playing back a cell unpacks no other's.

The digest is against accidents: it tells a recording that was cut or edited from a whole one. It proves nothing of who
made it, so that whatever a recording says has its shape checked as it is read, and takes no more memory than it says.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit import commands
from labkit.backend.requests import KINDS, Command, key
from labkit.errors import LabError
from labkit.recordings import shapes
from labkit.recordings.scrub import each_text, expanded, secrets
from labkit.settings import ISTIO, KUBERNETES, RECORDINGS

FORMAT = 2
LONG = 600  # characters; a longer answer goes where it is compressed
LARGEST = 1 << 24  # bytes of a file, and of what a cell's long answers unpack to; the course's largest takes 10 MB
_DECODER = 80 << 20  # bytes of memory that unpacking takes at most: xz's highest preset needs 65 MiB


@dataclass(frozen=True)
class Call:
    """Something that was asked, and what came of it.

    sequence: its calls came one after the other. kind: which kind of request. answer:
    what was answered, or the error raised, under "error". start, seconds: when, since the notebook's kernel began.
    clocks: what the clocks said in this sequence from here to its next call; a large number is a time since 1970.
    changes: something was another after it.
    """

    sequence: str
    kind: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    start: float
    seconds: float
    clocks: tuple[float, ...] = ()
    changes: bool = False

    @property
    def key(self) -> str:
        """What makes two requests the same, with the reader's own folders in it."""
        return key(self.kind, each_text(self.request, expanded))


@dataclass(frozen=True)
class Mark:
    """A cell, as the head of a recording tells of it.

    cell: its id in the notebook. source: its text. aside: later cells do not build upon it. changes: it changed
    something. enters: it brought the mesh to the lab's start. outputs: a digest of what it showed.
    """

    cell: str
    source: str
    aside: bool = False
    changes: bool = False
    enters: bool = False
    outputs: str = ""


@dataclass(frozen=True)
class Played:
    """A cell's calls, and what the clocks said before the first of each sequence."""

    calls: tuple[Call, ...]
    opening: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """What a recording is of. recorded: when, in UTC. mesh: the line that described the mesh."""

    notebook: str
    recorded: str
    mesh: str
    cells: tuple[Mark, ...]
    istio: str = ISTIO
    kubernetes: str = KUBERNETES
    format: int = FORMAT

    @property
    def lab(self) -> str:
        """The lab's two digits."""
        return self.notebook[:2]


class Recording:
    """A recording that was found to be whole and of the right shape; a cell's long answers are unpacked when asked for.

    Raises LabError, with the file and the reason, where it is not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        first, *lines = _lines(path)
        self.head = _head(path, first)
        with _named(path):
            self._cells = _cells(lines, [mark.cell for mark in self.head.cells], _size(_packed(path)))

    @cached_property
    def changing(self) -> Mapping[int, tuple[int, ...]]:
        """Of each cell, by its number, the calls that change something."""
        return {
            number: tuple(n for n, call in enumerate(calls) if call["changes"])
            for number, calls in enumerate(self._asked)
        }

    def steps(self, wanted: str) -> list[tuple[int, int]]:
        """Where something was asked, by its key: numbers of cells, each with the number of a call in it."""
        return self._places.get(wanted, [])

    def alike(self, asked: Mapping[str, Any]) -> list[tuple[int, int]]:
        """Where a command was run that changed something and means the same, with the same input and manifests."""
        return self._meant.get(_meant(asked), []) if commands.meaning(asked["argv"]) else []

    def changes(self, step: tuple[int, int]) -> bool:
        """Whether a call changes something."""
        return step[1] in self.changing[step[0]]

    def said(self, kind: str) -> list[str]:
        """All that was asked of a kind, in a reader's words."""
        asked = (call["request"] for calls in self._asked for call in calls if call["kind"] == kind)
        return list(dict.fromkeys(expanded(KINDS[kind].words(each)) for each in asked))

    @cached_property
    def _asked(self) -> list[tuple[dict[str, Any], ...]]:
        return [cell.calls for cell in self._cells]

    @cached_property
    def _places(self) -> dict[str, list[tuple[int, int]]]:
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, calls in enumerate(self._asked):
            for n, call in enumerate(calls):
                places[key(call["kind"], each_text(call["request"], expanded))].append((number, n))
        return places

    @cached_property
    def _meant(self) -> dict[Any, list[tuple[int, int]]]:
        places: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for number, calls in self.changing.items():
            for n in calls:
                call = self._asked[number][n]
                if call["kind"] == Command.kind:
                    places[_meant(each_text(call["request"], expanded))].append((number, n))
        return places

    def played(self, number: int) -> Played:
        """What the cell of this number (from 0) asked."""
        cell = self._cells[number]
        long = self._long(cell) if cell.length else ""
        calls = (_call(each, long) for each in cell.calls)
        return Played(tuple(calls), {sequence: tuple(clocks) for sequence, clocks in cell.opening.items()})

    def _long(self, cell: _Cell) -> str:
        packed = _packed(self.path)
        with packed.open("rb") as file:
            file.seek(cell.offset)
            content = file.read(cell.size)
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER)
        try:
            # a character takes four bytes at most; one byte more shows that there is more than the calls point at
            text = decoder.decompress(content, min(4 * cell.length, LARGEST) + 1)
            if not decoder.eof and not decoder.needs_input:
                raise refused(
                    packed, f"it unpacks to more than the {cell.length} characters that {self.path.name} says"
                )
            if not decoder.eof or decoder.unused_data or len(decoded := text.decode()) != cell.length:
                raise refused(packed, f"it does not unpack to the {cell.length} characters that {self.path.name} says")
        except (lzma.LZMAError, MemoryError, UnicodeDecodeError) as error:
            raise refused(packed, f"it is damaged: {error}") from None
        return decoded


def _meant(asked: Mapping[str, Any]) -> tuple[Any, ...]:
    return commands.meaning(asked["argv"]), asked.get("stdin"), tuple(sorted(asked.get("manifests", {}).items()))


def recordings() -> list[Path]:
    """The recordings that there are, in the notebooks' order."""
    return sorted(RECORDINGS.glob("[0-9][0-9]-*.jsonl"))


def of(notebook: str) -> Path:
    """Where the recording of a notebook lies, by the notebook's name without its ending."""
    return RECORDINGS / f"{notebook}.jsonl"


def schemas() -> Path:
    """Where what the API server tells of its kinds' fields lies, for all recordings together."""
    return RECORDINGS / "openapi.xz"


def head(path: Path) -> Head:
    """A recording's first line. Raises LabError where it is none, or one of another version or notebook."""
    _size(path)
    with _named(path), path.open("rb") as file:
        return _head(path, file.readline().removesuffix(b"\n"))


def write(path: Path, heading: Head, cells: Iterable[Played]) -> None:
    """Write a recording down. Raises LabError rather than write a secret."""
    packed = bytearray()
    lines = [_line(asdict(heading))]
    for number, cell in enumerate(cells):
        lines += _cell_lines(heading.cells[number].cell, cell, packed, path)
    text = "\n".join(lines) + "\n"
    _refuse_secrets(path, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    _packed(path).write_bytes(packed)
    path.write_bytes((text + _line(_digests(text.encode(), bytes(packed))) + "\n").encode())


def refused(path: Path, why: str) -> LabError:
    """What to say of a file that is not played back."""
    return LabError(
        f"{path.name} cannot be played back.",
        why,
        f"`git checkout {path.parent.name}/` in the folder notebooks restores it; `make record` makes it anew",
    )


# -- to lines and back ----------------------------------------------------------------------------
def _cell_lines(name: str, cell: Played, packed: bytearray, path: Path) -> Iterator[str]:
    long = _Long()
    calls = [_line(_as_json(call, long)) for call in cell.calls]
    _refuse_secrets(_packed(path), long.text)
    content = lzma.compress(long.text.encode(), preset=9) if long.text else b""
    yield _line({"cell": name, "opening": cell.opening, "long": [len(packed), len(content)]})
    packed += content
    yield from calls


class _Long:
    """Long texts in one; the same text stands there once."""

    def __init__(self) -> None:
        self.text = ""
        self._places: dict[str, list[int]] = {}

    def place(self, text: str) -> list[int]:
        if text not in self._places:
            self._places[text] = [len(self.text), len(text)]
            self.text += text
        return self._places[text]


def _as_json(call: Call, long: _Long) -> dict[str, Any]:
    answer = {
        name: {"long": long.place(value)} if isinstance(value, str) and len(value) > LONG else value
        for name, value in call.answer.items()
    }
    told = {**asdict(replace(call, answer={})), "answer": answer, "clocks": list(call.clocks)}
    return {name: value for name, value in told.items() if name not in _USUAL or value != _USUAL[name]}


def _call(found: dict[str, Any], long: str) -> Call:
    answer = {name: _unpacked(value, long) for name, value in found["answer"].items()}
    return Call(**{**found, "answer": answer, "clocks": tuple(found["clocks"])})


def _unpacked(value: Any, long: str) -> Any:
    if _is_place(value):
        offset, length = value["long"]
        return long[offset : offset + length]
    return value


def _is_place(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"long"}


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- read only as it was written ------------------------------------------------------------------
_MARK = {"cell": str, "source": str, "aside": bool, "changes": bool, "enters": bool, "outputs": str}
_HEAD = {
    "notebook": str, "recorded": shapes.time, "mesh": str, "cells": [_MARK],
    "istio": str, "kubernetes": str, "format": int,
}  # fmt: skip
_CELL = {"cell": str, "opening": {...: [float]}, "long": (shapes.count, shapes.count)}
_CALL = {
    "sequence": str, "kind": str, "request": {...: shapes.anything}, "answer": {...: shapes.anything},
    "start": float, "seconds": float, "clocks": [float], "changes": bool,
}  # fmt: skip
_USUAL: dict[str, Any] = {"sequence": "", "clocks": [], "changes": False}  # of most calls, and not written down
_PLACE = {"long": (shapes.count, shapes.count)}
_TEXT = shapes.either(str, _PLACE)
_ERROR = {"error": shapes.either(
    {"type": str, "what": str, "why": str, "fix": str},
    {"type": str, "what": str, "why": str, "fix": str, "status": int, "reason": str},
)}  # fmt: skip
_EVENT = {"stage": str, "status": str, "note": str, "seconds": float}
_ANSWERS = {
    "run": {"returncode": int, "stdout": _TEXT, "stderr": _TEXT, "seconds": float},
    "http": {"status": int, "headers": {...: str}, "text": _TEXT, "seconds": float},
    "kubernetes": {"value": _TEXT},
    "get": {"value": _TEXT},
    "text": {"value": _TEXT},
    "exists": {"value": bool},
    "work": {"value": shapes.anything, "told": [_EVENT]},
}


@dataclass(frozen=True)
class _Cell:
    """A cell's line and its calls'. offset, size: where its part of NAME.xz lies. length: characters unpacked."""

    opening: Mapping[str, list[float]]
    offset: int
    size: int
    length: int
    calls: tuple[dict[str, Any], ...]


def _cells(lines: Sequence[bytes], names: Sequence[str], packed: int) -> list[_Cell]:
    """Raises shapes.Malformed where lines are no cells of these names, with `packed` bytes of long answers in all."""
    starts: list[dict[str, Any]] = []
    calls: list[list[dict[str, Any]]] = []
    for number, line in enumerate(lines, 2):
        where = f"line {number}"
        found = shapes.parsed(line, where)
        if isinstance(found, dict) and "cell" in found:
            starts.append(shapes.checked(found, _CELL, where))
            calls.append([])
        elif not starts:
            raise shapes.Malformed(f"{where} is no cell")
        else:
            calls[-1].append(_checked_call(found, where))
    if [start["cell"] for start in starts] != list(names):
        raise shapes.Malformed("its cells are not those that its first line names")
    cells, reached = [], 0
    for start, asked in zip(starts, calls, strict=True):
        offset, size = start["long"]
        length = _tiled(call["answer"] for call in asked)
        if offset != reached or bool(size) != bool(length):
            raise shapes.Malformed(f"the long answers of cell {start['cell']!r} are not where the cell before ends")
        reached += size
        cells.append(_Cell(start["opening"], offset, size, length, tuple(asked)))
    if reached != packed:
        raise shapes.Malformed(f"its cells have {reached} bytes of long answers, and there are {packed}")
    return cells


def _checked_call(found: Any, where: str) -> dict[str, Any]:
    told = shapes.checked(found, {...: shapes.anything}, where)
    call = shapes.checked({**_USUAL, **told}, _CALL, where)
    answer = call["answer"]
    shape = _ERROR if "error" in answer else _ANSWERS.get(call["kind"], {...: shapes.anything})
    shapes.checked(answer, shape, f"{where}, answer")
    for value in answer.values():
        if _is_place(value):
            shapes.checked(value, _PLACE, f"{where}, answer")
    return call


def _tiled(answers: Iterable[Mapping[str, Any]]) -> int:
    """How long a cell's long text is: its parts follow each other without gap or overlap."""
    places = {tuple(value["long"]) for answer in answers for value in answer.values() if _is_place(value)}
    end = 0
    for offset, length in sorted(places):
        if offset != end or not length:
            raise shapes.Malformed("long answers overlap, or have gaps between them")
        end += length
    if end > LARGEST:
        raise shapes.Malformed(f"a cell's long answers unpack to {end} characters, and {LARGEST} are the most")
    return end


def _head(path: Path, line: bytes) -> Head:
    with _named(path):
        found = shapes.parsed(line, "its first line")
        made = shapes.checked(found, {...: shapes.anything}, "its first line")
        if [made.get("format"), made.get("istio")] != [FORMAT, ISTIO]:
            told = f"format {made.get('format')!s:.20}, Istio {made.get('istio')!s:.20}"
            here = f"format {FORMAT}, Istio {ISTIO}"
            raise shapes.Malformed(f"it is of another version: {told}; this course plays back {here}")
        shapes.checked(found, _HEAD, "its first line")
        if found["notebook"] != path.stem:
            raise shapes.Malformed(f"it is a recording of {found['notebook']!r}, under another name")
    return Head(**{**found, "cells": tuple(Mark(**cell) for cell in found["cells"])})


def _digests(text: bytes, packed: bytes) -> dict[str, str]:
    return {"digest": hashlib.sha256(text).hexdigest(), "long": hashlib.sha256(packed).hexdigest()}


def _lines(path: Path) -> list[bytes]:
    """The lines of a recording but for its digests. Raises LabError where anything in it was cut or changed."""
    packed = _packed(path)
    for file in (path, packed):
        _size(file)
    content = path.read_bytes()
    body, _, last = content.removesuffix(b"\n").rpartition(b"\n")
    with _named(path):
        try:
            found = shapes.checked(shapes.parsed(last, "its last line"), {"digest": str, "long": str}, "its last line")
        except shapes.Malformed as error:
            raise shapes.Malformed(f"it is truncated, or its digest is missing: {error}") from None
        expected = _digests(body + b"\n", packed.read_bytes())
        if found["digest"] != expected["digest"]:
            raise shapes.Malformed("it was edited: its content is not what its digest was made for")
        if b"\r" in content or not content.endswith(b"\n"):
            raise shapes.Malformed("its lines do not end as they were written")
    if found["long"] != expected["long"]:
        raise refused(packed, f"it was cut or edited: it is not what {path.name} has the digest of")
    return body.split(b"\n")


def _size(path: Path) -> int:
    """Bytes of an ordinary file. Raises LabError where it is none, or a larger one than any recording's."""
    try:
        found = path.lstat()
    except OSError as error:
        raise refused(path, f"it is missing, or cannot be looked at: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise refused(path, "it is no ordinary file")
    if found.st_size > LARGEST:
        raise refused(path, f"it is of {found.st_size} bytes, and {LARGEST} are the most")
    return found.st_size


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is malformed is refused, with the file's name."""
    try:
        yield
    except (shapes.Malformed, OSError) as error:
        raise refused(path, str(error)) from None


def _packed(path: Path) -> Path:
    return path.with_suffix(".xz")


def _refuse_secrets(path: Path, text: str) -> None:
    if found := secrets(text):
        raise refused(path, f"it holds {', '.join(found)}, which no recording may")
