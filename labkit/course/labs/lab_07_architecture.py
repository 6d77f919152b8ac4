"""What the checks of lab 07 look at, and the lab."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.errors import LabError
from labkit.mesh import bookinfo, objects, proxy
from labkit.settings import NAMESPACE

PROPAGATION = 2.5  # seconds that a change may take to reach a proxy
PRODUCTPAGE = "deploy/productpage-v1"
REVIEWS = f"reviews.{NAMESPACE}.svc.cluster.local"
PAGES = 10


def route_in_every_sidecar() -> Seen:
    held = {name: proxy.made_from(f"deploy/{name}", "VirtualService", "reviews") for name in bookinfo.deployments()}
    missing = [name for name, pieces in held.items() if pieces.empty]
    return Seen(not missing, f"{len(held) - len(missing)} of {len(held)} sidecars hold a route made from it")


def taken_up_from_istiod() -> Seen:
    service = objects.find("virtualservices", "reviews", NAMESPACE, group="networking.istio.io")
    sent = proxy.sync_status()
    behind = sent[~sent[["cds", "lds", "eds", "rds"]].isin(["SYNCED", "IGNORED"]).all(axis=1)]
    measured = f"{len(sent) - len(behind)} of {len(sent)} proxies in sync; VirtualService reviews: {bool(service)}"
    return Seen(bool(service) and not sent.empty and behind.empty, measured)


def pages_of_version_3() -> Seen:
    versions = bookinfo.page(PAGES).version
    return Seen(bool((versions == "v3").all()), f"{sum(versions == 'v3')} of {PAGES} pages had reviews of v3")


def reviews_time_out() -> Seen:
    held = _productpage(lambda snapshot: set(_timeouts(snapshot)) == {0.5})
    seen = ", ".join(f"{seconds:g} s" for seconds in _timeouts(held)) or "no route to reviews"
    return Seen(set(_timeouts(held)) == {0.5}, f"timeout in productpage's Envoy: {seen}")


def _productpage(holds: Callable[[proxy.Snapshot], bool]) -> proxy.Snapshot:
    """productpage's configuration once `holds` is true of it; without that, as it is after a moment."""
    with suppress(LabError):
        proxy.wait_until_applied(holds, pods=[PRODUCTPAGE], timeout=PROPAGATION)
    return proxy.snapshot(PRODUCTPAGE)


def _timeouts(held: proxy.Snapshot) -> list[float]:
    """Of each route to reviews, in seconds; 0 is none. Envoy writes durations as "0.500s"."""
    return [
        float(route.get("route", {}).get("timeout", "0s").removesuffix("s"))
        for host in held.sections["routes"].get("9080", {}).get("virtual_hosts", [])
        if REVIEWS in host["domains"]
        for route in host.get("routes", [])
    ]


LAB = Lab(
    "07",
    "Architecture",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "each sidecar holds a route made from VirtualService reviews",
            route_in_every_sidecar,
            "run `%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml`",
        ),
        Check(
            "istiod is back, has VirtualService reviews, and no proxy is behind",
            taken_up_from_istiod,
            "`%kubectl scale deployment/istiod -n istio-system --replicas=1`, and apply what is missing",
        ),
        Check(
            "all reviews come from version 3",
            pages_of_version_3,
            "subset v3 needs `destination-rule-reviews.yaml`; `%istioctl analyze` names what is missing",
        ),
    ),
    Exercise(
        "Let productpage's Envoy give up on reviews after half a second.",
        (
            "Envoy's timeout is a field of the route. Which Istio object becomes a route?",
            "In a VirtualService `timeout` stands beside `route`: `timeout: 0.5s`.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/07-reviews-timeout.yaml",),
        (
            Check(
                "productpage's Envoy waits half a second for reviews",
                reviews_time_out,
                "give each route of VirtualService reviews `timeout: 0.5s`",
            ),
        ),
    ),
)
