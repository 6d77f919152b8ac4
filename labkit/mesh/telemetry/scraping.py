"""Asking every proxy what it has counted, all at once, through the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import backend, session
from labkit.api import views
from labkit.mesh.proxy.pods import find, with_proxy
from labkit.mesh.telemetry.names import DURATIONS, LABELS, REQUESTS, as_written, samples, series
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 8
COURSES = "default"  # the namespace that notebooks name, which the course has in a cluster of its own
# The API server's answers where it cannot reach a pod: it is starting, on its way out, or gone.
_NO_ANSWER = (400, 404, 500, 502, 503, 504)


@dataclass(frozen=True)
class Scrape:
    """What the proxies had counted at one moment. A proxy is named POD.NAMESPACE, as `istioctl proxy-status` has it.

    namespace: where the proxies were looked for; "" is everywhere.
    time: when it began, in seconds on a clock of which only differences mean anything.
    times: each proxy that answered → when it was asked, on the same clock.
    counts: each proxy that answered → line of its metrics, which names.series reads → value since the proxy started.
    silent: each proxy that did not answer → why.
    """

    namespace: str
    time: float
    times: Mapping[str, float]
    counts: Mapping[str, Mapping[str, float]]
    silent: Mapping[str, str]

    @property
    def requests(self) -> pd.DataFrame:
        """`istio_requests_total`: time (seconds), proxy, Istio's labels (text), value (requests)."""
        return self._frame(REQUESTS).drop(columns="le")

    @property
    def durations(self) -> pd.DataFrame:
        """`istio_request_duration_milliseconds_bucket`: as `requests`, with le (milliseconds) before the value.

        The value counts the requests that took at most `le`. Envoy brings histograms up to date every 5 s, counters
        at once: https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--stats
        """
        return self._frame(DURATIONS)

    def _frame(self, metric: str) -> pd.DataFrame:
        """Lines that differ in labels alone that are no columns are one row."""
        import pandas as pd

        rows: dict[tuple[object, ...], float] = {}
        for proxy, lines in self.counts.items():
            for line, value in lines.items():
                each = series(line)
                if each and each.metric == metric:
                    key = (self.times[proxy], proxy, *each.labels.values(), each.le)
                    rows[key] = rows.get(key, 0.0) + value
        columns = ["time", "proxy", *LABELS, "le", "value"]
        return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=columns)


class Scraper:
    """Scrapes again and again, and keeps what it got in the last `window` seconds: `red(*scraper.scrape())`."""

    def __init__(self, namespace: str = "", window: float = 10.0) -> None:
        """`window` is best longer than the 5 s after which Envoy brings its histograms up to date."""
        self._namespace, self._window = namespace, window
        self._kept: tuple[Scrape, ...] = ()

    def scrape(self) -> tuple[Scrape, ...]:
        """Scrape once more: all scrapes of the window, oldest first. Raises as `scrape` does.

        A clock that was set back starts the window anew.
        """
        newest = scrape(self._namespace)
        kept = [each for each in self._kept if 0 < newest.time - each.time <= self._window]
        self._kept = (*kept, newest)
        return self._kept


def requests(namespace: str = "") -> pd.DataFrame:
    """Every proxy's request counters, now: see Scrape.requests. Raises as `scrape` does."""
    return scrape(namespace).requests


def scrape(namespace: str = "") -> Scrape:
    """Ask every proxy of a namespace, or of the whole mesh, at once.

    In somebody else's cluster the whole mesh is as much of it as the reader may list, at least their own namespace; and
    "default", as notebooks call the namespace of the course, is the reader's own.

    Raises backend.KubernetesError where the API server refuses; that a proxy vanished in the middle is no error.
    """
    if namespace == COURSES and not session.owns_cluster():
        namespace = NAMESPACE
    began = backend.now()
    with backend.threads(AT_ONCE) as pool:
        answers = list(pool.map(_ask, _proxies(namespace)))
    answered = [each for each in answers if each.why == ""]
    return Scrape(
        namespace,
        began,
        times={each.proxy: each.time for each in answered},
        counts={each.proxy: samples(each.text) for each in answered},
        silent={each.proxy: each.why for each in answers if each.why},
    )


def labels(pod: str) -> pd.DataFrame:
    """`istio_requests_total` of one proxy as its Envoy writes it: a column for each label that it has, and value.

    Raises LabError where the pod is not there, or has no proxy, and backend.KubernetesError where it does not answer.
    """
    import pandas as pd

    found = find(pod)["metadata"]
    text = backend.perform(views.stats(f"{found['namespace']}/{found['name']}"))
    rows = [{**theirs, "value": value} for theirs, value in as_written(text)]
    names = sorted({name for row in rows for name in row} - {"value"})
    return pd.DataFrame(rows, columns=[*names, "value"])


@dataclass(frozen=True)
class _Answer:
    proxy: str
    time: float
    text: str = ""
    why: str = ""


def _proxies(namespace: str) -> list[dict[str, Any]]:
    """Those on their way out are left alone: at their address anybody may answer, or nobody for half a minute."""
    try:
        return with_proxy(namespace)
    except backend.KubernetesError as error:
        if error.status != 403 or namespace:
            raise
        if not session.owns_cluster():
            return with_proxy(NAMESPACE)
        fix = "name a namespace that you may read, as in `mesh.telemetry.scrape('default')`"
        raise backend.KubernetesError(error.status, error.reason, error.why, fix) from None


def _ask(pod: Mapping[str, Any]) -> _Answer:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    with backend.sequence(f"{name}.{namespace}"):
        return _answer(name, namespace)


def _answer(name: str, namespace: str) -> _Answer:
    proxy, time = f"{name}.{namespace}", backend.now()
    try:
        return _Answer(proxy, time, text=backend.perform(views.stats(f"{namespace}/{name}")))
    except backend.KubernetesError as error:
        if error.status not in _NO_ANSWER:
            raise
        return _Answer(proxy, time, why=error.why)
