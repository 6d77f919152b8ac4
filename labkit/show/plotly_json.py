"""A figure as plotly's JSON, each thing where the SVG has it.

https://plotly.com/chart-studio-help/json-chart-schema/
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from labkit.show.colours import INK, OTHER
from labkit.show.layout import WIDTH, Place, layout, legend
from labkit.show.marks import Axis, Box, Dots, Label, Line, Panel, Point

_ANCHORS = {"start": "middle right", "middle": "middle center", "end": "middle left"}  # plotly says where the text is


def draw(title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """data, layout and config, as a FigureWidget or `go.Figure` takes them."""
    height, places, legend_at = layout(panels)
    named = {id(line) for line in legend(panels)}
    placed = list(enumerate(zip(panels, places, strict=True), start=1))
    axes = [_axes(number, panel, place, height) for number, (panel, place) in placed]
    return {
        "data": [trace for number, (panel, _) in placed for trace in _traces(panel, number, named)],
        "layout": {
            "title": {"text": f"<b>{escape(title)}</b>", "font": {"size": 14}, "x": 16 / WIDTH,
                      "y": 1 - 20 / height, "xanchor": "left", "yanchor": "middle"},
            "width": WIDTH, "height": round(height), "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "sans-serif", "size": 12, "color": INK}, "hovermode": "closest",
            "legend": {"x": legend_at[0] / WIDTH, "y": 1 - (legend_at[1] - 12) / height, "yanchor": "top",
                       "bgcolor": "rgba(0,0,0,0)"},
            **{name: axis for pair in axes for name, axis in pair.items()},
        },
        "config": {"displayModeBar": False},
    }  # fmt: skip


def _axes(number: int, panel: Panel, place: Place, height: float) -> dict[str, Any]:
    across = [place.left / WIDTH, (place.left + place.width) / WIDTH]
    upwards = [1 - (place.top + place.height) / height, 1 - place.top / height]
    name = "" if number == 1 else str(number)
    return {
        f"xaxis{name}": {**_axis(panel.x), "domain": across, "anchor": f"y{name}"},
        f"yaxis{name}": {**_axis(panel.y), "domain": upwards, "anchor": f"x{name}"},
    }


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "range": [axis.low, axis.high],
        "title": {"text": escape(axis.title), "font": {"size": 12}, "standoff": 8},
        "tickvals": [value for value, _ in axis.ticks],
        "ticktext": [_lines(label) for _, label in axis.ticks],
        "tickangle": 0,
        "showgrid": axis.grid and bool(axis.ticks),
        "showticklabels": bool(axis.ticks),
        "gridcolor": "rgba(136,136,136,0.2)",
        "zeroline": False,
    }


def _traces(panel: Panel, number: int, named: set[int]) -> list[dict[str, Any]]:
    labels = [mark for mark in panel.marks if isinstance(mark, Label)]
    traces = [_trace(mark, named) for mark in panel.marks if not isinstance(mark, Label)]
    traces += [_label_trace(labels)] if labels else []
    name = "" if number == 1 else str(number)
    return [{"type": "scatter", "showlegend": False, **t, "xaxis": f"x{name}", "yaxis": f"y{name}"} for t in traces]


def _trace(mark: Line | Dots | Box, named: set[int]) -> dict[str, Any]:
    if isinstance(mark, Line):
        return {**_line_trace(mark), "showlegend": id(mark) in named}
    if isinstance(mark, Dots):
        return _dots_trace(mark)
    return _box_trace(mark)


def _line_trace(line: Line) -> dict[str, Any]:
    trace = {
        **_points(line.points),
        "mode": "lines",
        "name": escape(line.name),
        "legendgroup": line.name,
        **_reading(line),
        "line": {"color": line.colour, "width": line.width, "dash": line.dash},
        "opacity": line.opacity,
    }
    if line.arrow:
        tip = {"symbol": "arrow", "angleref": "previous", "size": [0] * (len(line.points) - 1) + [12]}
        trace |= {"mode": "lines+markers", "marker": {**tip, "color": line.colour, "opacity": 1, "line": {"width": 0}}}
    return trace


def _reading(line: Line) -> dict[str, str]:
    """What is said when one points at a line: its value there, if it is one."""
    if not line.unit:
        return {"hoverinfo": "skip"}
    return {"hovertemplate": f"{escape(line.name)}: %{{y:.3~g}} {escape(line.unit)}<extra></extra>"}


def _dots_trace(dots: Dots) -> dict[str, Any]:
    return {
        **_points(dots.points),
        "mode": "markers",
        "marker": {"color": dots.colour, "size": 2 * dots.radius, "opacity": 1, "line": {"width": 0}},
        "cliponaxis": False,
        "hovertext": [_lines(said) for said in dots.hover],
        "hoverinfo": "text",
    }


def _box_trace(box: Box) -> dict[str, Any]:
    (x1, y1), (x2, y2) = box.start, box.end
    return {
        **_points(((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": box.fill,
        "line": {"color": box.edge or OTHER, "width": 3 if box.edge else 0},
        "hoveron": "fills",
        "text": _lines(box.hover),
        "hoverinfo": "text",
    }


def _label_trace(labels: list[Label]) -> dict[str, Any]:
    return {
        **_points([label.point for label in labels]),
        "mode": "text",
        "text": [_lines(label.text) for label in labels],
        "textposition": [_ANCHORS[label.anchor] for label in labels],
        "textfont": {"color": [label.colour for label in labels], "size": [label.size for label in labels]},
        "hoverinfo": "skip",
    }


def _points(points: Sequence[Point]) -> dict[str, list[float | None]]:
    """Without any, one that is nowhere: plotly leaves a trace without points out of its legend."""
    return {"x": [round(x, 3) for x, _ in points] or [None], "y": [round(y, 3) for _, y in points] or [None]}


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")
