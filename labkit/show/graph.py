"""Services and the calls between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, dist
from typing import TYPE_CHECKING, Any

from labkit.show.colours import INK, OTHER, WRONG, Dash, colour
from labkit.show.figure import Figure, nothing
from labkit.show.layout import LINE, WIDTH, text_width
from labkit.show.marks import Axis, Dots, Label, Line, Mark, Panel, Point, spread

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

_DOT = 17  # pixels
_SMALL = 11
_ISTIOD = "istiod"
_Look = tuple[str, str, float, Dash]  # what stands on an arrow, its colour, its width in pixels, its stroke


def topology(services: pd.DataFrame, edges: pd.DataFrame, title: str) -> Figure:
    """Services as dots, calls as arrows with their count.

    services: a column `service`. edges: source_workload, destination_service_name, requests.
    """
    graph = _graph(services["service"])
    for edge in edges.itertuples():
        _add_call(graph, edge.source_workload, edge.destination_service_name, edge.requests)
    text = f"{title}: {graph.number_of_nodes()} services, {graph.number_of_edges()} calls"
    return _drawn(graph, title, text, 240, lambda calls: (f"{calls['weight']:g}", INK, 1.5, "solid"))


def service_graph(edges: pd.DataFrame, title: str = "Service graph") -> Figure:
    """Who calls whom: requests a second, share of errors and share under mutual TLS on each arrow.

    edges: source_workload, destination_service_name, requests_per_second, error_share and mtls_share (0 to 1; NaN where
    it is not known). Where there is a column `time`, the newest rows alone are drawn. Workloads of one service, and
    calls to it from several, are taken together.
    """
    newest = edges[edges["time"] == edges["time"].max()] if "time" in edges else edges
    asked = newest[newest["requests_per_second"] > 0]
    if asked.empty:
        return nothing(title, "No requests in this time; `mesh.traffic.start()` sends some.")
    graph = _graph(asked["destination_service_name"])
    for edge in asked.itertuples():
        rate = edge.requests_per_second
        shares = {"errors": edge.error_share * rate, "mtls": edge.mtls_share * rate}
        _add_call(graph, edge.source_workload, edge.destination_service_name, rate, shares)
    busiest = max(rate for *_, rate in graph.edges(data="weight"))
    calls = "\n".join(f"  {source} → {destination}" for source, destination in sorted(graph.edges))
    return _drawn(graph, title, f"{title}:\n{calls}", 320, lambda call: _rates(call, busiest))


def layers(edges: pd.DataFrame, sync: pd.DataFrame, title: str = "Data plane and control plane") -> Figure:
    """Proxies above, with the calls between them; istiod below, with a broken arrow to each that it configures.

    edges: source_workload, destination_service_name, requests_per_second; without requests there is no call. sync: name
    (POD.NAMESPACE), cds, lds, eds, rds, as `mesh.proxy.sync_status` has them; what is not in sync stands on its arrow.
    Proxies of one service are one dot, with their number.
    """
    asked = edges[edges["requests_per_second"] > 0]
    graph = _graph(asked["destination_service_name"])
    for edge in asked.itertuples():
        _add_call(graph, edge.source_workload, edge.destination_service_name, 1)
    states: dict[str, set[str]] = {}
    proxies: Counter[str] = Counter()
    for proxy in sync.itertuples():
        service = _service(proxy.name.partition(".")[0].rsplit("-", 2)[0], graph)
        states.setdefault(service, set()).update((proxy.cds, proxy.lds, proxy.eds, proxy.rds))
        proxies[service] += 1
    graph.add_nodes_from(states)
    places = {**_places(graph, 230), _ISTIOD: (WIDTH / 2, 310.0)}
    text = f"{title}: {len(sync)} proxies, {graph.number_of_edges()} calls, one istiod"
    for name, found in states.items():
        graph.add_edge(_ISTIOD, name, wrong=", ".join(sorted(found - {"SYNCED", "IGNORED"})))
    names = {name: f"{name} ({count})" for name, count in proxies.items() if count > 1}
    return _drawn(graph, title, text, 360, _sync, places, names)


def _sync(edge: dict[str, Any]) -> _Look:
    """How a call is drawn, and how what istiod sends."""
    wrong = edge.get("wrong")
    return ("", INK, 2, "solid") if wrong is None else (wrong, WRONG if wrong else INK, 1, "dash")


def _rates(call: dict[str, float], busiest: float) -> _Look:
    errors, mtls = call["errors"] / call["weight"], call["mtls"] / call["weight"]
    said = f"{call['weight']:.1f}/s\n{_percent(errors)} errors\n{_percent(mtls)} mTLS"
    return said, WRONG if errors > 0 else INK, 1.5 + 3 * call["weight"] / busiest, "solid"


def _percent(share: float) -> str:
    return "? %" if share != share else f"{share:.0%}".replace("%", " %")


# -- the graph ----------------------------------------------------------------------------------
def _graph(services: Any) -> nx.DiGraph:
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(services)
    return graph


def _add_call(graph: nx.DiGraph, workload: str, destination: str, weight: float, values: dict | None = None) -> None:
    """A call from a workload, or more of one that is there already: its weight and its values are added up."""
    source = _service(workload, graph)
    call = graph.get_edge_data(source, destination, {})
    added = {"weight": weight, **(values or {})}
    graph.add_edge(source, destination, **{name: call.get(name, 0) + value for name, value in added.items()})


def _service(workload: str, graph: nx.DiGraph) -> str:
    """reviews-v2 → reviews, where such a service is known."""
    return next((name for name in graph if workload == name or workload.startswith(f"{name}-v")), workload)


def _places(graph: nx.DiGraph, height: float) -> dict[str, Point]:
    """Callers left of those they call, each layer from top to bottom by name; what nobody calls stands left."""
    import networkx as nx

    layers = [sorted(layer) for layer in nx.topological_generations(_without_cycles(graph))]
    rows = {name: row - (len(layer) - 1) / 2 for layer in layers for row, name in enumerate(layer)}
    columns = {name: column for column, layer in enumerate(layers) for name in layer}
    return {
        name: (_scaled(columns, name, 80, WIDTH - 90), _scaled(rows, name, 60, height - 60)) for name in sorted(graph)
    }


def _without_cycles(graph: nx.DiGraph) -> nx.DiGraph:
    """The calls that decide who stands left of whom: of a cycle, all but the rarest."""
    import networkx as nx

    order = nx.DiGraph()
    order.add_nodes_from(graph)
    for caller, called, _ in sorted(graph.edges(data="weight"), key=lambda edge: -edge[2]):
        if not nx.has_path(order, called, caller):
            order.add_edge(caller, called)
    return order


def _scaled(numbers: Mapping[str, float], name: str, low: float, high: float) -> float:
    least, most = spread(numbers.values())
    return low + (numbers[name] - least) / (most - least) * (high - low) if most > least else (low + high) / 2


# -- its picture --------------------------------------------------------------------------------
def _drawn(
    graph: nx.DiGraph,
    title: str,
    text: str,
    height: int,
    look: Callable[[dict], _Look],
    places: Mapping[str, Point] | None = None,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """`look` makes of a call's values how its arrow looks; without `places`, callers stand left of those they call.

    names: what stands at a dot, where that is not the service's name.
    """
    places = places or _places(graph, height)
    curves = {(source, called): _Curve.around(places, source, called) for source, called in graph.edges}
    marks: list[Mark] = []
    for ends, curve in curves.items():
        others = [point for each in curves.values() if each is not curve for point in each.points()]
        marks += _arrow(curve, list(places.values()), others, *look(graph.edges[ends]))
    panel = Panel(Axis(16, WIDTH - 16), Axis(height, 0), (*marks, *_named(places, height, names or {})), height)
    return Figure(title, text, (panel,))


def _named(places: Mapping[str, Point], height: int, names: Mapping[str, str]) -> list[Mark]:
    """A dot for each, and its name where the fewest arrows pass."""
    marks: list[Mark] = []
    for name, (x, y) in places.items():
        outwards = -30 if y < height / 2 else 30
        marks += [Dots(((x, y),), colour(name), (name,), _DOT), Label((x, y + outwards), names.get(name, name))]
    return marks


def _arrow(
    curve: _Curve, dots: list[Point], others: list[Point], said: str, ink: str, width: float, dash: Dash
) -> list[Mark]:
    start, end = curve.gap(_DOT + 3), 1 - curve.gap(_DOT + 5)
    points = tuple(curve.at(start + (end - start) * step / 20) for step in range(21))
    line = Line(points, OTHER if ink == INK else ink, dash=dash, width=width, arrow=True)
    if not said:
        return [line]
    place = curve.beside(text_width(said, _SMALL), LINE * (said.count("\n") + 1), dots, others)
    return [line, Label(place, said, ink, size=_SMALL)]


def _is_clear(middle: Point, size: Point, points: list[Point]) -> bool:
    """Whether none of the points lies in a rectangle of this width and height."""
    return all(abs(middle[0] - x) > size[0] / 2 or abs(middle[1] - y) > size[1] / 2 for x, y in points)


@dataclass(frozen=True)
class _Curve:
    """A quadratic Bézier curve between the middles of two dots; straight where nothing is in its way."""

    start: Point
    end: Point
    bow: float

    @classmethod
    def around(cls, places: Mapping[str, Point], caller: str, called: str) -> _Curve:
        """The straightest one that meets no other dot, and no name above or below one."""
        others = [place for name, place in places.items() if name not in (caller, called)]
        curves = [cls(places[caller], places[called], bow) for bow in (0, 60, -60, 120, -120)]
        return next((curve for curve in curves if curve._clears(others)), curves[0])

    @property
    def length(self) -> float:
        return max(dist(self.start, self.end), 1.0)

    @property
    def control(self) -> Point:
        (x1, y1), (x2, y2) = self.start, self.end
        aside = self.bow / self.length
        return (x1 + x2) / 2 - (y2 - y1) * aside, (y1 + y2) / 2 + (x2 - x1) * aside

    def at(self, t: float) -> Point:
        """The point at t, 0 to 1."""
        weights, points = ((1 - t) ** 2, 2 * t * (1 - t), t**2), (self.start, self.control, self.end)
        x, y = (sum(w * point[axis] for w, point in zip(weights, points, strict=True)) for axis in (0, 1))
        return x, y

    def gap(self, pixels: float) -> float:
        """How much of the curve lies within so many pixels of one of its ends."""
        return min(pixels / self.length, 0.5)

    def points(self) -> list[Point]:
        """All along it, some ten pixels apart."""
        steps = ceil(self.length / 10)
        return [self.at(step / steps) for step in range(steps + 1)]

    def beside(self, width: float, height: float, dots: list[Point], others: list[Point]) -> Point:
        """The middle of a text of this size that stands beside the curve, above it where it is level.

        It is beside the curve's own middle, or as near to that as no dot and no name is below it, and none of the other
        curves' points.
        """
        (x1, y1), (x2, y2) = self.start, self.end
        across = ((y2 - y1) / self.length, (x1 - x2) / self.length)
        away = abs(across[0]) * width / 2 + abs(across[1]) * height / 2 + 3
        middles = [self.at(t) for t in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)]
        places = [(x + side * across[0] * away, y + side * across[1] * away) for side in (1, -1) for x, y in middles]

        def is_free(place: Point) -> bool:
            return _is_clear(place, (width + 2 * _DOT, height + 4 * _DOT), dots) and _is_clear(
                place, (width, height), others
            )

        return next(filter(is_free, places), places[0])

    def _clears(self, dots: list[Point]) -> bool:
        return all(dist(self.at(step / 20), dot) > 40 for step in range(21) for dot in dots)
