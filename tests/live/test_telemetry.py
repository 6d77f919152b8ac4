"""Traffic that is sent is traffic that is counted: by the direct scrape, and by Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit import venue
from labkit.course import verbs
from labkit.mesh import telemetry, traffic
from labkit.mesh.telemetry import prometheus

pytestmark = pytest.mark.live

VERSIONS = [("reviews", "v1"), ("reviews", "v2"), ("reviews", "v3")]


@pytest.fixture(autouse=True)
def page() -> Iterator[None]:
    """The product page answers; afterwards nothing goes on."""
    verbs.up("bookinfo", lambda event: None)
    yield
    traffic.stop()


def watched(seconds: float) -> tuple[telemetry.Scrape, ...]:
    """Scrapes once a second, under steady traffic."""
    scraper = telemetry.Scraper()
    with traffic.start(rate=10):
        for _ in range(int(seconds)):
            scraper.scrape()
            venue.sleep(1)
        return scraper.scrape()


def test_steady_traffic_is_seen_by_service_and_version():
    found = telemetry.red(*watched(9)).set_index(["destination_service_name", "destination_version"])
    page, reviews = found.loc[("productpage", "v1")], found.loc[VERSIONS]
    assert page.requests_per_second == pytest.approx(10, rel=0.3)
    assert reviews.requests_per_second.sum() == pytest.approx(page.requests_per_second, rel=0.3)
    assert (page.p50_milliseconds > 0) & (page.p50_milliseconds <= page.p99_milliseconds)


def test_bookinfos_edges_are_mutual_tls():
    found = telemetry.graph(*watched(3)).set_index(["source_workload", "destination_service_name"])
    edges = [("istio-ingressgateway", "productpage"), ("productpage-v1", "reviews"), ("productpage-v1", "details")]
    assert found.loc[edges].mtls_share.to_list() == [1, 1, 1]
    assert (found.loc[edges].requests_per_second > 0).all()


def test_prometheus_and_the_direct_scrape_count_the_same():
    by = ["destination_service_name", "destination_version", "response_code"]
    promql = f'sum by ({", ".join(by)}) (istio_requests_total{{reporter="destination"}})'

    def counts(frame) -> dict:
        return frame.groupby(by)["value"].sum().to_dict()

    prometheus.deploy()
    try:
        watched(3)
        direct = telemetry.requests().query("reporter == 'destination'")
        venue.wait(
            "The same counts from Prometheus",
            observe=lambda: counts(prometheus.query(promql)),
            done=lambda seen: seen == counts(direct),
            timeout=40,
            every=2,
        )
    finally:
        prometheus.remove()


def test_a_burst_of_fortios_is_counted_call_by_call():
    traffic.deploy_fortio()
    before = telemetry.scrape()
    burst = traffic.load("http://reviews:9080/health", connections=4, calls=80)
    seen = telemetry.red(before, telemetry.scrape(), by=["source_workload"], reporter="source")
    assert (burst.calls, burst.codes) == (80, {200: 80})
    assert "fortio-deploy" in set(seen.source_workload)
