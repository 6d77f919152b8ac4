"""A recording as it lies on disk: what a notebook's cells asked, in their order, and what they were answered.

NAME.jsonl is text: a line that heads it, then for each cell a line of its own and one for each call, then a seal.
NAME.xz holds the answers that are long, compressed cell by cell, so that playing back a cell unpacks no other's.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.recordings.keys import changes, said
from labkit.recordings.scrub import secrets
from labkit.settings import ISTIO, KUBERNETES, RECORDINGS

FORMAT = 1
LONG = 600  # characters; a longer answer goes where it is compressed
LARGEST = 1 << 28  # bytes that a cell's answers may unpack to


@dataclass(frozen=True)
class Call:
    """Something that was asked, and what came of it.

    strand: the calls of one strand came one after the other. kind: which of the venue's functions. answer: what it
    returned, or what it raised under "error". start, seconds: when, since the notebook's kernel began. clocks: what
    the clocks said in this strand from here to its next call; a large number is a time since 1970.
    """

    strand: str
    kind: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    start: float
    seconds: float
    clocks: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """What makes two requests the same."""
        return key(self.kind, self.request)


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
    """A cell's calls, and what the clocks said before the first of each strand."""

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


class Tape:
    """A recording that was found to be whole, unchanged and free of secrets; cells are unpacked as they are asked for.

    Raises LabError, with the file and the reason, where it is not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = head(path)
        lines = _sealed(path)
        self._cells = [json.loads(line) for line in lines if line.startswith('{"cell"')]
        self._calls: list[list[str]] = [[] for _ in self._cells]
        number = -1
        for line in lines[1:]:
            if line.startswith('{"cell"'):
                number += 1
            else:
                self._calls[number].append(line)

    @cached_property
    def changing(self) -> Mapping[int, tuple[int, ...]]:
        """Of each cell, by its number, the calls that change something."""
        return {
            number: tuple(n for n, (kind, request) in enumerate(asked) if changes(kind, request))
            for number, asked in enumerate(self._asked)
        }

    def steps(self, wanted: str) -> list[tuple[int, int]]:
        """Where something was asked, by its key: numbers of cells, each with the number of a call in it."""
        return self._places.get(wanted, [])

    def changes(self, step: tuple[int, int]) -> bool:
        """Whether a call changes something."""
        return step[1] in self.changing[step[0]]

    def said(self, kind: str) -> list[str]:
        """All that was asked of a kind, in a reader's words."""
        calls = (call for asked in self._asked for call in asked)
        return list(dict.fromkeys(said(each, request) for each, request in calls if each == kind))

    @cached_property
    def _asked(self) -> list[list[tuple[str, dict[str, Any]]]]:
        found = [[json.loads(line) for line in lines] for lines in self._calls]
        return [[(call["kind"], call["request"]) for call in calls] for calls in found]

    @cached_property
    def _places(self) -> dict[str, list[tuple[int, int]]]:
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, asked in enumerate(self._asked):
            for n, (kind, request) in enumerate(asked):
                places[key(kind, request)].append((number, n))
        return places

    def played(self, number: int) -> Played:
        """What the cell of this number (from 0) asked."""
        cell = self._cells[number]
        long = self._long(cell["long"])
        calls = (_call(json.loads(line), long) for line in self._calls[number])
        return Played(tuple(calls), {strand: tuple(clocks) for strand, clocks in cell["opening"].items()})

    def _long(self, place: Sequence[int]) -> str:
        offset, size = place
        if not size:
            return ""
        packed = _packed(self.path)
        with packed.open("rb") as file:
            file.seek(offset)
            try:
                text = lzma.LZMADecompressor().decompress(file.read(size), LARGEST).decode()
            except (lzma.LZMAError, UnicodeDecodeError) as error:
                raise refused(packed, f"it is damaged: {error}") from None
        _refuse_secrets(packed, text)
        return text


def tapes() -> list[Path]:
    """The recordings that there are, in the notebooks' order."""
    return sorted(RECORDINGS.glob("[0-9][0-9]-*.jsonl"))


def of(notebook: str) -> Path:
    """Where the recording of a notebook lies, by the notebook's name without its ending."""
    return RECORDINGS / f"{notebook}.jsonl"


def head(path: Path) -> Head:
    """A recording's first line. Raises LabError where it is none, or one of another version."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.readline())
        if (found["format"], found["istio"]) == (FORMAT, ISTIO):
            return Head(**{**found, "cells": tuple(Mark(**cell) for cell in found["cells"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refused(path, f"it could not be read: {error}") from None
    made, here = f"format {found['format']}, Istio {found['istio']}", f"format {FORMAT}, Istio {ISTIO}"
    raise refused(path, f"it is of another version: {made}; this course plays back {here}")


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
    path.write_text(text + _line(_seal(text.encode(), bytes(packed))) + "\n", encoding="utf-8")


def key(kind: str, request: Mapping[str, Any]) -> str:
    """What makes two requests the same."""
    return f"{kind} {json.dumps(request, sort_keys=True, ensure_ascii=False)}"


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
    return {**asdict(replace(call, answer={})), "answer": answer}


def _call(found: dict[str, Any], long: str) -> Call:
    answer = {name: _unpacked(value, long) for name, value in found["answer"].items()}
    return Call(**{**found, "answer": answer, "clocks": tuple(found["clocks"])})


def _unpacked(value: Any, long: str) -> Any:
    if isinstance(value, dict) and set(value) == {"long"}:
        offset, length = value["long"]
        return long[offset : offset + length]
    return value


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- trusted only as it was written -----------------------------------------------------------------
def _seal(text: bytes, packed: bytes) -> dict[str, str]:
    return {"seal": hashlib.sha256(text).hexdigest(), "long": hashlib.sha256(packed).hexdigest()}


def _sealed(path: Path) -> list[str]:
    """The lines of a recording but for its seal. Raises LabError where anything in it was cut or changed."""
    try:
        text, packed = path.read_text(encoding="utf-8"), _packed(path).read_bytes()
        body, _, seal = text.removesuffix("\n").rpartition("\n")
        found = json.loads(seal)
    except (OSError, ValueError) as error:
        raise refused(path, f"it is truncated, or part of it is missing: {error}") from None
    if not isinstance(found, dict) or found.keys() != {"seal", "long"}:
        raise refused(path, "it is truncated or edited: the seal at its end is missing")
    body += "\n"
    expected = _seal(body.encode(), packed)
    if found["seal"] != expected["seal"]:
        raise refused(path, "it was edited: its content is not what its seal was made for")
    if found["long"] != expected["long"]:
        raise refused(_packed(path), f"it was cut or edited: it is not what {path.name} was sealed with")
    _refuse_secrets(path, body)
    return body.removesuffix("\n").split("\n")  # an answer may hold what else `splitlines` takes for a line's end


def _packed(path: Path) -> Path:
    return path.with_suffix(".xz")


def _refuse_secrets(path: Path, text: str) -> None:
    if found := secrets(text):
        raise refused(path, f"it holds {', '.join(found)}, which no recording may")
