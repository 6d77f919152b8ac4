"""The file that keeps a reader's progress, on the reader's machine and for the reader alone.

It outlives clusters, kinds of mesh and updates of the course: what a newer course wrote is neither read nor changed,
what was kept under a lab's earlier number counts for the number that it has now, and other numbers that no lab has any
more stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labkit import state
from labkit.errors import LabError
from labkit.settings import settings

VERSION = 1  # of the file's form
MOVED = {"15-clean-up": "99-clean-up"}  # notebooks that had another number once, and the one they have
_NUMBERS = {old[:2]: new[:2] for old, new in MOVED.items()}

Part = dict[str, Any]


def part(name: str) -> Part:
    """What is kept of "checks" or of "predictions", by number. Raises LabError where a newer course wrote it."""
    kept = state.read(settings().progress_record, {})
    _refuse_newer(kept)
    return _part(kept, name)


def update(name: str, change: Callable[[Part], Part]) -> None:
    """Change what is kept of "checks" or of "predictions". Raises LabError as `part` and `state.update` do."""

    def changed(kept: dict[str, Any]) -> dict[str, Any]:
        _refuse_newer(kept)
        return {**kept, "version": VERSION, name: change(_part(kept, name))}

    state.update(settings().progress_record, {}, changed)


def current(number: str) -> str:
    """The number that a lab (`15`), or something of it (`15.1`), has today."""
    lab, dot, place = number.partition(".")
    return _NUMBERS.get(lab, lab) + dot + place


def put_aside() -> tuple[Path, ...]:
    """Files that held earlier progress and could not be read."""
    return tuple(state.put_aside(settings().progress_record))


def _part(kept: Mapping[str, Any], name: str) -> Part:
    found = kept.get(name)
    if not isinstance(found, dict):
        return {}
    moved = {current(number): each for number, each in found.items()}
    return {**moved, **{number: each for number, each in found.items() if number in moved}}


def _refuse_newer(kept: Mapping[str, Any]) -> None:
    version = kept.get("version", VERSION)
    if isinstance(version, int) and version <= VERSION:
        return
    raise LabError(
        "Your progress is not read, and nothing is added to it.",
        f"{settings().progress_record} is of version {version!r}; this course writes version {VERSION}",
        "update the course, or move the file away",
    )
