"""Which mesh a notebook's kernel works on: a live one where a container engine answers, else a recorded one."""

from __future__ import annotations

from pathlib import Path

from labkit import venue
from labkit.cluster import engine
from labkit.cluster.together import together
from labkit.errors import LabError
from labkit.settings import IN_CONTEXT, NAMESPACE, settings
from labkit.venue.live import Live
from labkit.venue.recorded import Recorded
from labkit.venue.recording import Recording

VENUES = ("kind", "recorded", f"{IN_CONTEXT}NAME")
PATIENCE = 4.0  # seconds for an engine to answer; one that is stuck is none


def begin(ipython) -> None:
    """Take up the venue for this kernel, say which it is, and let it know of each cell that runs."""
    venue.install(chosen())
    ipython.events.register("pre_run_cell", lambda info: venue.begin_cell(info.raw_cell, info.cell_id))
    ipython.events.register("post_run_cell", lambda result: venue.end_cell())
    print(venue.describe())


def chosen() -> venue.Venue:
    """The venue that LABKIT_VENUE names, else the one that this machine allows. Raises LabError.

    For an unknown name, and for a context or a namespace in it that the course cannot work in.
    """
    s = settings()
    if s.tape:
        return Recording(Path(s.tape))
    if not s.venue:
        return Live() if _engine_answers() else Recorded()
    if s.context:
        return _context()
    if s.venue not in ("kind", "recorded"):
        raise LabError(
            f"LABKIT_VENUE names no venue: {s.venue!r}.",
            f"the venues are {', '.join(VENUES)}",
            "unset LABKIT_VENUE, and the course picks by itself",
        )
    return Live() if s.venue == "kind" else Recorded()


def _engine_answers() -> bool:
    try:
        found = together({"engine": engine.state}, PATIENCE)
    except LabError:
        return False
    return "engine" in found and found["engine"].usable


def _context() -> venue.Venue:
    from labkit.cluster import context
    from labkit.course.claim import claim
    from labkit.mesh import istio
    from labkit.venue.context import Context

    with venue.use(Live()):
        context.keep()
    with venue.use(Context(NAMESPACE)):
        claim()
        return Context(NAMESPACE, istio.version())
