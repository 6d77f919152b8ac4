"""Prometheus as Istio's release brings it, asked in PromQL through the API server.

https://istio.io/latest/docs/ops/integrations/prometheus/ and https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.mesh.istio import NAMESPACE
from labkit.settings import settings

if TYPE_CHECKING:
    import pandas as pd

NAME = "prometheus"
PROXIES = "kubernetes-pods"  # the job in the addon's configuration that scrapes them
_API = f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}:9090/proxy/api/v1"
_DEPLOY = "`mesh.telemetry.prometheus.deploy()` installs it, and waits until it has seen every proxy"


def manifest() -> Path:
    """Istio's addon, from the release."""
    return settings().release_folder / "samples" / "addons" / "prometheus.yaml"


def deploy(report: Callable[[str], None] = lambda _: None) -> None:
    """Install the addon, and wait until it has scraped every proxy. Raises LabError with the last state seen."""
    objects.apply(manifest(), namespace=NAMESPACE)
    objects.wait_available([NAME], NAMESPACE, report)
    backend.wait(
        "A first scrape of every proxy by Prometheus",
        observe=_targets,
        done=lambda health: bool(health) and "unknown" not in health,
        state=lambda health: f"{sum(word != 'unknown' for word in health)} of {len(health)} pods scraped",
        timeout=90,
        report=report,
        every=1.0,
    )


def catch_up(report: Callable[[str], None] = lambda _: None) -> float:
    """Wait until it has scraped every proxy anew: the seconds that took, up to its scrape interval and a little.

    What was counted before the call it then knows. Raises as `query` does, and LabError with the last state seen.
    """
    began, asked = backend.now(), _now()
    backend.wait(
        "A new scrape of every proxy by Prometheus",
        observe=lambda: query(f'timestamp(up{{job="{PROXIES}"}})')["value"] > asked,
        done=lambda scraped: bool(len(scraped) and scraped.all()),
        state=lambda scraped: f"{scraped.sum()} of {len(scraped)} pods scraped",
        timeout=60,
        report=report,
        every=0.5,
    )
    return backend.now() - began


def is_installed() -> bool:
    """Whether the addon is there, ready or not."""
    return objects.find("deployments", NAME, NAMESPACE, group="apps") is not None


def remove() -> None:
    """Delete the addon, and wait until it is gone; where it is not installed, nothing happens."""
    objects.delete(manifest(), namespace=NAMESPACE)


def query(promql: str) -> pd.DataFrame:
    """What an expression evaluates to now: its labels (text), time (UTC), value; one series a row.

    A range selector (`[1m]`) gives a row for each sample. Raises LabError where Prometheus is not installed, not ready,
    or refuses the expression.
    """
    return _frame(_ask("query", {"query": promql}))


def query_range(promql: str, seconds: float = 300, step: float = 15) -> pd.DataFrame:
    """What an expression evaluated to at each `step` of the last `seconds`: columns and errors as of `query`.

    "Now" is Prometheus' own: its clock need not be this machine's.
    """
    now = _now()
    window = {"start": f"{now - seconds:.3f}", "end": f"{now:.3f}", "step": f"{step:g}"}
    return _frame(_ask("query_range", {"query": promql, **window}))


def _now() -> float:
    return float(_ask("query", {"query": "time()"})["result"][1])


def _targets() -> list[str]:
    """The health of each pod that Prometheus means to scrape: unknown until the first time, then up or down."""
    try:
        found = _get("targets", {"state": "active", "scrapePool": PROXIES})
    except backend.KubernetesError as error:
        if error.status == 503:  # available, and not yet behind its Service
            return []
        raise
    return [target["health"] for target in found["activeTargets"]]


def _ask(endpoint: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        return _get(endpoint, parameters)
    except backend.KubernetesError as error:
        raise _explained(error, parameters["query"]) from None


def _get(endpoint: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return json.loads(backend.kubernetes("GET", f"{_API}/{endpoint}", query=parameters))["data"]


def _explained(error: backend.KubernetesError, promql: str) -> LabError:
    """What Prometheus itself refuses comes through the API server with its own words in it."""
    refusal = _refusal(error.why)
    if refusal:
        return LabError(f"Prometheus refused `{promql}`.", refusal, "correct the expression, then run the cell again")
    if error.status == 404:
        return LabError("Prometheus is not installed.", error.why, _DEPLOY)
    if error.status == 503:
        return LabError("Prometheus is not ready.", error.why, _DEPLOY)
    return error


def _refusal(text: str) -> str:
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""


def _no_numbers(why: str) -> LabError:
    return LabError(
        "Prometheus answered with what is no number.",
        why,
        "ask for a scalar, a vector or a matrix: of a native histogram, `histogram_quantile(0.9, …)`",
    )


def _frame(answer: Mapping[str, Any]) -> pd.DataFrame:
    """A scalar, an instant vector or a range matrix as rows.

    https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats
    """
    import pandas as pd

    kind, result = answer["resultType"], answer["result"] or []
    if kind not in ("scalar", "vector", "matrix"):
        raise _no_numbers(f"its result is a {kind}")
    each = [{"metric": {}, "value": result}] if kind == "scalar" else result
    if any("histogram" in series or "histograms" in series for series in each):
        raise _no_numbers("it holds native histograms")
    rows = [
        {**series["metric"], "time": float(time), "value": float(value)}
        for series in each
        for time, value in series.get("values") or [series["value"]]
    ]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("time", "value")))
    frame = pd.DataFrame(rows, columns=[*names, "time", "value"])
    frame[names] = frame[names].fillna("")
    # seconds with three decimals, which binary fractions hold but nearly
    return frame.assign(time=pd.to_datetime(frame["time"], unit="s", utc=True).dt.round("ms"))
