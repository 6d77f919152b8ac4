"""What the checks of lab 10 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.errors import LabError
from labkit.mesh import bookinfo, proxy, traffic
from labkit.settings import NAMESPACE

CALLER = "deploy/productpage-v1"
CANARY = {"v1": 0.75, "v2": 0.25}
PROPAGATION = 2.0  # seconds that a route may take to reach the proxy
PAGES = 60
CERTAIN = 0.9999  # a check may be wrong once in ten thousand runs


def caller_knows_the_subsets() -> Seen:
    clusters = proxy.clusters(CALLER).query(f"service_fqdn.str.startswith('reviews.{NAMESPACE}.')")
    subsets = {subset for subset in clusters.subset if subset != "-"}
    measured = f"subsets of reviews in productpage's Envoy: {', '.join(sorted(subsets)) or 'none'}"
    return Seen({"v1", "v2", "v3"} <= subsets, measured)


def envoy_sends_everything_to_v3() -> Seen:
    weights = _weights_once({"v3": 1.0})
    return Seen(weights == {"v3": 1.0}, _told(weights))


def everybody_sees_v3() -> Seen:
    cookies = {"anybody": None, "jason": bookinfo.sign_in("jason")}
    pages = {who: bookinfo.page(20, headers).version for who, headers in cookies.items()}
    measured = "; ".join(f"{who}: {_counted(versions)}" for who, versions in pages.items())
    return Seen(all((versions == "v3").all() for versions in pages.values()), measured)


def envoy_sends_a_quarter_to_v2() -> Seen:
    weights = _weights_once(CANARY)
    return Seen(weights == CANARY, _told(weights))


def a_quarter_of_the_pages_show_v2() -> Seen:
    versions = bookinfo.page(PAGES).version
    seen = traffic.share((versions == "v2").sum(), PAGES, CERTAIN)
    measured = f"{PAGES} pages, {_counted(versions)}: v2 between {seen.low:.0%} and {seen.high:.0%}"
    return Seen(0.25 in seen and set(versions) == {"v1", "v2"}, measured)


def _weights_once(wanted: dict[str, float]) -> dict[str, float]:
    """The weights in productpage's Envoy, as soon as they are the wanted ones: a new rule takes a moment."""
    with suppress(LabError):
        proxy.wait_until_applied(lambda held: reviews_weights(held) == wanted, pods=[CALLER], timeout=PROPAGATION)
    return reviews_weights(proxy.snapshot(CALLER))


def reviews_weights(held: proxy.Snapshot) -> dict[str, float]:
    """What share of the requests for reviews goes to which subset ("" for none), as Envoy has it."""
    on_its_port = held.sections["routes"].get("9080", {}).get("virtual_hosts", [])
    hosts = [host for host in on_its_port if host["name"].startswith(f"reviews.{NAMESPACE}.")]
    if not hosts:
        return {}
    action = hosts[0]["routes"][-1].get("route", {})  # the last route is for all that no other one matches
    clusters = action.get("weighted_clusters", {}).get("clusters") or [{"name": action.get("cluster", ""), "weight": 1}]
    total = sum(cluster.get("weight", 0) for cluster in clusters)
    return {_subset(cluster["name"]): cluster.get("weight", 0) / total for cluster in clusters if cluster.get("weight")}


def _subset(cluster: str) -> str:
    """Istio names a cluster DIRECTION|PORT|SUBSET|HOST."""
    return cluster.split("|")[2] if cluster.count("|") == 3 else ""


def _told(weights: Mapping[str, float]) -> str:
    each = ", ".join(f"{share:.0%} to {subset or 'any version'}" for subset, share in sorted(weights.items()))
    return f"productpage's Envoy sends {each or 'nothing'}"


def _counted(versions: Iterable[str]) -> str:
    return ", ".join(f"{version or 'none'}: {count}" for version, count in sorted(Counter(versions).items()))


LAB = Lab(
    "10",
    "Staged rollouts",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "the callers of reviews know its three versions apart",
            caller_knows_the_subsets,
            "run `%kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml`",
        ),
        Check(
            "Envoy sends every request for reviews to v3",
            envoy_sends_everything_to_v3,
            "run `%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml`",
        ),
        Check(
            "forty pages, jason's among them, show v3",
            everybody_sees_v3,
            "route reviews to subset v3 alone, without a match on headers",
        ),
    ),
    Exercise(
        "Give version 2 a canary's share: 25 % of all requests, while version 1 keeps the rest.",
        (
            "Destinations have weights: see samples/bookinfo/networking/virtual-service-reviews-90-10.yaml.",
            "Subset v1 gets the weight 75, subset v2 25. In `%%shell`, `sed 's/90/75/; …' FILE | kubectl apply -f -`.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/10-canary.yaml",),
        (
            Check(
                "Envoy sends 75 % of the requests for reviews to v1 and 25 % to v2",
                envoy_sends_a_quarter_to_v2,
                "give subset v1 the weight 75 and subset v2 the weight 25",
            ),
            Check(
                "the pages agree: v2's share may be 25 %, and no page shows v3",
                a_quarter_of_the_pages_show_v2,
                "route reviews to subsets v1 and v2 alone",
            ),
        ),
    ),
)
