"""Where a reader is in a recorded lab: which cells were run, and what that makes possible.

A cell's answers make sense once everything was done that had changed the mesh before it. Cells that stand aside, such
as a wrong answer to an exercise, may be left out: only what stands aside, too, builds upon them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from labkit import state
from labkit.errors import LabError
from labkit.recordings.files import Head, Mark
from labkit.settings import settings

Step = tuple[int, int]  # a cell's number, and the number of a call in it


@dataclass
class Timeline:
    """One lab's cells, and what of them was done.

    steps: the calls that change something, by cell. done: cells that were run. typed: changing calls that were made
    from elsewhere. latest: the cell that changed something last. cursor: the cell that ran last.
    """

    head: Head
    steps: Mapping[int, Sequence[int]]
    done: set[int] = field(default_factory=set)
    typed: set[Step] = field(default_factory=set)
    latest: int = -1
    cursor: int = -1

    def enter(self) -> int:
        """The mesh is brought to the lab's start, whatever was done; the number of the cell that does it."""
        number = next((n for n, mark in enumerate(self.head.cells) if mark.enters), 0)
        self.done, self.typed = set(range(number)), set()
        self.latest = self.cursor = number
        return number

    def run(self, number: int) -> None:
        """A cell was run."""
        self.cursor = number
        self.done.add(number)
        if self.head.cells[number].changes:
            self.latest = number

    def type(self, step: Step) -> None:
        """A call that changes something was made outside of its cell."""
        self.typed.add(step)
        self.latest = step[0]

    def needs(self, number: int) -> Mark | None:
        """The first cell that must be run before this one; None where all were."""
        return next((self.head.cells[n] for n in self._before(number) if not self._is_done(n)), None)

    def reached(self, step: Step) -> bool:
        """Whether a call's answer makes sense now."""
        number, call = step
        if self.needs(number):
            return False
        return number in self.done or all((number, each) in self.typed for each in self.steps[number] if each < call)

    def occurrence(self, numbers: Sequence[int], cell: str | None) -> int:
        """Of cells that read the same: the one meant, or its like where the mesh is further on, or not so far yet."""
        exact = self._exact(numbers, cell)
        earlier = [n for n in numbers if n < exact and not self.needs(n)]
        if self.needs(exact) and earlier:
            return earlier[-1]
        later = [n for n in numbers if n > exact and not self.needs(n) and self._changed_between(exact, n)]
        if later and self.head.cells[self.latest].aside:
            return next((n for n in later if n > self.latest and self.head.cells[n].aside), exact)
        later = [n for n in later if not self.head.cells[n].aside]
        return later[-1] if later else exact

    def _exact(self, numbers: Sequence[int], cell: str | None) -> int:
        named = [n for n in numbers if self.head.cells[n].cell == cell]
        return next(iter([*named, *(n for n in numbers if n > self.cursor), numbers[-1]]))

    def _changed_between(self, first: int, last: int) -> bool:
        return any(self.head.cells[n].changes and self._is_done(n) for n in range(first + 1, last))

    def _before(self, number: int) -> Iterator[int]:
        marks = self.head.cells
        begins = max((n for n in range(number + 1) if marks[n].enters), default=0)
        for n in range(begins, number):
            if (marks[n].changes or marks[n].enters) and (marks[number].aside or not marks[n].aside):
                yield n

    def _is_done(self, number: int) -> bool:
        steps = self.steps[number]
        return number in self.done or (bool(steps) and all((number, each) in self.typed for each in steps))


def keep(timeline: Timeline) -> None:
    """Write down how far the reader has come; where the folder cannot be written, this kernel alone knows."""
    kept = {
        "lab": timeline.head.lab, "recorded": timeline.head.recorded, "done": sorted(timeline.done),
        "typed": sorted(timeline.typed), "latest": timeline.latest,
    }  # fmt: skip
    with suppress(LabError):
        state.write(settings().timeline_record, kept)


def resume(timeline: Timeline) -> None:
    """Go on where an earlier kernel was in the same recording of the same lab."""
    try:
        kept = state.read(settings().timeline_record, {})
        if (kept["lab"], kept["recorded"]) == (timeline.head.lab, timeline.head.recorded):
            timeline.done = {int(n) for n in kept["done"]}
            timeline.typed = {(int(cell), int(call)) for cell, call in kept["typed"]}
            timeline.latest = int(kept["latest"])
    except (ValueError, KeyError, TypeError):
        return
