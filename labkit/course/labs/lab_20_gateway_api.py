"""What the checks of lab 20 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN, page_has_its_reviews
from labkit.course.predictions import Prediction
from labkit.mesh import bookinfo, objects, traffic
from labkit.mesh.proxy.pods import GATEWAY_API
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

PAGES = 40


def gateway_is_programmed() -> Seen:
    gateway = objects.find("gateways", "bookinfo-gateway", NAMESPACE, group=GATEWAY_API)
    conditions = gateway["status"].get("conditions", []) if gateway else []
    state = {condition["type"]: condition["status"] for condition in conditions}.get("Programmed", "not there")
    return Seen(state == "True", f"Gateway bookinfo-gateway: Programmed {state}")


def page_comes_through_it() -> Seen:
    answer = traffic.requests("http://bookinfo-gateway-istio/productpage").iloc[0]
    return Seen(answer.status == 200, f"GET /productpage at bookinfo-gateway-istio: {answer.status}")


def stock_comes_from_its_namespace() -> Seen:
    answer = traffic.requests("http://bookinfo-gateway-istio/stock").iloc[0]
    return Seen(answer.status == 200, f"GET /stock at bookinfo-gateway-istio: {answer.status}")


def jason_sees_v2_and_others_v1() -> Seen:
    jason, anybody = (set(bookinfo.page(12, who).version) for who in (bookinfo.sign_in("jason"), None))
    return Seen((jason, anybody) == ({"v2"}, {"v1"}), f"jason: {_told(jason)}; anybody: {_told(anybody)}")


def jason_sees_v3() -> Seen:
    versions = set(bookinfo.page(20, bookinfo.sign_in("jason")).version)
    return Seen(versions == {"v3"}, f"20 pages of jason's have reviews of {_told(versions)}")


def others_see_v1_and_v2_evenly() -> Seen:
    versions = bookinfo.page(PAGES).version
    seen = traffic.share((versions == "v2").sum(), PAGES, CERTAIN)
    measured = f"{PAGES} pages have reviews of {_told(set(versions))}: v2 between {seen.low:.0%} and {seen.high:.0%}"
    return Seen(0.5 in seen and set(versions) == {"v1", "v2"}, measured)


def _told(versions: set[str]) -> str:
    return ", ".join(sorted(version or "none" for version in versions))


def what_appeared(said: str) -> str:
    return "a Deployment and a Service" if "deployment" in said else "nothing"


def who_tells(said: str) -> str:
    return "the route's status" if "BackendNotFound" in said else "nobody"


def who_is_followed(pages: pd.DataFrame) -> str:
    return "the VirtualService" if set(pages.version) == {"v3"} else "the HTTPRoute"


PREDICTIONS = (
    Prediction(
        question="You apply a Gateway of class istio. What else appears in its namespace?",
        choices=("nothing", "a Deployment and a Service", "a VirtualService"),
        measured=what_appeared,
        why="istiod makes a proxy of its own for each Gateway, and keeps it as long as the Gateway is there.",
    ),
    Prediction(
        question="An HTTPRoute leads to a Service that does not exist. Who tells you?",
        choices=("kubectl apply", "the route's status", "nobody"),
        measured=who_tells,
        why="Whoever carries out a route of the Gateway API has to write into its status what became of it.",
    ),
    Prediction(
        question="An HTTPRoute splits reviews between v1 and v2; a VirtualService sends all to v3. Who is followed?",
        choices=("the HTTPRoute", "the VirtualService", "each for half of the requests"),
        measured=who_is_followed,
        why="For one host a sidecar holds one set of routes, and this Istio takes the HTTPRoute's, whichever is older.",
    ),
)

_VERSIONS = "kubectl apply -f samples/bookinfo/platform/kube/bookinfo-versions.yaml"

LAB = Lab(
    number="20",
    title="The Gateway API",
    path="everything",
    exam=("traffic: ingress and egress", "traffic: routing", "traffic: traffic shifting"),
    pages=("tasks/traffic-management/ingress/gateway-api/", "tasks/traffic-management/traffic-shifting/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the Gateway has a proxy that is programmed",
            observe=gateway_is_programmed,
            hint="`%kubectl get gateways.gateway.networking.k8s.io` has a column for it.",
            remedy=(
                "%kubectl apply --server-side -f {release.gateway_api()}",
                "%kubectl apply -f samples/bookinfo/gateway-api/bookinfo-gateway.yaml",
                "%kubectl annotate gateways.gateway.networking.k8s.io bookinfo-gateway "
                "networking.istio.io/service-type=ClusterIP --overwrite",
            ),
            within=5,
        ),
        Check(
            claim="the page comes through it",
            observe=page_comes_through_it,
            hint="`%kubectl get httproute bookinfo -o yaml` has the route's conditions at its end.",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml -f samples/bookinfo/gateway-api/bookinfo-gateway.yaml",
                "%kubectl rollout status deployment/curl --timeout=120s",
            ),
            within=5,
        ),
        Check(
            claim="a Service of another namespace answers through it",
            observe=stock_comes_from_its_namespace,
            hint="Another namespace has to allow it: `%kubectl explain referencegrant.spec`.",
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/20-warehouse.yaml",
                "%kubectl apply -f $LABKIT_MANIFESTS/20-stock.yaml -f $LABKIT_MANIFESTS/20-grant.yaml",
                "%kubectl rollout status deployment/stock -n warehouse --timeout=120s",
            ),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task="With an HTTPRoute: jason sees version 2 of reviews, and everybody else version 1.",
            hints=(
                "`%kubectl explain httproute.spec.rules.matches.headers`; jason's header is `end-user`.",
                "Two rules: one with a match and reviews-v2 behind it, one without a match and reviews-v1.",
            ),
            solution=(_VERSIONS, "kubectl apply -f $LABKIT_MANIFESTS/20-jason.yaml"),
            checks=(
                Check(
                    claim="jason sees v2 alone, and everybody else v1 alone",
                    observe=jason_sees_v2_and_others_v1,
                    within=5,
                ),
            ),
        ),
        Exercise(
            task="Both at once: jason sees version 3, and of everybody else half version 1 and half version 2.",
            hints=(
                "A rule's backendRefs have weights, and its matches have headers.",
                "Start from the route of the first exercise, and give its last rule two backendRefs.",
            ),
            solution=(_VERSIONS, "kubectl apply -f $LABKIT_MANIFESTS/20-both.yaml"),
            checks=(
                Check(claim="jason sees v3 alone", observe=jason_sees_v3, within=5),
                Check(
                    claim="of everybody else, v2's share may be one half, and the rest see v1",
                    observe=others_see_v1_and_v2_evenly,
                ),
            ),
        ),
        Exercise(
            task="The page has lost its reviews since the last change of their route. Find out why, and mend it.",
            hints=(
                "The route itself says what became of it: `%kubectl describe httproute reviews`",
                "`BackendNotFound`: it leads to a Service that is not there. Which are, `%kubectl get services` tells.",
            ),
            fault=(_VERSIONS, "kubectl apply -f $LABKIT_MANIFESTS/20-fault.yaml"),
            solution=("kubectl apply -f samples/bookinfo/gateway-api/route-reviews-v3.yaml",),
            checks=(Check(claim="the page has its reviews", observe=page_has_its_reviews, within=5),),
        ),
    ),
)
