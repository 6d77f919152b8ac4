"""What the checks of lab 29 look at, and the lab."""

from __future__ import annotations

import re

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN, page_has_its_reviews, pages_are_complete, tally
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import access, bookinfo, objects, traffic
from labkit.mesh.workloads import has_envoy
from labkit.settings import NAMESPACE

REDIRECTION = "ambient.istio.io/redirection"  # the mark of the node's CNI agent on a pod whose traffic ztunnel carries
NO_ANSWER = "000"  # what curl tells in place of a status
REQUESTS = 100
RATINGS, DETAILS, REVIEWS, PAGE = (
    f"http://{service}:9080/{path}"
    for service, path in (("ratings", "ratings/0"), ("details", "details/0"), ("reviews", "reviews/0"),
                          ("productpage", "productpage"))
)  # fmt: skip


def bookinfo_is_in_ambient_mode() -> Seen:
    pods = [pod for pod in objects.list_("pods", NAMESPACE) if pod["metadata"].get("labels", {}).get("app") in _APPS]
    sidecars = sum(map(has_envoy, pods))
    carried = sum(pod["metadata"].get("annotations", {}).get(REDIRECTION) == "enabled" for pod in pods)
    told = f"of {len(pods)} pods of Bookinfo: ztunnel carries {carried}, {sidecars} have a sidecar"
    return Seen(carried == len(pods) >= len(_APPS) and not sidecars, told)


def reviews_alone_reach_ratings() -> Seen:
    status, pages = _status("curl", RATINGS), pages_are_complete(12)
    return Seen(status == NO_ANSWER and pages.passed, f"curl: {_told(status)}; {pages.measured}")


def details_answers_get_alone() -> Seen:
    get, post = _status("curl", DETAILS), _status("curl", DETAILS, "--data", "")
    return Seen((get, post) == ("200", "403"), f"curl, GET: {_told(get)}; POST: {_told(post)}")


def waypoint_splits_reviews() -> Seen:
    pods = traffic.requests(REVIEWS, REQUESTS).pod
    versions = pods.str.extract(r"reviews-(v\d)", expand=False).fillna("none")
    seen = traffic.share((versions == "v2").sum(), REQUESTS, CERTAIN)
    told = f"{REQUESTS} answers of {', '.join(sorted(set(versions)))}: v2 between {seen.low:.0%} and {seen.high:.0%}"
    return Seen(0.1 in seen and set(versions) == {"v1", "v2"}, told)


def gateway_gets_the_page() -> Seen:
    page = bookinfo.fetch()
    return Seen(page.status == 200, f"GET {bookinfo.PAGE} at the gateway: {page.status}")


def nobody_else_gets_the_page() -> Seen:
    statuses = {caller: _status(caller, PAGE) for caller in ("curl", "ratings")}
    told = "; ".join(f"{caller}: {_told(status)}" for caller, status in statuses.items())
    return Seen(set(statuses.values()) == {NO_ANSWER}, told)


def jason_sees_v2_and_others_v1() -> Seen:
    jason, anybody = (set(bookinfo.page(12, who).version) for who in (bookinfo.sign_in("jason"), None))
    told = "; ".join(
        f"{who}: {', '.join(sorted(version or 'none' for version in seen))}"
        for who, seen in (("jason", jason), ("anybody", anybody))
    )
    return Seen((jason, anybody) == ({"v2"}, {"v1"}), told)


def reviews_answers_productpage_alone() -> Seen:
    status, page = _status("curl", REVIEWS), page_has_its_reviews()
    return Seen(status == "403" and page.passed, f"curl: {_told(status)}; the page: {page.measured}")


_APPS = ("details", "productpage", "ratings", "reviews")


def _status(caller: str, url: str, *options: str) -> str:
    """What curl tells of an answer, NO_ANSWER where the connection ended without one; "" where there is no caller."""
    who = access.CALLERS[caller]
    argv = ["kubectl", "exec", "--namespace", who.namespace, f"deploy/{who.deployment}", "--container", who.container,
            "--", "curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}",
            *options, url]  # fmt: skip
    return backend.run(argv, check=False).stdout


def _told(status: str) -> str:
    return {NO_ANSWER: "no answer", "": "not there"}.get(status, status)


def who_carries(said: str) -> str:
    """said: the pods, and what the node's agent wrote on each."""
    return "ztunnel" if "enabled" in said else "the sidecars"


def port_of_the_connection(said: str) -> str:
    """said: a line of ztunnel's log."""
    return re.findall(r"dst\.addr=\S+:(\d+)", said)[-1]


def what_came(said: str) -> str:
    """said: ends with the status that curl tells."""
    status = re.findall(r"\b\d{3}\b", said)[-1]
    return "no answer at all" if status == NO_ANSWER else status


def how_many_reached_v2(said: str) -> str:
    """said: a line for each version, as `sort | uniq -c` prints them."""
    answers = tally(said)
    if not answers:
        raise ValueError("it counts no answer")
    return nearest(answers["reviews-v2"], {"none": 0, "about 10": 10, "about 33": 33})


PREDICTIONS = (
    Prediction(
        question="The namespace asks for ambient mode, and its pods have sidecars. Who carries their traffic?",
        choices=("the sidecars", "ztunnel", "both, one after the other"),
        measured=who_carries,
        why="The agent on the node leaves a pod alone that has a sidecar: nothing is carried twice.",
    ),
    Prediction(
        question="curl asks details for a book. At which port of the pod of details does the connection arrive?",
        choices=("9080", "15006", "15008"),
        measured=port_of_the_connection,
        why="ztunnel speaks HBONE to ztunnel, at port 15008. The port that was asked for travels inside.",
    ),
    Prediction(
        question="A policy admits reviews alone to ratings. What does curl get, whose connection ztunnel refuses?",
        choices=("403", "503", "no answer at all"),
        measured=what_came,
        why="ztunnel speaks no HTTP with applications. All that it can do to a connection is to end it.",
    ),
    Prediction(
        question="A policy allows GET at the pods of details. There is no waypoint. What does a GET get?",
        choices=("200", "403", "no answer at all"),
        measured=what_came,
        why="ztunnel cannot see a method, so that the rule never holds; and what no rule allows, a policy refuses.",
    ),
    Prediction(
        question="An HTTPRoute sends 10 % to v2. There is no waypoint. Of 100 connections, how many get to v2?",
        choices=("none", "about 10", "about 33"),
        measured=how_many_reached_v2,
        why="Nobody reads the route: ztunnel spreads connections over all pods of the Service, a third each.",
    ),
)

_APPLY = "kubectl apply -f $LABKIT_MANIFESTS/29-"
_BY_WAYPOINT = "istio.io/use-waypoint=waypoint --overwrite"
_WAYPOINT = (
    "%kubectl apply --server-side -f {release.gateway_api()}",
    "%kubectl wait --for=create gatewayclass/istio-waypoint --timeout=60s",
    "%istioctl waypoint apply --namespace default --wait",
)

LAB = Lab(
    number="29",
    title="Ambient mode",
    path="everything",
    exam=("installation: sidecar or ambient", "security: authorization", "traffic: traffic shifting"),
    pages=("ambient/overview/", "ambient/usage/waypoint/", "ambient/migrate/"),
    source="releases",
    because="the lab needs ztunnel, which is written in Rust and on no package registry",
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="ztunnel carries Bookinfo, and no pod of it has a sidecar",
            observe=bookinfo_is_in_ambient_mode,
            hint="Two labels of the namespace decide: `%kubectl get namespace default --show-labels`. Pods that run "
            "keep their sidecars until they restart.",
            remedy=(
                "%%shell",
                "kubectl apply -f samples/curl/curl.yaml",
                'istioctl install -y -f "$LABKIT_MANIFESTS/29-ambient.yaml"',
                "kubectl label namespace default istio.io/dataplane-mode=ambient istio-injection- --overwrite",
                "kubectl rollout restart deployment",
                "for each in $(kubectl get deployments -o name); do kubectl rollout status $each --timeout=180s; done",
                "until [ -z \"$(kubectl get pods -o jsonpath='{.items[*].spec.initContainers[*].name}')\" ]; "
                "do sleep 1; done",
            ),
            within=10,
        ),
        Check(
            claim="reviews alone reach ratings: curl gets no answer, and the page is whole",
            observe=reviews_alone_reach_ratings,
            hint="`%istioctl ztunnel-config policies` lists what ztunnel enforces.",
            remedy=(f"%{_APPLY}ratings.yaml",),
            within=10,
        ),
        Check(
            claim="details answers GET, and refuses POST",
            observe=details_answers_get_alone,
            hint="A method is seen by a waypoint alone: does the Service have one, and does the policy name the "
            "Service in `targetRefs`? `%istioctl ztunnel-config services` tells the first.",
            remedy=(
                *_WAYPOINT,
                f"%kubectl label service details {_BY_WAYPOINT}",
                f"%{_APPLY}details.yaml",
            ),
            within=10,
        ),
        Check(
            claim="a tenth of the requests for reviews gets to v2, the others to v1",
            observe=waypoint_splits_reviews,
            hint="The route is a waypoint's to read: `%kubectl get service reviews --show-labels`.",
            remedy=(
                "%kubectl apply -f samples/bookinfo/platform/kube/bookinfo-versions.yaml",
                "%kubectl apply -f samples/bookinfo/gateway-api/route-reviews-90-10.yaml",
                f"%kubectl label service reviews {_BY_WAYPOINT}",
            ),
            within=10,
        ),
    ),
    exercises=(
        Exercise(
            task="Nobody but the ingress gateway may connect to productpage, and ztunnel is to see to it.",
            hints=(
                "It is a policy as the one for ratings: a selector, and a principal.",
                "A principal names a service account: `%kubectl get pods -n istio-system -o yaml` has the gateway's.",
                "Or ask ztunnel's log who it was: `src.identity` in the lines about productpage.",
            ),
            solution=(f"{_APPLY}productpage.yaml",),
            checks=(
                Check(claim="the gateway gets the page", observe=gateway_gets_the_page, within=10),
                Check(claim="nobody else gets it: no answer at all", observe=nobody_else_gets_the_page, within=10),
            ),
        ),
        Exercise(
            task=(
                "At the waypoint: jason sees version 2 of reviews and everybody else version 1; and nobody but "
                "productpage gets an answer of reviews, by GET alone."
            ),
            hints=(
                "Two objects: an HTTPRoute as in 20, and an AuthorizationPolicy.",
                "The route's parent is the Service reviews. Jason's header is `end-user`.",
                "A method is nothing that ztunnel could see. What does a policy of a waypoint's name?",
            ),
            solution=(f"{_APPLY}jason.yaml",),
            checks=(
                Check(
                    claim="jason sees v2 alone, and everybody else v1 alone",
                    observe=jason_sees_v2_and_others_v1,
                    within=10,
                ),
                Check(
                    claim="reviews answers productpage, and tells curl 403",
                    observe=reviews_answers_productpage_alone,
                    within=10,
                ),
            ),
        ),
        Exercise(
            task="Since somebody tidied up labels, curl may POST to details again. Find out why, and mend it.",
            hints=(
                "The policy is as it was. Its status says whether anybody enforces it.",
                "`%istioctl ztunnel-config services` has a column WAYPOINT.",
                "`%kubectl get service details -o yaml`: its status says what became of the waypoint that it asks for.",
            ),
            fault=("kubectl label service details istio.io/use-waypoint=way-point --overwrite",),
            solution=(f"kubectl label service details {_BY_WAYPOINT}",),
            checks=(Check(claim="curl may GET details, and not POST", observe=details_answers_get_alone, within=10),),
        ),
    ),
)
