"""Checks: claims about the cluster, each observed anew, never taken from the reader's variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from labkit.errors import LabError


@dataclass(frozen=True)
class Seen:
    """What an observation found, and whether the claim holds."""

    passed: bool
    measured: str


@dataclass(frozen=True)
class Check:
    """A claim, how it is observed, and what to do where it does not hold."""

    claim: str
    observe: Callable[[], Seen]
    fix: str

    def run(self) -> Result:
        """Observe. What stands in the way of observing makes the claim fail, with the reason."""
        try:
            seen = self.observe()
        except LabError as error:
            seen = Seen(False, f"{error.what} {error.why}".splitlines()[0])
        return Result(self.claim, seen.passed, seen.measured, "" if seen.passed else self.fix)


@dataclass(frozen=True)
class Result:
    """A claim after its observation; `fix` is "" where it holds."""

    claim: str
    passed: bool
    measured: str
    fix: str


@dataclass(frozen=True)
class Report:
    """The results of one check. As text it holds verdicts only, so that it is the same each time it passes."""

    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(result.passed for result in self.results)

    def __repr__(self) -> str:
        return "\n".join([*map(_line, self.results), self._verdict()])

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.results))
        return f"<table>{rows}</table><p><strong>{self._verdict()}</strong></p>"

    def _verdict(self) -> str:
        return f"{sum(result.passed for result in self.results)}/{len(self.results)} passed"


def _line(result: Result) -> str:
    if result.passed:
        return f"✓ {result.claim}"
    return f"✗ {result.claim}\n  seen: {result.measured}\n  fix: {result.fix}"


def _row(result: Result) -> str:
    sign = "✓" if result.passed else "✗"
    fix = f"<br><em>{_with_code(result.fix)}</em>" if result.fix else ""
    cells = (sign, escape(result.claim) + fix, escape(result.measured))
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


def _with_code(text: str) -> str:
    """What stands between backticks is a command."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
