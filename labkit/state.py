"""The course's own notes on disk: each is written whole or not at all; a damaged one reads as one that is not there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from labkit.errors import LabError

Note = TypeVar("Note", dict[str, Any], list[Any])


def read(path: Path, default: Note) -> Note:
    """What a file of JSON holds; `default` where it is not there, cut, unreadable, or of another type than that."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return default
    return found if type(found) is type(default) else default


def write(path: Path, note: dict[str, Any] | list[Any]) -> None:
    """Keep a note as JSON. Raises LabError where it cannot be written; what was there before is then there still."""
    write_text(path, json.dumps(note))


def write_text(path: Path, text: str) -> None:
    """Keep a text that only the reader may read. Raises LabError as `write` does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as fresh:
            try:
                fresh.write(text)
                fresh.flush()
                os.fsync(fresh.fileno())
                os.replace(fresh.name, path)
            except BaseException:
                os.unlink(fresh.name)
                raise
    except OSError as error:
        raise LabError(
            f"{path} could not be written.",
            error.strerror or str(error),
            f"make room, or name a folder that can be written with LABKIT_HOME; `df -h {path.parent}` shows the room",
        ) from error


def update(path: Path, default: Note, change: Callable[[Note], Note]) -> None:
    """Change a note, one process at a time; a damaged one is put aside first. Raises LabError as `write` does."""
    with _alone(path):
        if path.exists() and not _is_whole(path, default):
            os.replace(path, path.with_name(f"{path.name}.damaged-{len(put_aside(path)) + 1}"))
        write(path, change(read(path, default)))


def put_aside(path: Path) -> list[Path]:
    """The damaged notes that stood here before."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def _is_whole(path: Path, default: Note) -> bool:
    try:
        return type(json.loads(path.read_bytes())) is type(default)
    except (ValueError, RecursionError):
        return False


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LabError(
            f"{path} could not be locked.", error.strerror or str(error), "name another folder with LABKIT_HOME"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
