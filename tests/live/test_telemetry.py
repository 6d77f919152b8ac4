"""Traffic that is sent is traffic that is counted. (Notebook 09 compares the counts with those of Prometheus.)"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from timing import least, wall

from labkit import backend
from labkit.mesh import objects, telemetry, traffic
from labkit.settings import NAMESPACE, settings

pytestmark = pytest.mark.live

VERSIONS = [("reviews", "v1"), ("reviews", "v2"), ("reviews", "v3")]


@pytest.fixture(scope="module", autouse=True)
def page(bookinfo_in_the_mesh) -> None:
    """The product page answers."""


@pytest.fixture
def fortio() -> Iterator[None]:
    traffic.deploy_fortio()
    yield
    manifest = settings().release_folder / "samples" / "httpbin" / "sample-client" / "fortio-deploy.yaml"
    objects.delete(manifest, namespace=NAMESPACE)


def watched(seconds: int) -> tuple[traffic.Sent, tuple[telemetry.Scrape, ...]]:
    """What was sent, steadily, and scrapes of the same time, one a second."""
    scraper = telemetry.Scraper(window=seconds + 10)
    with traffic.start(rate=10) as steady:
        for _ in range(seconds):
            scraper.scrape()
            backend.sleep(1)
        return steady.stop(), scraper.scrape()


def test_steady_traffic_is_seen_by_service_and_version():
    sent, scrapes = watched(9)
    found = telemetry.red(*scrapes).set_index(["destination_service_name", "destination_version"])
    page, reviews = found.loc[("productpage", "v1")], found.loc[VERSIONS]
    assert page.requests_per_second == pytest.approx(sent.requests / sent.seconds, rel=0.3)
    assert reviews.requests_per_second.sum() == pytest.approx(page.requests_per_second, rel=0.3)
    assert (page.p50_milliseconds > 0) & (page.p50_milliseconds <= page.p99_milliseconds)


def test_bookinfos_edges_are_mutual_tls():
    _, scrapes = watched(3)
    found = telemetry.graph(*scrapes).set_index(["source_workload", "destination_service_name"])
    edges = [("istio-ingressgateway", "productpage"), ("productpage-v1", "reviews"), ("productpage-v1", "details")]
    assert found.loc[edges].mtls_share.to_list() == [1, 1, 1]
    assert (found.loc[edges].requests_per_second > 0).all()


def test_a_burst_of_fortios_is_counted_call_by_call(fortio):
    def counted() -> float:
        return telemetry.requests().query("reporter == 'source' and source_workload == 'fortio-deploy'")["value"].sum()

    before = counted()
    burst = traffic.load("http://reviews:9080/health", connections=4, calls=80)
    assert (burst.calls, burst.codes) == (80, {200: 80})
    assert counted() - before == 80


def test_one_scrape_of_every_proxy_takes_a_quarter_of_a_second():
    telemetry.scrape()  # the first one opens the connections
    assert least(lambda: wall(telemetry.scrape), 0.25) < 0.25
