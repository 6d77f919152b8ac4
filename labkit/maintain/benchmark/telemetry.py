"""How old a number is when it is shown, and what it costs to have it so young.

A request's age is the time from sending it until it is counted: in the frame of a scrape of every proxy, one a second,
and in the answer of a Prometheus with its default interval of 15 s. Both see the same requests.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator

from labkit import backend
from labkit.maintain.benchmark.around import Figures, mesh, quantile
from labkit.mesh import bookinfo, objects, proxy, telemetry
from labkit.mesh.istio import GATEWAYS
from labkit.mesh.telemetry import prometheus
from labkit.progress import Progress
from labkit.settings import NAMESPACE

SAMPLES = 60  # requests, one in each second
CPU_SECONDS = 30
SCRAPES = 15
REPLICATED = "details-v1"
_COUNTED = f'sum(istio_requests_total{{reporter="source",source_workload="{GATEWAYS[0]}"}})'


def measure(progress: Progress) -> Figures:
    """Freshness (seconds), the processor time of a live view's source (share of one core), a scrape (milliseconds)."""
    with mesh("telemetry", progress):
        with progress.stage("Prometheus") as note:
            prometheus.deploy(note)
        with progress.stage("freshness") as note:
            direct, in_prometheus = _freshness(note)
        prometheus.remove()
        with progress.stage("processor time of a scrape a second"):
            share = _processor_share()
        with progress.stage("scrapes of more proxies") as note:
            took = {number: _scrape_milliseconds(number, note) for number in (8, 16, 32)}
    return {
        "freshness_p50_seconds": round(quantile(direct, 50), 2),
        "freshness_p95_seconds": round(quantile(direct, 95), 2),
        "freshness_prometheus_p50_seconds": round(quantile(in_prometheus, 50), 2),
        "freshness_prometheus_p95_seconds": round(quantile(in_prometheus, 95), 2),
        "scrape_cpu_core_share": round(share, 3),
        **{f"scrape_{number}_ms": round(milliseconds) for number, milliseconds in took.items()},
    }


def _freshness(note: Callable[[str], None]) -> tuple[list[float], list[float]]:
    phase = random.Random(1)  # noqa: S311 - requests shall not keep step with the scrapes
    direct, in_prometheus = _Ages(_count_directly), _Ages(_count_in_prometheus)
    for second in _seconds(SAMPLES + 30):  # Prometheus sees the last request after its interval at the latest
        direct.look()
        in_prometheus.look()
        if second < SAMPLES:
            backend.sleep(phase.uniform(0, 0.7))
            sent = backend.now()
            bookinfo.fetch()
            direct.sent.append(sent)
            in_prometheus.sent.append(sent)
            note(f"{second + 1} of {SAMPLES} requests")
    return direct.ages, in_prometheus.ages


class _Ages:
    """The age that each request had when it was first counted."""

    def __init__(self, count: Callable[[], float]) -> None:
        self._count, self._before = count, count()
        self.sent: list[float] = []
        self.ages: list[float] = []

    def look(self) -> None:
        """Requests are counted in the order in which they were sent."""
        counted = int(self._count() - self._before)
        seen = backend.now()
        self.ages += [seen - sent for sent in self.sent[len(self.ages) : counted]]


def _count_directly() -> float:
    counted = telemetry.requests()
    return counted[(counted.reporter == "source") & (counted.source_workload == GATEWAYS[0])]["value"].sum()


def _count_in_prometheus() -> float:
    return prometheus.query(_COUNTED)["value"].sum()


def _processor_share() -> float:
    """Of one core, for what a live view does each second without its drawing: scrape, and compute the rates."""
    import psutil

    scraper, process = telemetry.Scraper(), psutil.Process()
    bookinfo.fetch()
    scraper.scrape()
    before, began = sum(process.cpu_times()[:2]), backend.now()
    for second in _seconds(CPU_SECONDS):
        scrapes = scraper.scrape()
        if second:
            telemetry.red(*scrapes, reporter="source")
        bookinfo.fetch()
    return (sum(process.cpu_times()[:2]) - before) / (backend.now() - began)


def _scrape_milliseconds(proxies: int, note: Callable[[str], None]) -> float:
    """The median of some scrapes of so many proxies, each of which has counted requests."""
    note(f"{proxies} proxies")
    others = len(proxy.sync_status()) - _replicas()
    scale = ["kubectl", "scale", f"deployment/{REPLICATED}", f"--namespace={NAMESPACE}"]
    backend.run([*scale, f"--replicas={proxies - others}"])
    objects.wait_available([REPLICATED], NAMESPACE, note)
    backend.wait(
        f"{proxies} proxies in the mesh", lambda: len(proxy.sync_status()), lambda seen: seen == proxies, timeout=60
    )
    for _ in range(3 * proxies):
        bookinfo.fetch()
    return statistics.median(_milliseconds(telemetry.scrape) for _ in range(SCRAPES))


def _replicas() -> int:
    return objects.get("deployments", REPLICATED, NAMESPACE, group="apps")["spec"]["replicas"]


def _milliseconds(act: Callable[[], object]) -> float:
    began = backend.now()
    act()
    return (backend.now() - began) * 1000


def _seconds(number: int) -> Iterator[int]:
    """0, 1, 2, …, one a second."""
    began = backend.now()
    for second in range(number):
        backend.sleep(max(0.0, began + second - backend.now()))
        yield second
