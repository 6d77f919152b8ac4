"""One run of a recorded cell: which of its calls come next."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable

from labkit.backend.protocol import ANYWHERE
from labkit.recordings.files import Call, Played


class Playing:
    """Hands out a cell's calls in each strand's own order; what is asked more often gets the last answer again."""

    def __init__(self, cell: Played) -> None:
        self._calls: dict[str, list[Call]] = defaultdict(list)
        self._places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for call in cell.calls:
            self._places[call.strand][call.key].append(len(self._calls[call.strand]))
            self._calls[call.strand].append(call)
        self._next: dict[tuple[str, str], int] = defaultdict(int)
        self._clocks = {strand: list(clocks) for strand, clocks in cell.opening.items()}

    def find(self, strand: str, key: str) -> Call | None:
        """The next call of this strand that asks this, else the last one; else one of any other strand."""
        others = [other for other in self._calls if other != strand]
        for each in (strand, *others):
            if call := self._find(each, key):
                self._clocks[strand] = list(call.clocks)
                return call
        return None

    def clock(self, strand: str, is_one: Callable[[float], bool]) -> float | None:
        """What the clock said next in this strand; None beyond what was recorded."""
        clocks = self._clocks.get(strand)
        return clocks.pop(0) if clocks and is_one(clocks[0]) else None

    def _find(self, strand: str, key: str) -> Call | None:
        places = self._places[strand].get(key) if strand in self._places else None
        if not places:
            return None
        # threads that follow no strand ask in any order: for them only what is asked tells calls apart
        order = (strand, key if strand == ANYWHERE else "")
        at = bisect_left(places, self._next[order])
        place = places[min(at, len(places) - 1)]
        self._next[order] = max(self._next[order], place + 1)
        return self._calls[strand][place]
