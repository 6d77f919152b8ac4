"""Checks: claims about the cluster, each observed anew, never taken from the reader's variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from labkit import backend
from labkit.course.markup import html
from labkit.errors import LabError

EVERY = 0.5  # seconds between two looks at what is not true yet


@dataclass(frozen=True)
class Seen:
    """What an observation found, and whether the claim holds."""

    passed: bool
    measured: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """A claim, how it is observed, and what helps where it does not hold.

    hint: where to look. remedy: the lines of a cell that makes the claim true, where those of the claims before it
    have run; an exercise has hints and a solution of its own. within: seconds that it may take to become true, as
    configuration takes a moment to reach the proxies.
    """

    claim: str
    observe: Callable[[], Seen]
    hint: str = ""
    remedy: tuple[str, ...] = ()
    within: float = 0.0

    def run(self) -> Result:
        """Observe until the claim holds or its time is up, and tell what was seen last."""
        ends = backend.now() + self.within if self.within else 0.0
        seen = self._seen()
        for _ in range(ceil(self.within / EVERY)):  # counted too: a clock that is played back may stand still
            if seen.passed or backend.now() > ends:
                break
            backend.sleep(EVERY)
            seen = self._seen()
        # a comparison of pandas' is no bool, and what is kept of it could not be written
        return Result(self.claim, bool(seen.passed), seen.measured)

    def holds_now(self) -> bool:
        """Whether the claim holds at this moment; nothing is waited for."""
        return self._seen().passed

    def _seen(self) -> Seen:
        """What stands in the way of observing makes the claim fail, with the reason."""
        try:
            return self.observe()
        except LabError as error:
            return Seen(False, f"{error.what} {error.why}".splitlines()[0])


@dataclass(frozen=True)
class Result:
    """A claim after its observation."""

    claim: str
    passed: bool
    measured: str


@dataclass(frozen=True)
class Report:
    """The results of one check, of a lab or an exercise by its number.

    As text it holds verdicts only, so that it is the same each time it passes. What does not hold is told as it was
    seen; what to do about it, `hint` tells to whoever asks.
    """

    number: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(result.passed for result in self.results)

    def __repr__(self) -> str:
        return "\n".join([*map(_line, self.results), self._verdict()])

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.results))
        return f"<table>{rows}</table><p><strong>{html(self._verdict())}</strong></p>"

    def _verdict(self) -> str:
        verdict = f"{sum(result.passed for result in self.results)}/{len(self.results)} passed"
        return verdict if self.passed else f'{verdict}. If you are stuck: hint("{self.number}")'


def _line(result: Result) -> str:
    return f"✓ {result.claim}" if result.passed else f"✗ {result.claim}\n  seen: {result.measured}"


def _row(result: Result) -> str:
    cells = ("✓" if result.passed else "✗", result.claim, result.measured)
    return "<tr>" + "".join(f'<td style="text-align:left">{html(cell)}</td>' for cell in cells) + "</tr>"
