"""How long work tells what it is doing: data that the terminal and the notebook draw each in their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Event:
    """A stage as it stands. `seconds` since the stage began; `note` the last state seen in it."""

    stage: str
    status: Literal["running", "done", "failed"]
    note: str
    seconds: float


Report = Callable[[Event], None]


class Progress:
    """Hands Events to whoever draws them."""

    def __init__(self, report: Report, now: Callable[[], float]) -> None:
        self._report, self._now = report, now

    def tell(self, event: Event) -> None:
        """Hand on what somebody else's stage tells."""
        self._report(event)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """A named piece of work; yields the function that notes its state."""
        started = self._now()
        last = ""

        def note(text: str) -> None:
            nonlocal last
            if text and text != last:
                last = text
                self._report(Event(name, "running", text, self._now() - started))

        self._report(Event(name, "running", "", 0.0))
        try:
            yield note
        except BaseException:
            self._report(Event(name, "failed", last, self._now() - started))
            raise
        self._report(Event(name, "done", last, self._now() - started))
