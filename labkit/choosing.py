"""Which mesh a notebook's kernel works on: a live one where a container engine answers, else a recorded one."""

from __future__ import annotations

from pathlib import Path

from labkit import venue
from labkit.cluster import engine
from labkit.cluster.together import together
from labkit.errors import LabError
from labkit.settings import settings
from labkit.venue.live import Live
from labkit.venue.recorded import Recorded
from labkit.venue.recording import Recording

VENUES = ("kind", "recorded")
PATIENCE = 4.0  # seconds for an engine to answer; one that is stuck is none


def begin(ipython) -> None:
    """Take up the venue for this kernel, say which it is, and let it know of each cell that runs."""
    venue.install(chosen())
    ipython.events.register("pre_run_cell", lambda info: venue.begin_cell(info.raw_cell, info.cell_id))
    ipython.events.register("post_run_cell", lambda result: venue.end_cell())
    print(venue.describe())


def chosen() -> venue.Venue:
    """The venue that LABKIT_VENUE names, else the one that this machine allows. Raises LabError for an unknown name."""
    s = settings()
    if s.tape:
        return Recording(Path(s.tape))
    if not s.venue:
        return Live() if _engine_answers() else Recorded()
    if s.venue not in VENUES:
        raise LabError(
            f"LABKIT_VENUE names no venue: {s.venue!r}.",
            f"the venues are {' and '.join(VENUES)}",
            "unset LABKIT_VENUE, and the course picks by itself",
        )
    return Live() if s.venue == "kind" else Recorded()


def _engine_answers() -> bool:
    try:
        found = together({"engine": engine.state}, PATIENCE)
    except LabError:
        return False
    return "engine" in found and found["engine"].usable
