"""What the checks of lab 10 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import bookinfo, proxy, traffic
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

CALLER = "deploy/productpage-v1"
CANARY = {"v1": 0.75, "v2": 0.25}
PAGES = 60
# https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/v3/percent.proto
DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}


def caller_knows_the_subsets() -> Seen:
    clusters = proxy.clusters(CALLER).query(f"service_fqdn.str.startswith('reviews.{NAMESPACE}.')")
    subsets = {subset for subset in clusters.subset if subset != "-"}
    measured = f"subsets of reviews in productpage's Envoy: {', '.join(sorted(subsets)) or 'none'}"
    return Seen({"v1", "v2", "v3"} <= subsets, measured)


def envoy_sends_everything_to_v3() -> Seen:
    weights = reviews_weights(proxy.snapshot(CALLER))
    return Seen(weights == {"v3": 1.0}, _told(weights))


def everybody_sees_v3() -> Seen:
    cookies = {"anybody": None, "jason": bookinfo.sign_in("jason")}
    pages = {who: bookinfo.page(20, headers).version for who, headers in cookies.items()}
    measured = "; ".join(f"{who}: {_counted(versions)}" for who, versions in pages.items())
    return Seen(all((versions == "v3").all() for versions in pages.values()), measured)


def envoy_sends_a_quarter_to_v2() -> Seen:
    """Of all requests: a route before the last one, as for one user, has to share them out alike."""
    held = proxy.snapshot(CALLER)
    weights = reviews_weights(held)
    others = [each for each in map(_weights, _routes_to_reviews(held)[:-1]) if each != weights]
    told = "; ".join([_told(weights), *(f"another route sends {_each(other)}" for other in others)])
    return Seen(weights == CANARY and not others, told)


def a_quarter_of_the_pages_show_v2() -> Seen:
    versions = bookinfo.page(PAGES).version
    seen = traffic.share((versions == "v2").sum(), PAGES, CERTAIN)
    measured = f"{PAGES} pages, {_counted(versions)}: v2 between {seen.low:.0%} and {seen.high:.0%}"
    return Seen(0.25 in seen and set(versions) == {"v1", "v2"}, measured)


def v3_gets_a_copy_of_each() -> Seen:
    copies = reviews_copies(proxy.snapshot(CALLER))
    told = ", ".join(subset if share == 1 else f"{subset}, {share:.0%} of them" for subset, share in copies.items())
    versions = set(bookinfo.page(20).version)
    return Seen(
        copies == {"v3": 1.0} and "v3" not in versions,
        f"copies go to {told or 'nobody'}; 20 pages have reviews of {', '.join(sorted(versions))}",
    )


def reviews_weights(held: proxy.Snapshot) -> dict[str, float]:
    """What share of the requests for reviews goes to which subset ("" for none), as Envoy has it."""
    return _weights(_last_route_to_reviews(held))


def _weights(route: Mapping[str, Any]) -> dict[str, float]:
    action = route.get("route", {})
    if not action:
        return {}
    clusters = action.get("weighted_clusters", {}).get("clusters") or [{"name": action.get("cluster", ""), "weight": 1}]
    total = sum(cluster.get("weight", 0) for cluster in clusters)
    return {_subset(cluster["name"]): cluster.get("weight", 0) / total for cluster in clusters if cluster.get("weight")}


def reviews_copies(held: proxy.Snapshot) -> dict[str, float]:
    """Of what share of the requests for reviews which subset gets a copy, as Envoy has it."""
    policies = _last_route_to_reviews(held).get("route", {}).get("request_mirror_policies", [])
    return {_subset(each["cluster"]): _fraction(each.get("runtime_fraction", {})) for each in policies}


def _fraction(runtime: Mapping[str, Any]) -> float:
    said = runtime.get("default_value", {"numerator": 100})  # without one, Envoy copies every request
    return said.get("numerator", 0) / DENOMINATORS[said.get("denominator", "HUNDRED")]


def _last_route_to_reviews(held: proxy.Snapshot) -> dict[str, Any]:
    """The route for all requests that no other one matches; empty where Envoy has none."""
    return [{}, *_routes_to_reviews(held)][-1]


def _routes_to_reviews(held: proxy.Snapshot) -> list[dict[str, Any]]:
    on_its_port = held.sections["routes"].get("9080", {}).get("virtual_hosts", [])
    hosts = [host for host in on_its_port if host["name"].startswith(f"reviews.{NAMESPACE}.")]
    return hosts[0]["routes"] if hosts else []


def _subset(cluster: str) -> str:
    """Istio names a cluster DIRECTION|PORT|SUBSET|HOST."""
    return cluster.split("|")[2] if cluster.count("|") == 3 else ""


def _told(weights: Mapping[str, float]) -> str:
    return f"productpage's Envoy sends {_each(weights)}"


def _each(weights: Mapping[str, float]) -> str:
    told = ", ".join(f"{share:.0%} to {subset or 'any version'}" for subset, share in sorted(weights.items()))
    return told or "nothing"


def _counted(versions: Iterable[str]) -> str:
    return ", ".join(f"{version or 'none'}: {count}" for version, count in sorted(Counter(versions).items()))


def calls_of_ratings(counted: pd.Series) -> str:
    return nearest(counted["ratings-v1"], {"none": 0, "about 33": 33, "about 100": 100})


def none_of_ten(probability: float) -> str:
    return nearest(probability, {"about 1 in 100": 0.01, "about 1 in 10": 0.1, "about 1 in 3": 1 / 3})


def to_halve_it(shares: list[traffic.Share]) -> str:
    first, second, *_ = (share.high - share.low for share in shares)
    return "four times as many" if first / second < 3 else "twice as many"


def the_canary_is_v2() -> Seen:
    versions = bookinfo.page(30).version
    return Seen(set(versions) == {"v1", "v2"}, f"30 pages have reviews of {', '.join(sorted(set(versions)))}")


PREDICTIONS = (
    Prediction(
        question=(
            "100 requests: version 1 answers them all, version 3 gets a copy of each. Version 1 never "
            "calls ratings, version 3 always does. How many calls does ratings get?"
        ),
        choices=("none", "about 33", "about 100"),
        measured=calls_of_ratings,
        why="A copy is a request like any other: version 3 does all its work for it, calls of others included.",
    ),
    Prediction(
        question="Version 2 gets 10 % of the requests. How likely is it that not one of ten requests reaches it?",
        choices=("about 1 in 100", "about 1 in 10", "about 1 in 3"),
        measured=none_of_ten,
        why="Each request misses version 2 with a probability of 0.9, and ten in a row with 0.9 to the power of ten.",
    ),
    Prediction(
        question="How many more requests does it take to halve the interval of a share?",
        choices=("twice as many", "four times as many", "ten times as many"),
        measured=to_halve_it,
        why="The interval shrinks with the square root of the number of requests.",
    ),
)

_HAS_A_QUARTER = Check(
    claim="Envoy sends 75 % of the requests for reviews to v1 and 25 % to v2",
    observe=envoy_sends_a_quarter_to_v2,
    within=2,
)

LAB = Lab(
    number="10",
    title="Staged rollouts",
    path="two hours",
    exam=("traffic: routing", "traffic: destination rules", "traffic: traffic shifting"),
    pages=(
        "tasks/traffic-management/traffic-shifting/",
        "tasks/traffic-management/request-routing/",
        "tasks/traffic-management/mirroring/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the callers of reviews know its three versions apart",
            observe=caller_knows_the_subsets,
            hint="Subsets are named in a DestinationRule: `%kubectl get destinationrules`.",
            remedy=("%kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml",),
        ),
        Check(
            claim="Envoy sends every request for reviews to v3",
            observe=envoy_sends_everything_to_v3,
            hint=(
                "`%istioctl proxy-config routes deploy/productpage-v1 --name 9080 -o json` shows the clusters "
                "and weights of its route."
            ),
            remedy=("%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",),
            within=2,
        ),
        Check(
            claim="forty pages, jason's among them, show v3",
            observe=everybody_sees_v3,
            hint=(
                "Does a route match on headers before the one for everybody? `%kubectl get virtualservice "
                "reviews -o yaml`"
            ),
            remedy=("%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",),
        ),
    ),
    exercises=(
        Exercise(
            task="Give version 2 a canary's share: 25 % of all requests, while version 1 keeps the rest.",
            hints=(
                "Destinations have weights: see samples/bookinfo/networking/virtual-service-reviews-90-10.yaml.",
                "Subset v1 gets the weight 75, subset v2 25. "
                "In `%%shell`, `sed 's/90/75/; …' FILE | kubectl apply -f -`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/10-canary.yaml",),
            checks=(
                _HAS_A_QUARTER,
                Check(
                    claim="the pages agree: v2's share may be 25 %, and no page shows v3",
                    observe=a_quarter_of_the_pages_show_v2,
                ),
            ),
        ),
        Exercise(
            task="The canary should be version 2, with black stars. Readers see red ones. Find out why, and mend it.",
            hints=(
                (
                    "The VirtualService gives its share to subset `v2`. Which pods are behind that "
                    "name? `%istioctl proxy-config endpoints deploy/productpage-v1` lists them by "
                    "subset."
                ),
                "`%kubectl get pods -l app=reviews -o wide` says whose addresses these are.",
                "A DestinationRule chooses the pods of a subset by their labels. Istio's own sample has them right.",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/10-fault.yaml",),
            solution=("kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml",),
            checks=(
                Check(
                    claim="thirty pages have reviews of v1 and v2 alone",
                    observe=the_canary_is_v2,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=(
                "Both at once: version 2 keeps its canary's share of 25 %, version 1 the rest, and version 3 gets a "
                "copy of every request without answering anybody."
            ),
            hints=(
                "The audiences of this lab are parts of one route: `%kubectl explain virtualservice.spec.http`.",
                "`mirror` and `mirrorPercentage` stand beside `route`, which may have two destinations.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/10-canary-mirrored.yaml",),
            checks=(
                _HAS_A_QUARTER,
                Check(
                    claim="v3 gets a copy of each, and no page shows it",
                    observe=v3_gets_a_copy_of_each,
                    within=2,
                ),
            ),
        ),
    ),
)
