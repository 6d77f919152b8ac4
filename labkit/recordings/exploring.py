"""Any moment of any lab, as it was recorded: to be looked at in whatever way, and with nothing that can be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labkit.api.recorded import State
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
)  # fmt: skip
from labkit.errors import LabError
from labkit.recordings import files, state
from labkit.recordings.files import Recording
from labkit.recordings.looking import Looking
from labkit.recordings.playing import is_the_courses_own
from labkit.recordings.replay import NotRecorded, Silent

_OURS = (".istio.io", "gateway.networking.k8s.io")  # groups of which each change is told
_TOLD = ("configmaps", "deployments", "namespaces", "serviceaccounts", "services")


@dataclass(frozen=True)
class Moment:
    """A moment of a lab: after which cell, by its number and its source; when; what that cell did to which objects."""

    lab: str
    cell: int
    source: str
    at: float
    changed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Lab {self.lab} at {datetime.fromtimestamp(self.at, UTC):%H:%M:%S} UTC, after `{self.after}`"

    @property
    def after(self) -> str:
        """The cell's command, or its first line."""
        lines = [line.strip() for line in self.source.splitlines()]
        command = next((line for line in lines if line.lstrip("%").startswith("kubectl ")), lines[0])
        return command.removesuffix("\\").strip()


def moments(lab: str) -> list[Moment]:
    """A lab's moments, in their order. Raises LabError for a lab that was not recorded, or a damaged recording."""
    recording, found = _recorded(lab)
    before: State = {}
    told: list[Moment] = []
    for cell in found.cells:
        seen, at = found.at(cell)
        changed = tuple(_changes(before, seen)) if told else ()
        told.append(Moment(lab, cell, recording.head.cells[cell].source, at, changed))
        before = seen
    return told


class Explored:
    """The mesh as it was at one moment."""

    def __init__(self, lab: str, cell: int) -> None:
        recording, found = _recorded(lab)
        if cell not in found.cells:
            raise LabError(
                f"Lab {lab} has no moment {cell}.",
                f"its moments are {', '.join(map(str, found.cells))}",
                f'`explore("{lab}")` lists them, each with what had changed by then',
            )
        seen, at = found.at(cell)
        self.moment = Moment(lab, cell, recording.head.cells[cell].source, at)
        self._time = 0.0
        self._looking = Looking()
        self._looking.see(seen, at)

    def perform(self, request: Request[Answer]) -> Answer:
        answer: Any = None  # that of a notice
        match request:
            case CellBegins() | CellEnds() | Entered() | Watched():
                pass
            case Beside():
                answer = Silent()
            case Text(path=path) if is_the_courses_own(request):
                answer = path.read_text()
            case _:
                answer = self._seen(request)
        return answer

    @contextmanager
    def connected(self, forward: Forward) -> Iterator[Callable[[PodGet], str]]:
        self._seen(forward)
        yield self._seen

    def now(self) -> float:
        self._time += 0.001  # so that every wait comes to its end
        return self._time

    def unix_time(self) -> float:
        return self.moment.at

    def sleep(self, seconds: float) -> None:
        self._time += seconds

    def _seen(self, request: Request[Any]) -> Any:
        if not request.changes and (seen := self._looking.answer(request)) is not None:
            return seen
        if isinstance(request, Command) and request.changes and (refused := self._looking.refused(request)):
            return request.read(request.written(refused))
        missing = self._looking.missing(request)
        why = "this is one moment of a recorded mesh: it can be looked at, and nothing else"
        more = f"; with {missing} here (`labkit tools` brings it) it would be answered" if missing else ""
        raise NotRecorded(
            f"This moment cannot tell: {request.words(request.asked())}",
            f"{why}{more}",
            f'open the lab itself (`goto("{self.moment.lab}")` in its notebook); a live mesh answers everything',
        )


def _recorded(lab: str) -> tuple[Recording, state.Moments]:
    path = next((path for path in files.recordings() if path.name.startswith(f"{lab}-")), None)
    if path is None or not state.of(path).exists():
        known = ", ".join(each.name[:2] for each in files.recordings() if state.of(each).exists())
        raise LabError(f"No moment of lab {lab} was recorded.", f"the recorded labs are {known}", "name one of them")
    recording = Recording(path)
    return recording, state.Moments(state.of(path), recording.head)


def _changes(before: State, after: State) -> Iterator[str]:
    """Which objects came, went or are to be otherwise, in kubectl's words."""
    for key in sorted({key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}):
        group, _, resource = key[0].rpartition("/")
        if not (resource in _TOLD or any(name in group for name in _OURS)) or not key[0].startswith("/api"):
            continue
        was, is_ = _wanted(before.get(key)), _wanted(after.get(key))
        if was != is_:
            how = "created" if was is None else "deleted" if is_ is None else "configured"
            yield f"{resource}/{key[1].rpartition('/')[2]} {how}"


def _wanted(held: str | None) -> Any:
    """What an object is to be: all of it but its status and what the API server keeps of it."""
    if held is None:
        return None
    object_ = json.loads(held)["object"]
    labels = object_["metadata"].get("labels")
    return {**{name: each for name, each in object_.items() if name not in ("metadata", "status")}, "labels": labels}
