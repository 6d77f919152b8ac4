"""What the checks of lab 07 look at, and the lab."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import failed_share
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import bookinfo, objects, proxy
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

PRODUCTPAGE = "deploy/productpage-v1"
REVIEWS = f"reviews.{NAMESPACE}.svc.cluster.local"
PAGES = 10
USER = "end-user"  # the header in which productpage tells the services behind it who asks


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
    timeouts = _timeouts(proxy.snapshot(PRODUCTPAGE))
    seen = ", ".join(f"{seconds:g} s" for seconds in timeouts) or "no route to reviews"
    return Seen(set(timeouts) == {0.5}, f"timeout in productpage's Envoy: {seen}")


def jason_has_more_patience() -> Seen:
    """For whom, the route's condition says, whatever the order of the two."""
    routes = _routes_to_reviews(proxy.snapshot(PRODUCTPAGE))
    seen = ", then ".join(f"{_timeout(route):g} s" for route in routes) or "no route to reviews"
    jason, others = (_timeout(_first_for(headers, routes)) for headers in ({USER: "jason"}, {}))
    passed = (jason, others) == (2.0, 0.5)
    if len(routes) > 1 and not passed:
        seen += f": {jason:g} s for jason, {others:g} s for others"
    return Seen(passed, f"timeouts in productpage's Envoy: {seen}")


def _timeouts(held: proxy.Snapshot) -> list[float]:
    """Of each route to reviews, in seconds; 0 is none."""
    return [_timeout(route) for route in _routes_to_reviews(held)]


def _timeout(route: Mapping[str, Any]) -> float:
    """Envoy writes durations as "0.500s"."""
    return float(route.get("route", {}).get("timeout", "0s").removesuffix("s"))


def _routes_to_reviews(held: proxy.Snapshot) -> list[dict[str, Any]]:
    return [
        route
        for host in held.sections["routes"].get("9080", {}).get("virtual_hosts", [])
        if REVIEWS in host["domains"]
        for route in host.get("routes", [])
    ]


def _first_for(headers: Mapping[str, str], routes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The route that Envoy takes for a request with these headers: the first that matches. Empty where none does."""
    return next((route for route in routes if _takes(route.get("match", {}), headers)), {})


def _takes(match: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    return all(_holds(each, headers.get(each["name"])) for each in match.get("headers", []))


def _holds(matcher: Mapping[str, Any], value: str | None) -> bool:
    """https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-headermatcher"""
    inverted = matcher.get("invert_match", False)
    if value is None and matcher.get("treat_missing_header_as_empty"):
        value = ""
    if "present_match" in matcher:
        return (matcher["present_match"] is (value is not None)) is not inverted
    if value is None:
        return False
    [(how, wanted)] = [(how, it) for how, it in matcher["string_match"].items() if how != "ignore_case"]
    found = {
        "exact": lambda: value == wanted,
        "prefix": lambda: value.startswith(wanted),
        "suffix": lambda: value.endswith(wanted),
        "contains": lambda: wanted in value,
        "safe_regex": lambda: re.fullmatch(wanted["regex"], value) is not None,
    }[how]()
    return found is not inverted


def sections_that_changed(changed: pd.DataFrame) -> str:
    return " and ".join(sorted(set(changed.section)))


def failed_requests(statuses: Mapping[int, int]) -> str:
    return nearest(failed_share(statuses), {"none": 0, "about half": 0.5, "all": 1})


def without_its_pod(page: bookinfo.Page) -> str:
    if page.status != 200:
        return "an error page"
    return "the page without reviews" if page.error else "the page, with reviews of another version"


PREDICTIONS = (
    Prediction(
        question=(
            "A DestinationRule gives names to the three versions of reviews. Which kinds of Envoy's "
            "configuration change in productpage's proxy?"
        ),
        choices=("clusters and endpoints", "listeners", "routes"),
        measured=sections_that_changed,
        why=(
            "Each subset becomes a cluster with endpoints of its own; no request goes there yet, so no route changes."
        ),
    ),
    Prediction(
        question="A VirtualService sends all requests for reviews to version 3. Which kinds change now?",
        choices=("clusters and endpoints", "listeners", "routes"),
        measured=sections_that_changed,
        why="Where a request goes is decided by its route; the cluster that the route names was there already.",
    ),
    Prediction(
        question="istiod is about to stop, while ten requests a second go through the mesh. How many of them fail?",
        choices=("none", "about half", "all"),
        measured=failed_requests,
        why="Each proxy holds all that it needs, and no request passes through istiod.",
    ),
    Prediction(
        question=(
            "istiod is still away, and the one pod that all requests for reviews go to is deleted. What "
            "does the reader of a page get?"
        ),
        choices=("the page, with reviews of another version", "the page without reviews", "an error page"),
        measured=without_its_pod,
        why="Nobody tells productpage's Envoy of another address, and no new pod comes, because nobody injects it.",
    ),
)

_COMES_FROM_3 = Check(claim="all reviews come from version 3", observe=pages_of_version_3, within=3)

LAB = Lab(
    number="07",
    title="Architecture",
    path="a day",
    exam=("troubleshooting: control plane", "troubleshooting: data plane"),
    pages=("ops/deployment/architecture/", "ops/diagnostic-tools/proxy-cmd/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="each sidecar holds a route made from VirtualService reviews",
            observe=route_in_every_sidecar,
            hint=(
                "`%istioctl proxy-config routes deploy/productpage-v1 --name 9080` shows what Envoy holds for reviews."
            ),
            remedy=(
                "%kubectl apply -f samples/bookinfo/networking/destination-rule-reviews.yaml",
                "%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",
            ),
        ),
        Check(
            claim="istiod is back, has VirtualService reviews, and no proxy is behind",
            observe=taken_up_from_istiod,
            hint=(
                "`%istioctl proxy-status` compares what istiod sent with what each proxy holds. Is istiod there at all?"
            ),
            remedy=(
                "%kubectl scale deployment/istiod -n istio-system --replicas=1",
                "%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",
            ),
        ),
        Check(
            claim="all reviews come from version 3",
            observe=pages_of_version_3,
            hint="The route names a subset. `%istioctl analyze` says whether anything defines it.",
            remedy=("%kubectl apply -f samples/bookinfo/networking/destination-rule-reviews.yaml",),
        ),
    ),
    exercises=(
        Exercise(
            task="Let productpage's Envoy give up on reviews after half a second.",
            hints=(
                "Envoy's timeout is a field of the route. Which Istio object becomes a route?",
                "In a VirtualService `timeout` stands beside `route`: `timeout: 0.5s`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/07-reviews-timeout.yaml",),
            checks=(
                Check(
                    claim="productpage's Envoy waits half a second for reviews",
                    observe=reviews_time_out,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="The page has lost its reviews. Find out why, and mend it.",
            hints=(
                (
                    "Follow the request: which cluster does the route name? `%istioctl proxy-config "
                    "routes deploy/productpage-v1 --name 9080 -o json`"
                ),
                (
                    "Does productpage's Envoy have that cluster? `%istioctl proxy-config clusters "
                    "deploy/productpage-v1 --fqdn reviews.default.svc.cluster.local`"
                ),
                (
                    "A VirtualService names a subset that no DestinationRule defines, and `%istioctl "
                    "analyze` says which."
                ),
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/07-fault.yaml",),
            solution=("kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",),
            checks=(_COMES_FROM_3,),
        ),
        Exercise(
            task=(
                "Half a second for everybody's reviews, and two seconds for those of jason. All come from version 3."
            ),
            hints=(
                "A route has one timeout, so two timeouts take two routes. Both stand in one VirtualService.",
                "Jason's route has a match: the header `end-user` is exactly `jason`. Envoy takes the first that fits.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/07-patience.yaml",),
            checks=(
                Check(
                    claim="productpage's Envoy waits two seconds for jason's reviews, half a second for others'",
                    observe=jason_has_more_patience,
                    within=3,
                ),
                _COMES_FROM_3,
            ),
        ),
    ),
)
