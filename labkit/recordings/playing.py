"""One run of a recorded cell: which of its calls come next."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable

from labkit.backend.protocol import ANYWHERE
from labkit.backend.requests import Request, Text
from labkit.recordings.files import Call, Played
from labkit.settings import MANIFESTS


def is_the_courses_own(request: Request) -> bool:
    """Whether it reads what lies in this repository, where it is read when it is played back, too."""
    return isinstance(request, Text) and request.path.resolve().is_relative_to(MANIFESTS)


class Playing:
    """Hands out a cell's calls in each sequence's own order; what is asked more often gets the last answer again."""

    def __init__(self, cell: Played) -> None:
        self._calls: dict[str, list[Call]] = defaultdict(list)
        self._places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for call in cell.calls:
            self._places[call.sequence][call.key].append(len(self._calls[call.sequence]))
            self._calls[call.sequence].append(call)
        self._next: dict[tuple[str, str], int] = defaultdict(int)
        self._clocks = {sequence: list(clocks) for sequence, clocks in cell.opening.items()}

    def find(self, sequence: str, key: str) -> Call | None:
        """The next call of this sequence that asks this, else the last one; else one of any other sequence."""
        others = [other for other in self._calls if other != sequence]
        for each in (sequence, *others):
            if call := self._find(each, key):
                self._clocks[sequence] = list(call.clocks)
                return call
        return None

    def clock(self, sequence: str, is_one: Callable[[float], bool]) -> float | None:
        """What the clock said next in this sequence; None beyond what was recorded."""
        clocks = self._clocks.get(sequence)
        return clocks.pop(0) if clocks and is_one(clocks[0]) else None

    def _find(self, sequence: str, key: str) -> Call | None:
        places = self._places[sequence].get(key) if sequence in self._places else None
        if not places:
            return None
        # threads that follow no sequence ask in any order: for them only what is asked tells calls apart
        order = (sequence, key if sequence == ANYWHERE else "")
        at = bisect_left(places, self._next[order])
        place = places[min(at, len(places) - 1)]
        self._next[order] = max(self._next[order], place + 1)
        return self._calls[sequence][place]
