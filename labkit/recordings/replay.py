"""Playing back the answers of a real run: nothing is done again, and nothing is waited for.

What was not asked in that run is looked up in the state that the mesh had.
"""

from __future__ import annotations

import difflib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.backend import places
from labkit.backend.answers import KubernetesError, Unreachable
from labkit.backend.protocol import current_sequence
from labkit.backend.requests import (
    Answer,
    Beside,
    CellBegins,
    CellEnds,
    Command,
    Entered,
    Forward,
    PodGet,
    Request,
    Text,
    Watched,
    Work,
)  # fmt: skip
from labkit.errors import LabError
from labkit.progress import Event
from labkit.recordings import files, keys, timeline
from labkit.recordings.files import Call, Head, Mark, Recording
from labkit.recordings.looking import Looking
from labkit.recordings.playing import Playing, is_the_courses_own
from labkit.recordings.scrub import each_text, expanded
from labkit.recordings.timeline import Timeline
from labkit.settings import settings

_SINCE_1970 = 1e8  # seconds; no kernel runs for three years
_LIVE = "start a container engine, run `labkit up`, then restart the kernel: the lab that you are in stays"


class NotRecorded(LabError):
    """What was asked was never recorded."""


class NotYet(LabError):
    """What was asked makes sense only after something else was done."""


@dataclass
class Cell:
    """The cell that runs now. number: None where it is none of the recording's. playing: its calls."""

    source: str
    cell: str | None
    number: int | None = None
    playing: Playing | None = None
    needs: Mark | None = None
    settled: bool = False


@dataclass(frozen=True)
class Opened:
    """A lab's recording, and how far the reader has come in it."""

    recording: Recording
    timeline: Timeline


class Replay:
    """Answers from the recordings, by what is asked and where in the lab it is asked."""

    def __init__(self) -> None:
        self._opened: Opened | None = None
        self._cell = Cell("", None, settled=True)
        self._lab: str | None = None
        self._lock = threading.RLock()
        self._watched_since: tuple[float, float] | None = None
        self._time, self._unix = 0.0, 0.0
        self._looking = Looking()

    def perform(self, request: Request[Answer]) -> Answer:
        answer: Any = None  # that of a notice
        match request:
            case CellBegins(source=source, cell=cell):
                self._cell = Cell(source, cell)
            case CellEnds():
                self._end_cell()
            case Entered(lab=lab):
                self._enter(lab)
            case Watched(begins=begins):
                self._watch(begins)
            case Beside():
                answer = Silent()
            case Text(path=path) if is_the_courses_own(request):
                answer = path.read_text()
            case _:
                answer = self._answer(request)
        return answer

    @contextmanager
    def connected(self, forward: Forward) -> Iterator[Callable[[PodGet], str]]:
        self._answer(forward)
        yield self._answer

    # -- the notebook ---------------------------------------------------------------------------
    def _end_cell(self) -> None:
        with self._lock:
            if self._opened and self._cell.number is not None and not self._cell.needs:
                self._opened.timeline.run(self._cell.number)
                timeline.keep(self._opened.timeline)
            self._cell = Cell("", None, settled=True)

    def _enter(self, lab: str) -> None:
        with self._lock:
            self._lab = lab
            self._settle()
            before, opened = self._opened, self._open(lab)
            entered = opened.timeline.enter()
            if opened is not before or self._cell.number is None:
                self._play(opened, entered)
            timeline.keep(opened.timeline)

    # -- time -----------------------------------------------------------------------------------
    def now(self) -> float:
        told = self._told(lambda clock: clock < _SINCE_1970)
        # beyond what was recorded, time goes on all the same, so that every wait comes to its end
        self._time = self._time + 0.001 if told is None else told
        self._keep_pace()
        return self._time

    def unix_time(self) -> float:
        told = self._told(lambda clock: clock >= _SINCE_1970)
        if told is not None:
            self._unix = told
        return self._unix or self._recorded_at()

    def sleep(self, seconds: float) -> None:
        self._time += seconds
        self._keep_pace()

    def _watch(self, begins: bool) -> None:
        """As fast as it was, unless nobody looks."""
        self._settle()
        looked_at = begins and not settings().headless
        self._watched_since = (time.monotonic(), self._time) if looked_at else None

    def _keep_pace(self) -> None:
        if self._watched_since is None or current_sequence() != "":
            return
        began, at = self._watched_since
        time.sleep(max(0.0, min(self._time - at - (time.monotonic() - began), 5.0)))

    def _told(self, is_one: Callable[[float], bool]) -> float | None:
        with self._lock:
            self._settle()
            playing = self._cell.playing
            return playing.clock(current_sequence(), is_one) if playing else None

    def _recorded_at(self) -> float:
        if self._opened is None:
            return time.time()
        return datetime.fromisoformat(self._opened.recording.head.recorded).timestamp()

    # -- answers --------------------------------------------------------------------------------
    def _answer(self, request: Request[Answer]) -> Answer:
        with self._lock:
            self._settle()
            if self._cell.needs:
                raise _not_yet(self._cell.needs)
            call = self._next(request)
            if call is None and not request.changes and (seen := self._look(request)) is not None:
                return seen
            try:
                call = call or self._elsewhere(request)
            except NotRecorded:
                if (refused := self._refused(request)) is None:
                    raise
                return refused
            if current_sequence() == "":
                self._time = max(self._time, call.start + call.seconds)
        answer = each_text(call.answer, expanded)
        if "error" in answer:
            raise _raised(answer["error"])
        if isinstance(request, Work):
            for event in answer.get("told", ()):
                request.report(Event(**event))
        return request.read(answer)

    def _next(self, request: Request[Any]) -> Call | None:
        """The answer that this cell got."""
        playing = self._cell.playing
        return playing.find(current_sequence(), keys.wanted(request)) if playing else None

    def _look(self, request: Request[Any]) -> Any:
        """What the state says that the mesh had when it was last changed; None where it says nothing of that."""
        return self._now().answer(request)

    def _refused(self, request: Request[Any]) -> Any:
        """What was said against a change that would have been wrong in the live mesh, too."""
        found = self._now().refused(request) if isinstance(request, Command) and request.changes else None
        return request.read(request.written(found)) if found else None

    def _now(self) -> Looking:
        """A look at the mesh as it was when it was last changed."""
        opened = self._opened or self._open_some_lab()
        self._looking.at(opened.recording, opened.timeline.latest)
        return self._looking

    def _elsewhere(self, request: Request[Any]) -> Call:
        """The same request somewhere else in the lab: as late as makes sense now."""
        opened = self._opened or self._open_some_lab()
        recording, reader = opened.recording, opened.timeline
        steps = recording.steps(keys.wanted(request))
        if not steps and isinstance(request, Command) and request.changes:
            steps = recording.alike(keys.kept(request))
        if not steps:
            raise self._not_recorded(request)
        reached = [step for step in steps if reader.reached(step)]
        if not reached:
            raise _not_yet(reader.needs(steps[0][0]) or reader.head.cells[steps[0][0]])
        number, call = reached[-1]
        if recording.changes(reached[-1]):
            number, call = next((step for step in reached if step not in reader.typed), reached[-1])
            reader.type((number, call))
            timeline.keep(reader)
        return recording.played(number).calls[call]

    # -- which cell this is -----------------------------------------------------------------------
    def _settle(self) -> None:
        """Find out which of the recorded cells runs now, when it first asks something."""
        with self._lock:
            if self._cell.settled:
                return
            self._cell.settled = True
            lab = self._lab_of(self._cell)
            if lab is None:
                return
            opened = self._open(lab)
            cells = opened.timeline.head.cells
            numbers = [n for n, mark in enumerate(cells) if mark.source == self._cell.source]
            number = opened.timeline.occurrence(numbers, self._cell.cell)
            if not cells[number].enters:
                self._cell.needs = opened.timeline.needs(number)
            self._play(opened, number)

    def _lab_of(self, cell: Cell) -> str | None:
        """The lab of the recording that has this cell: one of this kernel's, if it is known which those are."""
        opened = self._opened.recording.head.lab if self._opened else None
        own = [lab for lab in (self._lab, _lab_of_session(), opened) if lab]
        likely = own or [lab for lab in (places.remembered(),) if lab]
        holding = [head.lab for head in _heads() if any(mark.source == cell.source for mark in head.cells)]
        first = next((lab for lab in likely if lab in holding), None)
        return first if own or first else next(iter(holding), None)

    def _open(self, lab: str) -> Opened:
        """A lab's recording: the one that is open, if it is that."""
        if self._opened and self._opened.recording.head.lab == lab:
            return self._opened
        path = next((path for path in files.recordings() if path.name.startswith(lab)), None)
        if path is None:
            raise _nothing_recorded(f"of lab {lab}")
        recording = Recording(path)
        self._opened = Opened(recording, Timeline(recording.head, recording.changing))
        timeline.resume(self._opened.timeline)
        return self._opened

    def _open_some_lab(self) -> Opened:
        first = files.recordings()[0].name[:2] if files.recordings() else "00"
        return self._open(self._lab or _lab_of_session() or places.remembered() or first)

    def _play(self, opened: Opened, number: int) -> None:
        self._cell.number, self._cell.playing = number, Playing(opened.recording.played(number))

    def _not_recorded(self, request: Request[Any]) -> NotRecorded:
        said = request.words(request.asked())
        known = self._opened.recording.said(request.kind) if self._opened else []
        near = next(iter(difflib.get_close_matches(said, known, n=1, cutoff=0.0)), "nothing of its kind")
        missing = self._looking.missing(request)
        more = f"; with {missing} here (`labkit tools` brings it) it answers whatever looks" if missing else ""
        return NotRecorded(
            f"This was never recorded: {said}",
            f"the mesh is a recorded one; the nearest that it can answer: {near}{more}",
            f"run that; or, for a live mesh that answers everything, {_LIVE}",
        )


def described() -> str:
    """Which recordings answer: one line. Raises LabError where there are none."""
    if not files.recordings():
        raise _nothing_recorded("at all")
    first = files.head(files.recordings()[0])
    when = datetime.fromisoformat(first.recorded)
    return f"Recorded mesh: the answers of a real run of {when:%d %B %Y}, Istio {first.istio}"


class Silent:
    """Work beside the cells that was done when this was recorded, and is not done again."""

    def __init__(self) -> None:
        self._over = False

    def is_alive(self) -> bool:
        """As of a thread."""
        return not self._over

    def join(self, timeout: float | None = None) -> None:
        """As of a thread."""
        self._over = True


def _heads() -> list[Head]:
    return [files.head(path) for path in files.recordings()]


def _lab_of_session() -> str | None:
    """The notebook that Jupyter says this kernel is for: https://jupyter-server.readthedocs.io (JPY_SESSION_NAME)."""
    name = Path(os.environ.get("JPY_SESSION_NAME", "")).name
    return name[:2] if name[:2].isdigit() else None


def _not_yet(mark: Mark) -> NotYet:
    return NotYet(
        "This makes no sense yet.",
        f"in this lab something comes before it that was not run: {mark.source}",
        "run that cell first; the notebook's cells from the top do in any case",
    )


def _nothing_recorded(of_what: str) -> LabError:
    return LabError(
        f"There is no recording {of_what}.",
        "the folder notebooks/recordings has none",
        "do what the notebook's first cell says, if it says why; else `git checkout notebooks` restores the course's "
        "own, and `make record` makes them anew on a live mesh",
    )


def _raised(error: Mapping[str, Any]) -> LabError:
    what, why, fix = error["what"], error["why"], error["fix"]
    if error["type"] == KubernetesError.__name__:
        return KubernetesError(error["status"], error["reason"], why, fix)
    return Unreachable(what, why, fix) if error["type"] == Unreachable.__name__ else LabError(what, why, fix)
