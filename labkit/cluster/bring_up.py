"""The course's cluster, from whatever state this machine is in."""

from __future__ import annotations

from labkit import venue
from labkit.cluster import kind, sources
from labkit.cluster.source import ensure_release
from labkit.progress import Progress, Report


def bring_up(progress: Progress) -> None:
    """A cluster of the course's own that answers; nothing is done where there is one. Raises LabError."""
    venue.work("bring the cluster up", _bring_up, progress.tell)


def _bring_up(report: Report) -> None:
    progress = Progress(report, venue.now)
    if kind.is_up():
        return
    source = sources.choose()
    ensure_release(source, progress)
    kind.up(source, progress)
