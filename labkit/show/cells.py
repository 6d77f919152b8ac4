"""Tables of cells: what came of each pair of settings, or of each pair of caller and operation."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from labkit.show.colours import ALLOWED, DENIED, WRONG, ink_on, shade
from labkit.show.figure import Figure, nothing
from labkit.show.layout import WIDTH, text_width
from labkit.show.marks import Axis, Box, Label, Mark, Panel, Point

if TYPE_CHECKING:
    import pandas as pd


def circuit_breaker_heat_map(sweep: pd.DataFrame, title: str = "Share of requests that overflowed") -> Figure:
    """What the circuit breaker turned away, for each number of connections and each pending limit that was tried.

    sweep: connections (that ask at the same time), pending_limit (http1MaxPendingRequests), overflow_share (0 to 1,
    NaN where it was not measured yet).
    """
    if sweep.empty:
        return nothing(title, "Nothing was measured yet.")
    across, upwards = sorted(sweep["connections"].unique()), sorted(sweep["pending_limit"].unique())
    marks: list[Mark] = []
    for cell in sweep.itertuples():
        at = across.index(cell.connections), upwards.index(cell.pending_limit)
        marks += _overflow(at, cell)
    x = Axis.names("connections that ask at the same time", [f"{value:g}" for value in across])
    y = Axis.names("pending limit (requests)", [f"{value:g}" for value in upwards])
    text = f"{title}: {len(across)} numbers of connections, {len(upwards)} pending limits"
    return Figure(title, text, (Panel(x, y, tuple(marks), max(36 * len(upwards), 150)),))


def _overflow(at: Point, cell: Any) -> tuple[Mark, ...]:
    share = cell.overflow_share
    if share != share:
        return (Label(at, "…"),)
    said, fill = f"{share:.0%}".replace("%", " %"), shade(share)
    hover = f"{cell.connections} connections, pending limit {cell.pending_limit}: {said}"
    return _cell(at, fill, hover), Label(at, said, ink_on(fill))


def _cell(at: Point, fill: str, hover: str, edge: str = "") -> Box:
    (x, y), half = at, 0.48
    return Box((x - half, y - half), (x + half, y + half), fill, hover, edge)


def truth_table(answers: pd.DataFrame, title: str = "Who may do what") -> Figure:
    """Caller against service and method: what was observed, and a red frame where it is not what was intended.

    answers: caller, service, method, intended and observed (True: allowed; observed is None until it was tried).
    Its text is the verdict: one line for each row, then how many are as intended.
    """
    if answers.empty:
        return nothing(title, "Nothing was asked yet.")
    answers = answers.assign(operation=answers["method"] + " " + answers["service"])
    callers, operations = (list(answers[column].unique()) for column in ("caller", "operation"))
    marks: list[Mark] = []
    for answer in answers.itertuples():
        marks += _verdict((callers.index(answer.caller), operations.index(answer.operation)), answer)
    x = Axis.names("caller", [_wrapped(name, WIDTH - 200, len(callers)) for name in callers])
    y = Axis.names("operation", operations, downwards=True)
    return Figure(title, _verdicts(answers, title), (Panel(x, y, tuple(marks), 30 * len(operations)),))


def _verdict(at: Point, answer: Any) -> tuple[Mark, ...]:
    intended, observed = _allowed(answer.intended), _allowed(answer.observed)
    if observed == "?":
        return (Label(at, f"({intended})"),)
    fill = ALLOWED if observed == "allowed" else DENIED
    hover = f"{answer.caller}: {answer.operation}\nintended: {intended}\nobserved: {observed}"
    if observed == intended:
        return _cell(at, fill, hover), Label(at, observed, ink_on(fill))
    return _cell(at, fill, hover, WRONG), Label(at, f"✗ {observed}", ink_on(fill))


def _allowed(answer: Any) -> str:
    return {True: "allowed", False: "denied"}.get(answer, "?")


def _verdicts(answers: pd.DataFrame, title: str) -> str:
    words = answers[["caller", "operation"]].assign(
        intended=answers["intended"].map(_allowed), observed=answers["observed"].map(_allowed)
    )
    right = (words["intended"] == words["observed"]).sum()
    return f"{title}:\n{words.to_string(index=False)}\n{right}/{len(words)} as intended"


def _wrapped(name: str, pixels: float, among: int) -> str:
    """A name in lines that are no wider than its share of so many pixels."""
    letters = int(pixels / among / text_width("x"))
    return "\n".join(wrap(name, max(letters, 8))) or name
