"""The proxies of a live mesh: what they hold, what changes in them, how soon, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import bookinfo, objects, proxy
from labkit.settings import NAMESPACE

pytestmark = pytest.mark.live

REVIEWS = "reviews.default.svc.cluster.local"
GATEWAY = "deploy/istio-ingressgateway.istio-system"
PROXY = "deploy/productpage-v1"


def virtual_service(*routes: dict) -> dict:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": NAMESPACE},
        "spec": {"hosts": ["reviews"], "http": list(routes)},
    }


def delayed(percent: int) -> dict:
    return {
        "fault": {"delay": {"percentage": {"value": percent}, "fixedDelay": "2s"}},
        "route": [{"destination": {"host": "reviews"}}],
    }


def refused() -> dict:
    """What istiod lets pass and Envoy does not: a filter that this Envoy was not built with."""
    nothing = {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": "type.googleapis.com/no.such.Filter",
    }
    patch = {"operation": "INSERT_FIRST", "value": {"name": "no.such.filter", "typed_config": nothing}}
    listener = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    match = {"context": "SIDECAR_INBOUND", "listener": listener}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "refused", "namespace": NAMESPACE},
        "spec": {
            "workloadSelector": {"labels": {"app": "ratings"}},
            "configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}],
        },
    }


def delete(kind: str, name: str) -> None:
    backend.run(["kubectl", "delete", kind, name, f"--namespace={NAMESPACE}", "--ignore-not-found"])


@pytest.fixture(scope="module", autouse=True)
def reviews_has_no_routes_afterwards(bookinfo_in_the_mesh) -> Iterator[None]:
    yield
    delete("virtualservice", "reviews")


@pytest.mark.parametrize("pod", [PROXY, GATEWAY])
def test_every_frame_has_rows(pod):
    frames = (proxy.listeners, proxy.routes, proxy.clusters, proxy.endpoints, proxy.secrets, proxy.bootstrap)
    assert [frame.__name__ for frame in frames if frame(pod).empty] == []
    assert proxy.secrets(pod).valid_cert.all()


def test_a_virtual_service_is_timed_diffed_and_found_again():
    proxy.propagate(virtual_service(delayed(10)))
    before = proxy.snapshot(PROXY)

    times = proxy.propagate(virtual_service(delayed(50)))

    assert len(times) >= len(bookinfo.deployments())
    assert times.milliseconds.between(1, 10_000).all()
    # on port 80 istiod gives a host its routes even where no service of that name is there
    assert (times.resource == "routes/80, routes/9080").all()
    changed = proxy.diff(before, proxy.snapshot(PROXY))
    assert set(zip(changed.section, changed.resource, strict=True)) == {("routes", "80"), ("routes", "9080")}
    assert "50" in "".join(proxy.made_from(PROXY, "VirtualService", "reviews").envoy)


def test_nothing_differs_while_nothing_changes():
    assert proxy.diff(proxy.snapshot(PROXY), proxy.snapshot(PROXY)).empty


def test_an_object_that_is_there_already_takes_no_time():
    proxy.propagate(virtual_service(delayed(20)))
    assert (proxy.propagate(virtual_service(delayed(20))).milliseconds == 0).all()


def test_the_gateways_object_is_for_the_gateway():
    [gateway] = [each for each in objects.read(bookinfo.gateway_manifest()) if each["kind"] == "Gateway"]
    gateway["spec"]["servers"][0]["hosts"] = ["bookinfo.example.com"]
    try:
        [pod] = proxy.propagate(gateway).pod
    finally:
        proxy.propagate(bookinfo.gateway_manifest())
    assert pod.startswith("istio-ingressgateway")


def test_endpoints_come_as_a_deployment_scales():
    def has(count):
        return lambda held: len(held.sections["endpoints"][f"outbound|9080||{REVIEWS}"]["endpoints"]) == count

    backend.run(["kubectl", "scale", "deployment/reviews-v1", "--replicas=2", f"--namespace={NAMESPACE}"])
    try:
        proxy.wait_until_applied(has(4), pods=[PROXY], timeout=120)
    finally:
        backend.run(["kubectl", "scale", "deployment/reviews-v1", "--replicas=1", f"--namespace={NAMESPACE}"])
    proxy.wait_until_applied(has(3), pods=[PROXY], timeout=120)


def test_what_a_proxy_refuses_is_shown():
    try:
        with pytest.raises(LabError, match="NACK"):
            proxy.propagate(refused())
        assert "listeners" in set(proxy.rejected("deploy/ratings-v1").section)
        assert "ERROR" in set(proxy.sync_status().lds)
    finally:
        delete("envoyfilter", "refused")


def test_without_istiod_the_configuration_is_there_and_a_change_is_refused():
    scale = ["kubectl", "scale", "deployment/istiod", "--namespace=istio-system"]
    backend.run([*scale, "--replicas=0"])
    try:
        backend.run(["kubectl", "wait", "pod", "--for=delete", "--selector=app=istiod", "--namespace=istio-system",
                   "--timeout=120s"])  # fmt: skip
        assert not proxy.routes(PROXY).empty
        with pytest.raises(LabError, match="istiod is not running"):
            proxy.propagate(virtual_service(delayed(30)))
    finally:
        backend.run([*scale, "--replicas=1"])
        objects.wait_available(["istiod"], "istio-system", lambda _: None)
