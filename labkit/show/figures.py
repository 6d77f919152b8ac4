"""Figures as SVG: they look the same in JupyterLab, on a code host and in print.

The same service has the same colour in all of them; grey text is legible on light and on dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import dist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

# Okabe and Ito's palette, safe for colour-blind readers: https://jfly.uni-koeln.de/color/
COLOURS = {
    "productpage": "#0072B2",
    "details": "#E69F00",
    "reviews": "#009E73",
    "ratings": "#CC79A7",
    "istio-ingressgateway": "#D55E00",
}
OTHER = "#888888"
_FONT = 'font-family="sans-serif" font-size="13" fill="#888888"'


@dataclass(frozen=True)
class Figure:
    """A drawing. Notebooks show `svg`; where only text can be shown, `text` stands for it."""

    svg: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_svg_(self) -> str:
        return self.svg


def colour(name: str) -> str:
    """The colour of a service, or of a workload or a pod of it."""
    return next((value for service, value in COLOURS.items() if name.startswith(service)), OTHER)


def shares(counts: pd.Series, title: str, unit: str = "requests") -> Figure:
    """Horizontal bars of counts by name (the series' index), in the index' order."""
    largest = max(counts.max(), 1) if len(counts) else 1
    rows = "".join(_bar(row, str(name), count, largest, unit) for row, (name, count) in enumerate(counts.items()))
    return Figure(_svg(640, 50 + 34 * len(counts), title, rows), f"{title}: {len(counts)} bars")


def topology(services: pd.DataFrame, edges: pd.DataFrame, title: str) -> Figure:
    """Services as dots, calls as arrows with their count.

    services: a column `service`. edges: source_workload, destination_service_name, requests.
    """
    graph = _graph(services, edges)
    places = _places(graph)
    arrows = "".join(_arrow(_Curve.around(places, a, b), calls) for a, b, calls in graph.edges(data="requests"))
    dots = "".join(_dot(name, *place) for name, place in places.items())
    text = f"{title}: {graph.number_of_nodes()} services, {graph.number_of_edges()} calls"
    return Figure(_svg(640, 300, title, arrows + dots), text)


def _graph(services: pd.DataFrame, edges: pd.DataFrame) -> nx.DiGraph:
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(services["service"])
    for edge in edges.itertuples():
        source = _service(edge.source_workload, graph)
        calls = graph.get_edge_data(source, edge.destination_service_name, {"requests": 0})["requests"]
        graph.add_edge(source, edge.destination_service_name, requests=calls + edge.requests)
    return graph


def _service(workload: str, graph: nx.DiGraph) -> str:
    """reviews-v2 → reviews, where such a service is known."""
    return next((name for name in graph if workload == name or workload.startswith(f"{name}-v")), workload)


def _places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Callers left of those they call; what nobody calls and calls nobody stands left too."""
    import networkx as nx

    order = _without_cycles(graph)
    for layer, names in enumerate(nx.topological_generations(order)):
        for name in names:
            order.nodes[name]["layer"] = layer
    layout = nx.multipartite_layout(order, subset_key="layer") if len(order) else {}
    xs, ys = [place[0] for place in layout.values()], [place[1] for place in layout.values()]
    return {n: (_scaled(x, xs, 80, 560), _scaled(y, ys, 80, 230)) for n, (x, y) in sorted(layout.items())}


def _without_cycles(graph: nx.DiGraph) -> nx.DiGraph:
    """The calls that decide who stands left of whom: of a cycle, all but the rarest."""
    import networkx as nx

    order = nx.DiGraph()
    order.add_nodes_from(graph)
    for caller, called, _ in sorted(graph.edges(data="requests"), key=lambda edge: -edge[2]):
        if not nx.has_path(order, called, caller):
            order.add_edge(caller, called)
    return order


def _scaled(value: float, among: list[float], low: float, high: float) -> float:
    span = max(among) - min(among)
    return low + (value - min(among)) / span * (high - low) if span else (low + high) / 2


def _svg(width: int, height: int, title: str, body: str) -> str:
    marker = (
        '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        f'<path d="M0,0 L9,4 L0,8 z" fill="{OTHER}"/></marker></defs>'
    )
    heading = f'<text x="16" y="26" {_FONT} font-weight="bold">{escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title, quote=True)}">{marker}{heading}{body}</svg>'
    )


def _bar(row: int, name: str, count: float, largest: float, unit: str) -> str:
    top, length = 44 + 34 * row, 300 * count / largest
    return (
        f'<text x="220" y="{top + 16}" {_FONT} text-anchor="end">{escape(name)}</text>'
        f'<rect x="230" y="{top}" width="{length:.1f}" height="22" rx="3" fill="{colour(name)}"/>'
        f'<text x="{238 + length:.1f}" y="{top + 16}" {_FONT}>{count:g} {escape(unit)}</text>'
    )


def _dot(name: str, x: float, y: float) -> str:
    return (
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="17" fill="{colour(name)}"><title>{escape(name)}</title></circle>'
        f'<text x="{x:.0f}" y="{y + 36:.0f}" {_FONT} text-anchor="middle">{escape(name)}</text>'
    )


def _arrow(curve: _Curve, requests: float) -> str:
    (x1, y1), (xc, yc), (x2, y2) = curve.at(curve.gap(20)), curve.control, curve.at(1 - curve.gap(22))
    x, y = curve.at(0.5)
    return (
        f'<path d="M{x1:.1f},{y1:.1f} Q{xc:.1f},{yc:.1f} {x2:.1f},{y2:.1f}" fill="none" stroke="{OTHER}" '
        f'stroke-width="1.5" marker-end="url(#tip)"/>'
        f'<text x="{x:.0f}" y="{y - 6:.0f}" {_FONT} text-anchor="middle">{requests:g}</text>'
    )


@dataclass(frozen=True)
class _Curve:
    """A quadratic Bézier curve between the middles of two dots; straight where nothing is in its way."""

    start: tuple[float, float]
    end: tuple[float, float]
    bow: float

    @classmethod
    def around(cls, places: dict[str, tuple[float, float]], caller: str, called: str) -> _Curve:
        """The straightest one that meets no other dot, and no name below it."""
        others = [(x, y + 12) for name, (x, y) in places.items() if name not in (caller, called)]
        curves = [cls(places[caller], places[called], bow) for bow in (0, 60, -60, 120, -120)]
        return next((curve for curve in curves if curve._clears(others)), curves[0])

    @property
    def length(self) -> float:
        return max(dist(self.start, self.end), 1.0)

    @property
    def control(self) -> tuple[float, float]:
        (x1, y1), (x2, y2) = self.start, self.end
        aside = self.bow / self.length
        return (x1 + x2) / 2 - (y2 - y1) * aside, (y1 + y2) / 2 + (x2 - x1) * aside

    def at(self, t: float) -> tuple[float, float]:
        """The point at t, 0 to 1."""
        weights, points = ((1 - t) ** 2, 2 * t * (1 - t), t**2), (self.start, self.control, self.end)
        return tuple(sum(w * point[axis] for w, point in zip(weights, points, strict=True)) for axis in (0, 1))

    def gap(self, pixels: float) -> float:
        """How much of the curve lies within so many pixels of one of its ends."""
        return min(pixels / self.length, 0.5)

    def _clears(self, dots: list[tuple[float, float]]) -> bool:
        return all(dist(self.at(step / 20), dot) > 36 for step in range(21) for dot in dots)
