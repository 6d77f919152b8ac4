"""Data in, pictures out: tables, figures and progress. Touches nothing."""

from labkit.show.figures import shares, topology
from labkit.show.tables import changes, table

__all__ = ["changes", "shares", "table", "topology"]
