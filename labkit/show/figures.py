"""Bars, and dots on a line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.show.colours import colour, fill
from labkit.show.figure import Figure, nothing
from labkit.show.marks import Axis, Box, Dots, Label, Mark, Panel, spread

if TYPE_CHECKING:
    import pandas as pd


def shares(counts: pd.Series | pd.DataFrame, title: str, unit: str = "requests") -> Figure:
    """Horizontal bars of counts by name (the index), in the index' order; of a frame one panel a column, to one scale.

    A column is named by what was counted in it. Versions of a service have shades of its colour.
    """
    columns = counts.to_frame(unit) if counts.ndim == 1 else counts.rename(columns=lambda name: f"{name} ({unit})")
    _, most = spread(columns.to_numpy().ravel())
    panels = tuple(_bars(columns[name], Axis.from_zero(name, most), unit) for name in columns)
    each = f" in each of {len(panels)} panels" if counts.ndim > 1 else ""
    return Figure(title, f"{title}: {len(counts)} bars{each}", panels)


def _bars(counts: pd.Series, x: Axis, unit: str) -> Panel:
    names = [str(name) for name in counts.index]
    marks: list[Mark] = []
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        marks += [
            Box((0, row - 0.33), (count, row + 0.33), fill(name), f"{name}: {count:g} {unit}"),
            Label((count, row), f"\N{NO-BREAK SPACE}{count:g}", anchor="start"),
        ]
    room = Axis(x.low, x.high * 1.25, x.title, x.ticks)  # for what is written at the end of the longest bar
    return Panel(room, Axis.names("", names, downwards=True), tuple(marks), 32 * len(counts))


def propagation_clock(clock: pd.DataFrame, title: str = "From apply until each proxy holds it") -> Figure:
    """A dot for each time that a proxy took a new configuration, pods from fast to slow.

    clock: pod, milliseconds (since the object was applied; NaN while the proxy does not hold it yet).
    """
    if clock.empty:
        return nothing(title, "No proxy was asked: there is none in this namespace.")
    medians = clock.groupby("pod")["milliseconds"].median().sort_values(kind="stable")
    rows = {pod: row for row, pod in enumerate(medians.index)}
    marks: list[Mark] = []
    for pod, taken in clock.groupby("pod")["milliseconds"]:
        points = tuple((float(value), float(rows[pod])) for value in taken.dropna())
        hover = tuple(f"{pod}: {value:.0f} ms" for value, _ in points)
        waiting = Label((0, rows[pod]), "\N{NO-BREAK SPACE}waiting …", anchor="start")
        marks.append(Dots(points, colour(pod), hover, 5) if points else waiting)
    x = Axis.from_zero("time (ms)", spread(clock["milliseconds"].dropna())[1])
    x = replace(x, low=-x.high / 40)  # a dot at zero stands clear of the names
    y = Axis.names("pod", list(medians.index), downwards=True)
    return Figure(title, f"{title}: {len(rows)} proxies", (Panel(x, y, tuple(marks), 26 * len(rows)),))
