"""A figure, and how a notebook shows it.

Each figure is drawn twice from the same marks, at the same places: as SVG, which a code host shows, and as plotly's
JSON, which JupyterLab prefers: there one can point at a mark to read its value, and it is shown in a notebook that
is not yet trusted, where SVG is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.show import plotly_json, svg
from labkit.show.marks import Axis, Label, Panel

PLOTLY = "application/vnd.plotly.v1+json"


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
        return svg.draw(self.title, self.panels)

    @property
    def plotly(self) -> dict[str, Any]:
        """The figure as plotly's JSON: data, layout, config."""
        return plotly_json.draw(self.title, self.panels)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {PLOTLY: self.plotly, "image/svg+xml": self.svg, "text/plain": self.text}


def nothing(title: str, why: str) -> Figure:
    """A figure of nothing, that says why there is nothing."""
    panel = Panel(Axis(0, 1), Axis(0, 1), (Label((0, 0.5), why, anchor="start"),), 40)
    return Figure(title, f"{title}: {why}", (panel,))
