"""A figure as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import atan2, cos, sin

from labkit.show.colours import INK, OTHER
from labkit.show.layout import LINE, WIDTH, Place, layout, legend
from labkit.show.marks import Axis, Box, Dots, Mark, Panel, Point
from labkit.show.marks import Line as Curve

_DASHES = {"solid": "", "dash": ' stroke-dasharray="8 4"', "dot": ' stroke-dasharray="2 4"'}
_TIP = 10  # pixels, the length of an arrow's head

Scale = Callable[[Point], Point]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """An SVG document, as wide as every figure, as high as its panels need."""
    height, places, legend_at = layout(panels)
    drawn = "".join(_panel(panel, place) for panel, place in zip(panels, places, strict=True))
    names = "".join(_legend_entry(line, legend_at, row) for row, line in enumerate(legend(panels)))
    heading = f'<g font-weight="bold">{_text((16, 20), title, "start", 14)}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" style="max-width:100%;height:auto" font-family="sans-serif" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
        f"{heading}{drawn}{names}</svg>"
    )


def _panel(panel: Panel, place: Place) -> str:
    scale = _scale(panel, place)
    marks = "".join(_mark(mark, scale) for mark in panel.marks)
    return _x_axis(panel.x, place, scale) + _y_axis(panel.y, place, scale) + marks


def _scale(panel: Panel, place: Place) -> Scale:
    x, y = panel.x, panel.y

    def to_pixels(point: Point) -> Point:
        right = (point[0] - x.low) / (x.high - x.low)
        up = (point[1] - y.low) / (y.high - y.low)
        return place.left + right * place.width, place.top + (1 - up) * place.height

    return to_pixels


def _x_axis(axis: Axis, place: Place, scale: Scale) -> str:
    bottom = place.top + place.height
    drawn = ""
    for value, label in axis.ticks:
        x, _ = scale((value, 0))
        lines = label.count("\n")
        drawn += _rule((x, place.top), (x, bottom)) if axis.grid else ""
        drawn += _text((x, bottom + 14 + lines * LINE / 2), label, "middle")
    if axis.title:
        lines = max(label.count("\n") + 1 for _, label in axis.ticks)
        drawn += _text((place.left + place.width / 2, bottom + 16 + lines * LINE), axis.title, "middle")
    return drawn


def _y_axis(axis: Axis, place: Place, scale: Scale) -> str:
    drawn = ""
    for value, label in axis.ticks:
        _, y = scale((0, value))
        drawn += _rule((place.left, y), (place.left + place.width, y)) if axis.grid else ""
        drawn += _text((place.left - 6, y), label, "end")
    if axis.title:
        middle = place.top + place.height / 2
        drawn += f'<g transform="rotate(-90 18 {middle:.0f})">{_text((18, middle), axis.title, "middle")}</g>'
    return drawn


def _mark(mark: Mark, scale: Scale) -> str:
    if isinstance(mark, Curve):
        return _curve(mark, [scale(point) for point in mark.points])
    if isinstance(mark, Dots):
        return "".join(_dot(scale(point), mark, said) for point, said in zip(mark.points, mark.hover, strict=True))
    if isinstance(mark, Box):
        return _box(mark, scale(mark.start), scale(mark.end))
    return _text(scale(mark.point), mark.text, mark.anchor, mark.size, mark.colour)


def _curve(line: Curve, points: list[Point]) -> str:
    if len(points) < 2:
        return ""
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn = (
        f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}" '
        f'opacity="{line.opacity:g}"{_DASHES[line.dash]}>{_hover(line.name)}</path>'
    )
    return drawn + (_tip(points[-2], points[-1], line.colour) if line.arrow else "")


def _tip(before: Point, at: Point, colour: str) -> str:
    """An arrow's head: no marker of SVG's, whose name would have to differ in every figure of a page."""
    angle = atan2(at[1] - before[1], at[0] - before[0])
    back = [(at[0] - _TIP * cos(angle + side), at[1] - _TIP * sin(angle + side)) for side in (-0.4, 0.4)]
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in (at, *back))}" fill="{colour}"/>'


def _dot(at: Point, dots: Dots, hover: str) -> str:
    x, y = at
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{dots.radius:g}" fill="{dots.colour}">{_hover(hover)}</circle>'


def _box(box: Box, start: Point, end: Point) -> str:
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(start, end, strict=True))
    edge = f' stroke="{box.edge}" stroke-width="3"' if box.edge else ""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
        f'fill="{box.fill}"{edge}>{_hover(box.hover)}</rect>'
    )


def _hover(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _legend_entry(line: Curve, at: Point, row: int) -> str:
    x, middle = at[0], at[1] + 20 * row
    sample = f'stroke="{line.colour}" stroke-width="{line.width:g}"{_DASHES[line.dash]}'
    return f'<path d="M{x:.0f},{middle} h24" {sample}/>' + _text((x + 30, middle), line.name, "start")


def _rule(start: Point, end: Point) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<path d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}" stroke="{OTHER}" stroke-width="0.5" opacity="0.4"/>'


def _text(at: Point, text: str, anchor: str, size: int = 12, colour: str = INK) -> str:
    """Lines of text, whose middle is at a point."""
    lines = text.split("\n")
    first = at[1] + size * 0.35 - (len(lines) - 1) * LINE / 2
    return "".join(
        f'<text x="{at[0]:.1f}" y="{first + row * LINE:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
