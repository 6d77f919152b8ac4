"""What a figure is made of: panels with two axes each, and the marks in them. How they are drawn stands elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

from labkit.show.colours import INK, Dash

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """From `low` to `high` (which may be the smaller one), with labelled ticks. Without ticks it is not drawn."""

    low: float
    high: float
    title: str = ""
    ticks: tuple[tuple[float, str], ...] = ()
    grid: bool = True

    @classmethod
    def from_zero(cls, title: str, most: float) -> Axis:
        """From 0 to the next tick after `most`, in steps of 1, 2 or 5 times a power of ten.

        title: says the unit, "duration (ms)".
        """
        step = _round_step((most or 1) / 5)
        count = ceil(most / step * (1 - 1e-9)) or 1
        return cls(0, count * step, title, tuple((n * step, f"{n * step:.6g}") for n in range(count + 1)))

    @classmethod
    def names(cls, title: str, names: Sequence[str], downwards: bool = False) -> Axis:
        """One tick for each name, at 0, 1, 2 …; `downwards` puts the first on top."""
        ends = (-0.5, max(len(names), 1) - 0.5)
        low, high = ends[::-1] if downwards else ends
        return cls(low, high, title, tuple(enumerate(names)), grid=False)


@dataclass(frozen=True)
class Line:
    """A curve through points; in the legend, too, if it is `named`. `unit` is what its y values are counted in."""

    points: tuple[Point, ...]
    colour: str
    name: str = ""
    unit: str = ""
    dash: Dash = "solid"
    width: float = 2
    opacity: float = 1
    named: bool = False
    arrow: bool = False


@dataclass(frozen=True)
class Dots:
    """Dots of one colour. `hover`: one text for each."""

    points: tuple[Point, ...]
    colour: str
    hover: tuple[str, ...]
    radius: float = 4


@dataclass(frozen=True)
class Box:
    """A rectangle between two opposite corners."""

    start: Point
    end: Point
    fill: str
    hover: str
    edge: str = ""


@dataclass(frozen=True)
class Label:
    """Text at a point; lines are parted by line feeds."""

    point: Point
    text: str
    colour: str = INK
    anchor: Literal["start", "middle", "end"] = "middle"
    size: int = 12


Mark = Line | Dots | Box | Label


@dataclass(frozen=True)
class Panel:
    """Marks in two axes. `height` in pixels, without what is written below it."""

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    height: int


def spread(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest, (0, 0) of none."""
    values = list(values)
    return (min(values), max(values)) if values else (0.0, 0.0)


def _round_step(least: float) -> float:
    power = 10 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
