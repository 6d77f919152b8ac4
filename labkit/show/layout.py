"""Where things stand, in pixels from the upper left corner: the same in each way of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labkit.show.marks import Axis, Line, Panel, Point

WIDTH = 760
LINE = 16  # pixels from one line of text to the next


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


def layout(panels: Sequence[Panel]) -> Layout:
    """Panels below each other, as wide as the longest tick label and the longest name in the legend let them be."""
    left = max((_left_of(panel.y) for panel in panels), default=16)
    names = legend(panels)
    right = WIDTH - 16 - (36 + max(text_width(line.name) for line in names) if names else 0)
    right -= max((_right_of(panel.x) for panel in panels), default=0)
    top, places = 44.0, []
    for panel in panels:
        places.append(Place(left, top, right - left, panel.height))
        top += panel.height + _below(panel.x)
    return Layout(max(top, 44 + 20 * len(names)), places, (right + 12, 52))


def legend(panels: Sequence[Panel]) -> list[Line]:
    """The first line of each name."""
    lines = [mark for panel in panels for mark in panel.marks if isinstance(mark, Line) and mark.named]
    return list({line.name: line for line in reversed(lines)}.values())[::-1]


def text_width(text: str, size: int = 12) -> float:
    """About how many pixels the longest line of a text takes."""
    return max(map(len, text.split("\n"))) * size * 0.58


def _left_of(y: Axis) -> float:
    labels = max((text_width(label) for _, label in y.ticks), default=0)
    return 16 + (22 if y.title else 0) + (labels + 6 if y.ticks else 0)


def _right_of(x: Axis) -> float:
    """What the label of a tick at the very end needs beyond the margin."""
    ends = [label for value, label in x.ticks if abs(value - x.high) < abs(x.high - x.low) / 20]
    return max((text_width(label) / 2 - 12 for label in ends), default=0)


def _below(x: Axis) -> float:
    lines = max((label.count("\n") + 1 for _, label in x.ticks), default=0)
    return 16 + LINE * lines + (20 if x.title else 0)
