"""Certificates over time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.show.colours import INK, colour, ink_on
from labkit.show.figure import Figure, nothing
from labkit.show.marks import Axis, Box, Label, Line, Mark, Panel

if TYPE_CHECKING:
    import pandas as pd


def certificate_timeline(certificates: pd.DataFrame, title: str = "Certificates over time") -> Figure:
    """A bar for each certificate, by pod, from its signing to its end, with a stroke at half of its life.

    The upright line is now. certificates: time (when it was seen), pod, serial, signed, not_after; the times are
    datetimes in UTC.
    """
    if certificates.empty:
        return nothing(title, "No certificate was seen: no proxy holds one.")
    bars = certificates.drop_duplicates(["pod", "serial"]).sort_values(["pod", "signed", "serial"], kind="stable")
    bars = bars.reset_index(drop=True)
    now = certificates["time"].max()
    x = _utc(bars["signed"].min(), max(bars["not_after"].max(), now))
    middles = bars.index.to_series().groupby(bars["pod"]).mean()
    y = Axis(len(bars) - 0.5, -0.5, "pod", tuple((row, str(pod)) for pod, row in middles.items()), grid=False)
    upright = Line(((now.timestamp(), -0.5), (now.timestamp(), len(bars) - 0.5)), INK, "now", width=1.5)
    marks = (*(mark for bar in bars.itertuples() for mark in _validity(bar, x)), upright)
    text = f"{title}: {bars['pod'].nunique()} pods"
    return Figure(title, text, (Panel(x, y, marks, max(24 * len(bars), 48)),))


def _validity(bar: Any, x: Axis) -> tuple[Mark, ...]:
    start, end, row = bar.signed.timestamp(), bar.not_after.timestamp(), bar.Index
    valid = f"signed {bar.signed:%Y-%m-%d %H:%M:%S}\nuntil {bar.not_after:%Y-%m-%d %H:%M:%S} UTC"
    box = Box((start, row - 0.36), (end, row + 0.36), colour(bar.pod), f"{bar.pod}\nserial {bar.serial}\n{valid}")
    middle = (start + end) / 2
    half = Line(((middle, row - 0.36), (middle, row + 0.36)), ink_on(box.fill), "half of its life", width=1.5)
    return box, half, _serial(f"…{str(bar.serial)[-8:]}", box, x)


def _serial(text: str, box: Box, x: Axis) -> Label:
    """In its bar, or beside one that is too short for it."""
    (start, low), (end, high) = box.start, box.end
    row, room = (low + high) / 2, 0.2 * (x.high - x.low)
    if end - start >= room:
        return Label((start, row), f"\N{NO-BREAK SPACE}{text}", ink_on(box.fill), "start", 11)
    if x.high - end >= room:
        return Label((end, row), f"\N{NO-BREAK SPACE}{text}", anchor="start", size=11)
    return Label((start, row), f"{text}\N{NO-BREAK SPACE}", anchor="end", size=11)


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = [1, 2, 5, 10, 15, 30]
_STEPS += [_MINUTE * step for step in _STEPS] + [_HOUR * step for step in (1, 2, 3, 6, 12)]
_STEPS += [_DAY * step for step in (1, 2, 7, 14, 30, 90, 365, 730, 1825, 3650)]


def _utc(start: datetime, end: datetime) -> Axis:
    """Time of day, with the day below it where there is more than one."""
    step = next((step for step in _STEPS if step * 6 >= (end - start).total_seconds()), _STEPS[-1])
    first = -(-start.timestamp() // step) * step
    written = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%Y-%m-%d"
    if start.date() != end.date() and step < _DAY:
        written += "\n%Y-%m-%d"
    ticks, at = [], first
    while at <= end.timestamp():
        ticks.append((at, f"{start + timedelta(seconds=at - start.timestamp()):{written}}"))
        at += step
    return Axis(start.timestamp(), max(end.timestamp(), start.timestamp() + 1), "time (UTC)", tuple(ticks))
