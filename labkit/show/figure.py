"""What a figure holds: panels with two axes each, and the marks in them. How it is drawn stands elsewhere.

Each figure is drawn twice from the same marks, at the same places: as SVG, which a code host shows, and as plotly's
JSON, which JupyterLab prefers: there one can point at a mark to read its value, and it is shown in a notebook that
is not yet trusted, where SVG is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Literal, NamedTuple

from labkit.show.colours import INK

WIDTH = 760
LINE = 16  # pixels from one line of text to the next
PLOTLY = "application/vnd.plotly.v1+json"

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
    dash: Literal["solid", "dash", "dot"] = "solid"
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


@dataclass(frozen=True)
class Figure:
    """Panels below one title. `text` stands for it where only text can be shown.

    Figures are made so that their text is the same at each run: without measured values, without pods' names.
    """

    title: str
    text: str
    panels: tuple[Panel, ...]

    def __repr__(self) -> str:
        return self.text

    @property
    def svg(self) -> str:
        """The figure as an SVG document."""
        from labkit.show.svg import draw

        return draw(self)

    @property
    def plotly(self) -> dict[str, Any]:
        """The figure as plotly's JSON: data, layout, config."""
        from labkit.show.plotly_json import draw

        return draw(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {PLOTLY: self.plotly, "image/svg+xml": self.svg, "text/plain": self.text}


def nothing(title: str, why: str) -> Figure:
    """A figure of nothing, that says why there is nothing."""
    panel = Panel(Axis(0, 1), Axis(0, 1), (Label((0, 0.5), why, anchor="start"),), 40)
    return Figure(title, f"{title}: {why}", (panel,))


# -- where things stand, in pixels from the upper left corner -----------------------------------
class Place(NamedTuple):
    """Where a panel's axes are drawn."""

    left: float
    top: float
    width: float
    height: float


class Layout(NamedTuple):
    """A figure's size, its panels' places in their order, and where its legend begins."""

    height: float
    places: list[Place]
    legend: Point


def layout(figure: Figure) -> Layout:
    """Panels below each other, as wide as the longest tick label and the longest name in the legend let them be."""
    left = max((_left_of(panel.y) for panel in figure.panels), default=16)
    names = legend(figure)
    right = WIDTH - 16 - (36 + max(text_width(line.name) for line in names) if names else 0)
    top, places = 44.0, []
    for panel in figure.panels:
        places.append(Place(left, top, right - left, panel.height))
        top += panel.height + _below(panel.x)
    return Layout(max(top, 44 + 20 * len(names)), places, (right + 12, 52))


def legend(figure: Figure) -> list[Line]:
    """The first line of each name."""
    lines = [mark for panel in figure.panels for mark in panel.marks if isinstance(mark, Line) and mark.named]
    return list({line.name: line for line in reversed(lines)}.values())[::-1]


def text_width(text: str, size: int = 12) -> float:
    """About how many pixels the longest line of a text takes."""
    return max(map(len, text.split("\n"))) * size * 0.58


def _left_of(y: Axis) -> float:
    labels = max((text_width(label) for _, label in y.ticks), default=0)
    return 16 + (22 if y.title else 0) + (labels + 6 if y.ticks else 0)


def _below(x: Axis) -> float:
    lines = max((label.count("\n") + 1 for _, label in x.ticks), default=0)
    return 16 + LINE * lines + (20 if x.title else 0)


def _round_step(least: float) -> float:
    power = 10 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def spread(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest, (0, 0) of none."""
    values = list(values)
    return (min(values), max(values)) if values else (0.0, 0.0)
