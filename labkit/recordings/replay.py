"""The recorded venue: the answers of a real run. No process is started, no socket opened, and nothing is waited for."""

from __future__ import annotations

import difflib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.backend import places
from labkit.backend.protocol import Completed, Json, KubernetesError, Response, Unreachable, current_strand
from labkit.errors import LabError
from labkit.progress import Event, Report
from labkit.recordings import files, keys, timeline
from labkit.recordings.files import Call, Head, Mark, Tape
from labkit.recordings.playing import Playing
from labkit.recordings.scrub import each_text, expanded, scrubbed
from labkit.recordings.timeline import Timeline
from labkit.settings import MANIFESTS, settings

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


class Recorded:
    """Answers from the recordings, by what is asked and where in the lab it is asked."""

    def __init__(self) -> None:
        self._tape: Tape | None = None
        self._timeline: Timeline | None = None
        self._cell = Cell("", None, settled=True)
        self._lab: str | None = None
        self._lock = threading.RLock()
        self._watched_since: tuple[float, float] | None = None
        self._time, self._unix = 0.0, 0.0

    # -- the notebook ---------------------------------------------------------------------------
    def begin_cell(self, source: str, cell: str | None) -> None:
        self._cell = Cell(source, cell)

    def end_cell(self) -> None:
        with self._lock:
            if self._timeline and self._cell.number is not None and not self._cell.needs:
                self._timeline.run(self._cell.number)
                timeline.keep(self._timeline)
            self._cell = Cell("", None, settled=True)

    def enter(self, lab: str) -> None:
        with self._lock:
            self._lab = lab
            with suppress(OSError):
                places.remember(lab)
            self._settle()
            is_another = self._open(lab)
            entered = self._timeline.enter()
            if is_another or self._cell.number is None:
                self._cell.number = entered
                self._play(entered)
            timeline.keep(self._timeline)

    def entered(self) -> str | None:
        return self._lab or places.remembered()

    def describe(self) -> str:
        if not files.tapes():
            raise _nothing_recorded("at all")
        first = files.head(files.tapes()[0])
        when = datetime.fromisoformat(first.recorded)
        return f"Recorded mesh: the answers of a real run of {when:%d %B %Y}, Istio {first.istio}"

    # -- what is asked --------------------------------------------------------------------------
    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        answer = self._answer("run", keys.command(argv, stdin))
        for line in (answer["stdout"] + answer["stderr"]).splitlines() if on_line else ():
            on_line(line)
        return Completed(tuple(map(str, argv)), **answer)

    def which(self, program: str) -> str | None:
        return self._answer("which", {"program": program})["value"]

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str:
        return self._answer("kubernetes", keys.kubernetes(method, path, body, query))["value"]

    @contextmanager
    def port_forward(self, namespace: str, pod: str, port: int) -> Iterator[Callable[[str], str]]:
        where = {"pod": f"{namespace}/{pod}", "port": port}
        self._answer("forward", where)
        yield lambda path: self._answer("get", {**where, "path": path})["value"]

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response:
        return Response(**self._answer("http", keys.http(method, url, headers, body)))

    def gateway(self) -> str:
        return self._answer("gateway", {})["value"]

    def exists(self, path: Path) -> bool:
        return self._answer("exists", {"path": scrubbed(str(path))})["value"]

    def read_text(self, path: Path) -> str:
        if path.resolve().is_relative_to(MANIFESTS):
            return path.read_text()
        return self._answer("text", {"path": scrubbed(str(path))})["value"]

    def work(self, name: str, do: Callable[[Report], Json], report: Report) -> Json:
        answer = self._answer("work", {"name": scrubbed(name)})
        for event in answer["told"]:
            report(Event(**event))
        return answer["value"]

    def background(self, name: str, do: Callable[[], None]) -> Silent:
        return Silent()

    def reader_folder(self) -> Path:
        return settings().home

    def download(self, url: str, to: Path, on_bytes: Callable[[int, int | None], None]) -> None:
        raise self._not_recorded("download", url)

    def owns_cluster(self) -> bool:
        return True  # that of the recorded run

    def port_is_free(self, host: str, port: int) -> bool:
        raise self._not_recorded("port", f"{host}:{port}")

    def interrupted(self) -> AbstractContextManager[None]:
        return nullcontext()

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

    @contextmanager
    def watched(self) -> Iterator[None]:
        """As fast as it was, unless nobody looks."""
        self._settle()
        self._watched_since = None if settings().headless else (time.monotonic(), self._time)
        try:
            yield
        finally:
            self._watched_since = None

    def _keep_pace(self) -> None:
        if self._watched_since is None or current_strand() != "":
            return
        began, at = self._watched_since
        time.sleep(max(0.0, min(self._time - at - (time.monotonic() - began), 5.0)))

    def _told(self, is_one: Callable[[float], bool]) -> float | None:
        with self._lock:
            self._settle()
            playing = self._cell.playing
            return playing.clock(current_strand(), is_one) if playing else None

    def _recorded_at(self) -> float:
        return datetime.fromisoformat(self._timeline.head.recorded).timestamp() if self._timeline else time.time()

    # -- answers --------------------------------------------------------------------------------
    def _answer(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._settle()
            if self._cell.needs:
                raise _not_yet(self._cell.needs)
            call = self._find(kind, request)
            if current_strand() == "":
                self._time = max(self._time, call.start + call.seconds)
        answer = each_text(call.answer, expanded)
        if "error" in answer:
            raise _raised(answer["error"])
        return answer

    def _find(self, kind: str, request: dict[str, Any]) -> Call:
        key = files.key(kind, request)
        found = self._cell.playing.find(current_strand(), key) if self._cell.playing else None
        return found or self._elsewhere(kind, key, keys.said(kind, request))

    def _elsewhere(self, kind: str, key: str, said: str) -> Call:
        """The same request somewhere else in the lab: as late as makes sense now."""
        self._open_some_lab()
        steps = self._tape.steps(key)
        if not steps:
            raise self._not_recorded(kind, said)
        reached = [step for step in steps if self._timeline.reached(step)]
        if not reached:
            raise _not_yet(self._timeline.needs(steps[0][0]) or self._timeline.head.cells[steps[0][0]])
        number, call = reached[-1]
        if self._tape.changes(reached[-1]):
            number, call = next((step for step in reached if step not in self._timeline.typed), reached[-1])
            self._timeline.type((number, call))
            timeline.keep(self._timeline)
        return self._tape.played(number).calls[call]

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
            self._open(lab)
            numbers = [n for n, mark in enumerate(self._timeline.head.cells) if mark.source == self._cell.source]
            number = self._timeline.occurrence(numbers, self._cell.cell)
            self._cell.number = number
            if not self._timeline.head.cells[number].enters:
                self._cell.needs = self._timeline.needs(number)
            self._play(number)

    def _lab_of(self, cell: Cell) -> str | None:
        """The lab of the recording that has this cell: one of this kernel's, if it is known which those are."""
        own = [lab for lab in (self._lab, _lab_of_session(), self._tape and self._tape.head.lab) if lab]
        likely = own or [places.remembered()]
        holding = [head.lab for head in _heads() if any(mark.source == cell.source for mark in head.cells)]
        first = next((lab for lab in likely if lab in holding), None)
        return first if own or first else next(iter(holding), None)

    def _open(self, lab: str) -> bool:
        """Open a lab's recording, if it is not; whether that was so."""
        if self._tape and self._tape.head.lab == lab:
            return False
        path = next((path for path in files.tapes() if path.name.startswith(lab)), None)
        if path is None:
            raise _nothing_recorded(f"of lab {lab}")
        self._tape = Tape(path)
        self._timeline = Timeline(self._tape.head, self._tape.changing)
        timeline.resume(self._timeline)
        return True

    def _open_some_lab(self) -> None:
        if self._tape is None:
            first = files.tapes()[0].name[:2] if files.tapes() else "00"
            self._open(self._lab or _lab_of_session() or places.remembered() or first)

    def _play(self, number: int) -> None:
        self._cell.playing = Playing(self._tape.played(number))

    def _not_recorded(self, kind: str, said: str) -> NotRecorded:
        known = self._tape.said(kind) if self._tape else []
        near = next(iter(difflib.get_close_matches(said, known, n=1, cutoff=0.0)), "nothing of its kind")
        return NotRecorded(
            f"This was never recorded: {expanded(said)}",
            f"the mesh is a recorded one; the nearest that it can answer: {expanded(near)}",
            f"run that; or, for a live mesh that answers everything, {_LIVE}",
        )


class Silent:
    """Work beside the cells that was done when this was recorded, and is not done again."""

    def __init__(self) -> None:
        self._over = False

    def running(self) -> bool:
        return not self._over

    def join(self) -> None:
        self._over = True


def _heads() -> list[Head]:
    return [files.head(path) for path in files.tapes()]


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
        "`git checkout notebooks` restores the course's own; `make record` makes them anew on a live mesh",
    )


def _raised(error: Mapping[str, Any]) -> LabError:
    what, why, fix = error["what"], error["why"], error["fix"]
    if error["type"] == KubernetesError.__name__:
        return KubernetesError(error["status"], error["reason"], why, fix)
    return Unreachable(what, why, fix) if error["type"] == Unreachable.__name__ else LabError(what, why, fix)
