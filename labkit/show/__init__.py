"""Data in, pictures out: tables, figures, live views and progress. Touches nothing."""

from labkit.show.cells import circuit_breaker_heat_map, truth_table
from labkit.show.certificates import certificate_timeline
from labkit.show.figures import propagation_clock, shares
from labkit.show.graph import layers, service_graph, topology
from labkit.show.red import red_panel
from labkit.show.tables import changes, side_by_side, table
from labkit.show.waterfall import waterfall

__all__ = [
    "certificate_timeline", "changes", "circuit_breaker_heat_map", "layers", "propagation_clock", "red_panel",
    "service_graph", "shares", "side_by_side", "table", "topology", "truth_table", "waterfall",
]  # fmt: skip
