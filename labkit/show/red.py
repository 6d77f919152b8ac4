"""Rate, errors and duration of requests, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.show.colours import INK, colour, dash
from labkit.show.figure import Figure, nothing
from labkit.show.marks import Axis, Dots, Line, Mark, Panel, spread

if TYPE_CHECKING:
    import pandas as pd

_SERVED = ["destination_service_name", "destination_version"]


def red_panel(rates: pd.DataFrame, title: str = "Rate, errors and duration") -> Figure:
    """Requests a second, share of errors and duration over time, a line for each service and version.

    rates: one row for each time, service and version. Columns: time (s, or datetimes), destination_service_name,
    destination_version, requests_per_second, error_share (0 to 1), p50_milliseconds, p95_milliseconds; NaN where
    nothing was asked. Solid v1, dashed v2, dotted v3; in the last panel the thin lines are the medians.
    The method: https://grafana.com/blog/2018/08/02/the-red-method-how-to-instrument-your-services/
    """
    if len(rates) and rates["requests_per_second"].isna().all():
        return nothing(title, "One scrape so far: a rate takes two.")
    if not rates["requests_per_second"].any():
        return nothing(title, "No requests in this time; `mesh.traffic.start()` sends some.")
    rates = rates.assign(ago=_ago(rates["time"]), errors=rates["error_share"] * 100)
    x = _before(-min(rates["ago"].min(), -10))
    unlabelled = Axis(x.low, x.high, "", tuple((value, "") for value, _ in x.ticks))
    widths = (Line((), INK, "95th percentile", named=True), Line((), INK, "median", width=1, named=True))
    rate = Panel(unlabelled, _from_zero("rate (requests/s)", rates["requests_per_second"]),
                 _curves(rates, "requests_per_second", "requests/s"), 120)  # fmt: skip
    errors = Panel(unlabelled, _from_zero("errors (%)", rates["errors"], 10), _curves(rates, "errors", "% errors"), 90)
    medians = _curves(rates, "p50_milliseconds", "ms", thin=True)
    duration = Panel(x, _from_zero("duration (ms)", rates[["p50_milliseconds", "p95_milliseconds"]].max(axis=1)),
                     medians + _curves(rates, "p95_milliseconds", "ms") + widths, 120)  # fmt: skip
    names = sorted({_served(*key) for key in zip(*(rates[key] for key in _SERVED), strict=True)})
    return Figure(title, "\n".join([f"{title}:", *(f"  {name}" for name in names)]), (rate, errors, duration))


def _before(seconds: float) -> Axis:
    """From so many seconds ago until now."""
    past = Axis.from_zero("time (s before the last scrape)", seconds)
    return Axis(-seconds, 0, past.title, tuple((-ago, label) for ago, label in past.ticks if ago <= seconds))


def _ago(times: pd.Series) -> pd.Series:
    """Seconds relative to the newest, as numbers."""
    ago = times - times.max()
    return ago.dt.total_seconds() if hasattr(ago, "dt") else ago


def _served(service: str, version: str) -> str:
    return service if version in ("", "unknown") else f"{service} {version}"


def _from_zero(title: str, values: pd.Series, at_least: float = 1.0) -> Axis:
    return Axis.from_zero(title, max(spread(values.dropna())[1], at_least))


def _curves(rates: pd.DataFrame, column: str, unit: str, thin: bool = False) -> tuple[Mark, ...]:
    """A line for each service and version, a dot at its newest value."""
    marks: list[Mark] = []
    for (service, version), series in rates.dropna(subset=[column]).groupby(_SERVED):
        series, name, hue = series.sort_values("ago"), _served(service, version), colour(service)
        points = tuple(zip(series["ago"].astype(float), series[column].astype(float), strict=True))
        if thin:
            marks.append(Line(points, hue, name, f"{unit}, median", dash(version), 1, 0.6))
        else:
            newest = Dots(points[-1:], hue, (f"{name}: {points[-1][1]:.3g} {unit}",), 3)
            marks += [Line(points, hue, name, unit, dash(version), named=True), newest]
    return tuple(marks)
