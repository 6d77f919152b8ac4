"""The course's cluster, from whatever state this machine is in; or the one that the reader named, as it is."""

from __future__ import annotations

from labkit import backend
from labkit.cluster import context, engine, kind, sources
from labkit.cluster.source import ensure_release
from labkit.progress import Progress, Report
from labkit.settings import settings


def bring_up(progress: Progress) -> None:
    """A cluster that answers: one of the course's own, made where there is none; or the reader's, found.

    Raises LabError.
    """
    if settings().context:
        context.find(progress)
    else:
        backend.work("bring the cluster up", _bring_up, progress.tell, changes=True)


def is_up() -> bool:
    """Whether it is whole, runs and answers. Raises LabError where nobody can say."""
    return bool(context.require()) if settings().context else kind.is_up()


def name() -> str:
    """What a kubeconfig calls it."""
    s = settings()
    return s.context or f"kind-{s.cluster}"


def _bring_up(report: Report) -> None:
    progress = Progress(report, backend.now)
    engine.require()
    if kind.is_up():
        return
    source = sources.choose()
    ensure_release(source, progress)
    kind.up(source, progress)
