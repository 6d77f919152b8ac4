"""Rates, errors and durations from the differences between scrapes, as Prometheus defines them.

https://prometheus.io/docs/prometheus/latest/querying/functions/
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.mesh.telemetry.names import LABELS, REQUESTS, UNKNOWN, Series, series
from labkit.mesh.telemetry.scraping import Scrape, scrape

if TYPE_CHECKING:
    import pandas as pd

VERSIONS = ("destination_service_name", "destination_version")
EDGES = ("source_workload", "destination_service_name")
_NOT_CONNECTED = "UF"  # https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage


class NoTraffic(LabError):
    """No proxy has counted a request that was asked for."""


def red(*scrapes: Scrape, by: Sequence[str] = VERSIONS, reporter: str = "destination") -> pd.DataFrame:
    """Rate, errors and duration from the first to the last of some scrapes, one group of labels a row.

    Columns: those of `by`, then requests (how many), requests_per_second, error_share (of HTTP 5xx; 0 to 1),
    p50_milliseconds, p95_milliseconds and p99_milliseconds; NaN is a rate over no time, and a share or a quantile of no
    requests.

    The reporter "destination" is the proxy at the server; "source" is that at the caller, which also counts what
    never reached a server. Raises NoTraffic.
    """
    import pandas as pd

    groups: dict[tuple[str, ...], _Group] = defaultdict(_Group)
    for grown in growth(scrapes):
        labels = grown.series.labels
        is_known = labels["destination_service_name"] != UNKNOWN  # what was refused once, of no service, is no news
        if labels["reporter"] == reporter and (is_known or grown.increase):
            groups[tuple(labels[label] for label in by)].add(grown)
    rows = [(*key, *group.red()) for key, group in sorted(groups.items()) if group.counted]
    if not rows:
        raise _no_traffic(scrapes)
    durations = ["p50_milliseconds", "p95_milliseconds", "p99_milliseconds"]
    return pd.DataFrame(rows, columns=[*by, "requests", "requests_per_second", "error_share", *durations])


def graph(*scrapes: Scrape) -> pd.DataFrame:
    """The service graph from the first to the last of some scrapes, one edge a row.

    Columns: source_workload, destination_service_name, requests_per_second, error_share (of HTTP 5xx; 0 to 1),
    mtls_share (of the requests that got a connection, those over mutual TLS; 0 to 1); NaN as in `red`.

    Callers report, so that faults and refused connections count. A caller without a proxy is "unknown", from what
    servers say of plain text; upstream Envoy's servers say it of every caller that sends plain text. Raises NoTraffic.
    """
    import pandas as pd

    edges: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for grown in growth(scrapes):
        edge = _edge(grown.series)
        if edge:
            edges[edge].add(grown)
    if not edges:
        raise _no_traffic(scrapes)
    rows = [(*edge, *group.edge()) for edge, group in sorted(edges.items())]
    return pd.DataFrame(rows, columns=[*EDGES, "requests_per_second", "error_share", "mtls_share"])


def edges(counters: pd.DataFrame) -> pd.DataFrame:
    """Who calls whom, from the callers' own reports: source_workload, destination_service_name, requests.

    `counters` is a Scrape's `requests`: what was counted since each proxy started.
    """
    reported = counters[(counters.reporter == "source") & (counters.destination_service_name != UNKNOWN)]
    return reported.groupby([*EDGES], as_index=False)["value"].sum().rename(columns={"value": "requests"})


def received(*scrapes: Scrape, workload: str) -> pd.DataFrame:
    """What came to each pod of a workload from the first to the last of some scrapes, by its own proxy's count.

    Columns: pod, request_protocol ("http", "grpc"), requests. A pod that nothing came to has no row.
    """
    import pandas as pd

    rows = [
        (grown.proxy.partition(".")[0], grown.series.labels["request_protocol"], grown.increase)
        for grown in growth(scrapes)
        if grown.increase and _came_to(workload, grown.series)
    ]
    found = pd.DataFrame(rows, columns=["pod", "request_protocol", "requests"])
    return found.groupby(["pod", "request_protocol"], as_index=False)["requests"].sum().astype({"requests": int})


def increase(before: Scrape) -> pd.DataFrame:
    """The requests that each proxy counted since an earlier scrape: the columns of Scrape.requests, without time.

    A row for each series that grew, `value` by how much; as PromQL's increase() it sees proxies that started anew.
    https://prometheus.io/docs/prometheus/latest/querying/functions/#increase
    """
    import pandas as pd

    rows: dict[tuple[str, ...], int] = {}
    for grown in growth((before, scrape(before.namespace))):
        if grown.series.metric == REQUESTS and grown.increase:
            key = (grown.proxy, *grown.series.labels.values())
            rows[key] = rows.get(key, 0) + int(grown.increase)
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["proxy", *LABELS, "value"])


@dataclass(frozen=True)
class Growth:
    """What one proxy added to one of its series; `seconds` over which it did so, 0 where none passed."""

    proxy: str
    series: Series
    increase: float
    seconds: float


def growth(scrapes: Sequence[Scrape]) -> Iterator[Growth]:
    """How much each series of each proxy grew from the first to the last of `scrapes`, which are in their order.

    As Prometheus' increase(): a value lower than before is that of a proxy that started anew, from 0
    (https://prometheus.io/docs/prometheus/latest/querying/functions/#increase). Where a proxy answered before and had
    no such series, it was at 0. A proxy's first answer is what later ones are compared with; one that vanished keeps
    what it added. Two scrapes between which the clock went back count as no time, and add nothing.
    """
    whole = sum(max(0.0, after.time - before.time) for before, after in pairwise(scrapes))
    for proxy in {proxy: None for one in scrapes for proxy in one.counts}:
        answers = [(one.times[proxy], one.counts[proxy]) for one in scrapes if proxy in one.counts]
        own = sum(max(0.0, after - before) for (before, _), (after, _) in pairwise(answers))
        seconds = own if len(answers) == len(scrapes) else whole
        for line, increase in _increases(answers).items():
            if counted := series(line):
                yield Growth(proxy, counted, increase, seconds)


def _increases(answers: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    total = dict.fromkeys(answers[0][1], 0.0)
    for (time, before), (later, after) in pairwise(answers):
        for line, value in after.items():
            known = before.get(line, 0.0)
            step = value - known if value >= known else value
            total[line] = total.get(line, 0.0) + (step if later > time else 0.0)
    return total


def histogram_quantile(quantile: float, buckets: Mapping[float, float]) -> float:
    """The value below which a share of a histogram's observations lies; NaN where there are none.

    `buckets`: upper bound → how many observations are at most that, +Inf among the bounds. As Prometheus' function of
    this name: linear within a bucket, the lowest begins at 0, the highest yields its lower bound.
    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf or math.isnan(quantile) or buckets[math.inf] <= 0:
        return math.nan
    if not 0 <= quantile <= 1:
        return math.copysign(math.inf, quantile)
    rank = quantile * buckets[math.inf]
    lower, below = 0.0, 0.0
    for bound in bounds[:-1]:
        count = max(below, buckets[bound])
        if count >= rank and count > below:
            return min(bound, lower + (bound - lower) * (rank - below) / (count - below))
        lower, below = bound, count
    return bounds[-2]


@dataclass
class _Group:
    """Several series added up."""

    counted: bool = False
    per_second: float = 0.0
    requests: float = 0.0
    errors: float = 0.0
    connected: float = 0.0
    secured: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, grown: Growth) -> None:
        each, increase = grown.series, grown.increase
        if each.le is not None:
            self.buckets[each.le] += increase
            return
        self.counted = True
        self.per_second += _divided(increase, grown.seconds)
        self.requests += increase
        self.errors += increase if each.labels["response_code"].startswith("5") else 0.0
        self.connected += increase if _had_connection(each.labels) else 0.0
        self.secured += increase if each.labels["source_principal"] != UNKNOWN else 0.0

    def red(self) -> tuple[float, ...]:
        quantiles = (histogram_quantile(quantile, self.buckets) for quantile in (0.5, 0.95, 0.99))
        return (self.requests, self.per_second, _divided(self.errors, self.requests), *quantiles)

    def edge(self) -> tuple[float, ...]:
        errors, secured = _divided(self.errors, self.requests), _divided(self.secured, self.connected)
        return (self.per_second, errors, secured)


def _edge(each: Series) -> tuple[str, str] | None:
    labels = each.labels
    if each.metric != REQUESTS or labels["destination_service_name"] == UNKNOWN:
        return None
    plain_text_from_nobody_known = labels["source_workload"] == UNKNOWN and labels["source_principal"] == UNKNOWN
    if labels["reporter"] == "source" or plain_text_from_nobody_known:
        return labels["source_workload"], labels["destination_service_name"]
    return None


def _came_to(workload: str, each: Series) -> bool:
    labels = each.labels
    counts_arrivals = each.metric == REQUESTS and labels["reporter"] == "destination"
    return counts_arrivals and labels["destination_workload"] == workload


def _had_connection(labels: Mapping[str, str]) -> bool:
    """Only a request that reached a server had a choice of mutual TLS or plain text."""
    reached = labels["destination_workload"] != UNKNOWN and _NOT_CONNECTED not in labels["response_flags"].split(",")
    return reached or labels["source_principal"] != UNKNOWN


def _divided(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _no_traffic(scrapes: Sequence[Scrape]) -> NoTraffic:
    what = "There are no requests to show yet."
    last = scrapes[-1]
    if last.counts:
        why = f"{len(last.counts)} proxies answered, and none has counted one of these"
        return NoTraffic(what, why, "`mesh.traffic.start()` sends some; look again in two seconds")
    if last.silent:
        proxy, why = next(iter(last.silent.items()))
        return NoTraffic(what, f"no proxy answered; {proxy}: {why}", "`%kubectl get pods` shows what they wait for")
    where = f"namespace {last.namespace}" if last.namespace else "the cluster"
    return NoTraffic(what, f"no pod of {where} has a sidecar", "`up()` brings up Bookinfo with its sidecars")
