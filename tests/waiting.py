"""Notebooks that wait for their recording: their labs need a source that the recording run did not have."""

from __future__ import annotations

from pathlib import Path

from labkit.course import availability, labs
from labkit.course.lab import Lab
from labkit.settings import NOTEBOOKS


def waiting(path: Path) -> Lab | None:
    """The lab of a notebook of the course's that stores no outputs yet; None of any other file."""
    found = [lab for lab in labs.LABS if path.parent == NOTEBOOKS and path.name.startswith(f"{lab.number}-")]
    return found[0] if found and availability.is_unrecorded(found[0]) else None
