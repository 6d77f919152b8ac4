"""One request, span by span."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.show.colours import WRONG, colour
from labkit.show.figure import Figure, nothing
from labkit.show.marks import Axis, Box, Label, Mark, Panel

if TYPE_CHECKING:
    import pandas as pd


def waterfall(spans: pd.DataFrame, title: str = "One request, span by span") -> Figure:
    """A bar for each span, in the order of the calls: thick where a proxy took a request, thin where it sent one.

    spans: service, side ("server" or "client"), peer (whom a client called), begins, milliseconds, flags, error (the
    bar gets a red frame). Times are in ms since the first span began.
    """
    if spans.empty:
        return nothing(title, "No span of this request is in the store.")
    end = (spans["begins"] + spans["milliseconds"]).max()
    x = Axis.from_zero("time since the request arrived (ms)", end)
    x = replace(x, high=x.high * 1.2)  # for what is written at the end of the longest bar
    rows = list(spans.itertuples())
    marks = [mark for row, span in enumerate(rows) for mark in _bar(row, span)]
    y = Axis.names("", [_name(span) for span in rows], downwards=True)
    services = ", ".join(sorted(spans["service"].unique()))
    return Figure(title, f"{title}: {services}", (Panel(x, y, tuple(marks), 24 * len(rows)),))


def _name(span: Any) -> str:
    return f"{span.service} → {span.peer or '?'}" if span.side == "client" else str(span.service)


def _bar(row: int, span: Any) -> tuple[Mark, ...]:
    end, half = span.begins + span.milliseconds, 0.14 if span.side == "client" else 0.38
    took = f"{span.milliseconds:.0f} ms" if span.milliseconds >= 100 else f"{span.milliseconds:.2g} ms"
    wrong = f", {span.flags or 'failed'}" if span.error else f", {span.flags}" if span.flags else ""
    hover = f"{_name(span)}: {took}, from {span.begins:.3g} ms on{wrong}"
    box = Box((span.begins, row - half), (end, row + half), colour(span.service), hover, WRONG if span.error else "")
    return box, Label((end, row), f"\N{NO-BREAK SPACE}{took}{wrong}", anchor="start", size=11)
