"""Any backend, written down: every answer that a notebook's cells get, scrubbed before it reaches a disk."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from labkit.backend.answers import Completed, KubernetesError, Response
from labkit.backend.protocol import ANYWHERE, Backend, Wrapper, current_sequence
from labkit.backend.requests import (
    Answer,
    Beside,
    CellBegins,
    CellEnds,
    Entered,
    Forward,
    Notice,
    PodGet,
    Request,
    Work,
)
from labkit.errors import LabError
from labkit.progress import Event
from labkit.recordings import keys, state
from labkit.recordings.files import Call
from labkit.recordings.playing import is_the_courses_own
from labkit.recordings.scrub import clean

_silent: ContextVar[bool] = ContextVar("silent", default=False)
DIGITS = 6  # of a second: what is written down is what the notebook was told


class Recorder(Wrapper):
    """Writes every answer of another backend down in a file: one line of JSON for each cell as it ends."""

    def __init__(self, inner: Backend, file: Path) -> None:
        super().__init__(inner)
        self._file, self._zero = file, inner.now()
        self._lock = threading.RLock()
        self._state: state.State = {}
        self._begin("")

    def perform(self, request: Request[Answer]) -> Answer:
        match request:
            case Work():
                return self._work(request)
            case CellBegins(source=source):
                self._begin(source)
            case CellEnds():
                self._end()
            case Entered():
                self._enters = True
            case Beside(do=do):
                request = replace(request, do=_silenced(do))
        if isinstance(request, Notice | Beside) or is_the_courses_own(request):
            return self._inner.perform(request)
        return self._written(request, lambda: self._inner.perform(request))

    @contextmanager
    def connected(self, forward: Forward) -> Iterator[Callable[[PodGet], str]]:
        connection = self._inner.connected(forward)
        opened: list[Callable[[PodGet], str]] = []
        self._written(forward, lambda: opened.append(connection.__enter__()))
        try:
            yield lambda get: self._written(get, lambda: opened[0](get))
        finally:
            connection.__exit__(None, None, None)

    def now(self) -> float:
        return self._noted(round(self._inner.now() - self._zero, DIGITS))

    def unix_time(self) -> float:
        return self._noted(round(self._inner.unix_time(), DIGITS))

    def _noted(self, time: float) -> float:
        sequence = current_sequence()
        if not _silent.get() and sequence != ANYWHERE:
            with self._lock:
                (self._last[sequence] if sequence in self._last else self._opening[sequence]).append(time)
        return time

    # -- cells ----------------------------------------------------------------------------------
    def _begin(self, source: str) -> None:
        with self._lock:
            self._source, self._enters, self._began = source, False, self._inner.now()
            self._calls: list[tuple[Call, list[float]]] = []
            self._opening: dict[str, list[float]] = defaultdict(list)
            self._last: dict[str, list[float]] = {}

    def _end(self) -> None:
        seconds = self._inner.now() - self._began
        with self._lock, self._file.open("a", encoding="utf-8") as file:
            # not before the cell is over: to look through an answer takes longer than to get it
            calls = [clean(asdict(replace(call, clocks=tuple(clocks)))) for call, clocks in self._calls]
            cell = {
                "source": self._source, "enters": self._enters, "seconds": seconds, "opening": self._opening,
                "calls": calls, "moment": self._moment(),
            }  # fmt: skip
            file.write(json.dumps(cell, ensure_ascii=False) + "\n")

    def _moment(self) -> dict[str, Any] | None:
        """The mesh's state where it may be another than before, by its differences."""
        if not self._enters and not any(call.changes for call, _ in self._calls):
            return None
        before, self._state = self._state, state.observe(self._inner)
        changes = state.difference(before, self._state)
        return {"at": self._inner.unix_time(), "changes": changes} if changes else None

    # -- writing down -----------------------------------------------------------------------------
    def _work(self, request: Work) -> Any:
        told: list[Event] = []

        def tell(event: Event) -> None:
            told.append(event)
            request.report(event)

        def silently() -> Any:
            with _silence():
                return self._inner.perform(replace(request, report=tell))

        return self._written(request, silently, told)

    def _written(self, request: Request[Answer], do: Callable[[], Answer], told: list[Event] | None = None) -> Answer:
        if _silent.get():
            return do()
        asked = keys.kept(request)
        start, sequence = self._inner.now() - self._zero, current_sequence()
        try:
            answer = _rounded(do())
        except LabError as error:
            self._keep(sequence, request, asked, {"error": _error(error)}, start)
            raise
        with_progress = {"told": [asdict(event) for event in told]} if told is not None else {}
        self._keep(sequence, request, asked, request.written(answer) | with_progress, start)
        return answer

    def _keep(
        self, sequence: str, request: Request[Any], asked: dict[str, Any], answer: dict[str, Any], start: float
    ) -> None:
        seconds = self._inner.now() - self._zero - start
        times = round(start, DIGITS), round(seconds, DIGITS)
        call = Call(sequence, request.kind, asked, answer, *times, changes=request.changes)
        clocks: list[float] = []
        with self._lock:
            self._calls.append((call, clocks))
            self._last[sequence] = clocks


@contextmanager
def _silence() -> Iterator[None]:
    """What is asked inside the block is not written down, in the threads that are begun there neither."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def _silenced(do: Callable[[], None]) -> Callable[[], None]:
    def beside() -> None:
        with _silence():
            do()

    return beside


def _rounded(answer: Any) -> Any:
    timed = isinstance(answer, Completed | Response)
    return replace(answer, seconds=round(answer.seconds, DIGITS)) if timed else answer


def _error(error: LabError) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
    if isinstance(error, KubernetesError):
        told |= {"status": error.status, "reason": error.reason}
    return told
