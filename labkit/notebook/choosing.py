"""Which mesh a notebook's kernel works on: a live one where a container engine answers, else a recorded one."""

from __future__ import annotations

from pathlib import Path

from labkit import backend
from labkit.backend.live import Live
from labkit.cluster import engine
from labkit.cluster.together import together
from labkit.errors import LabError
from labkit.recordings.recorder import Recording
from labkit.recordings.replay import Recorded
from labkit.settings import NAMESPACE, settings

PATIENCE = 4.0  # seconds for an engine to answer; one that is stuck is none


def begin(ipython) -> None:
    """Take up the venue for this kernel, say which it is, and let it know of each cell that runs."""
    backend.install(chosen())
    ipython.events.register("pre_run_cell", lambda info: backend.begin_cell(info.raw_cell, info.cell_id))
    ipython.events.register("post_run_cell", lambda result: backend.end_cell())
    print(backend.describe())


def chosen() -> backend.Venue:
    """The venue that LABKIT_VENUE names, else the one that this machine allows.

    Raises LabError for a context, or a namespace in it, that the course cannot work in.
    """
    s = settings()
    if s.tape:
        return Recording(Path(s.tape))
    if not s.venue:
        return Live() if _engine_answers() else Recorded()
    if s.context:
        return _context()
    return Live() if s.venue == "kind" else Recorded()


def _engine_answers() -> bool:
    try:
        found = together({"engine": engine.state}, PATIENCE)
    except LabError:
        return False
    return "engine" in found and found["engine"].usable


def _context() -> backend.Venue:
    from labkit.backend.context import Context
    from labkit.cluster import context
    from labkit.course.claim import claim
    from labkit.mesh import istio

    with backend.use(Live()):
        context.keep()
    with backend.use(Context(NAMESPACE)):
        claim()
        return Context(NAMESPACE, istio.version())
