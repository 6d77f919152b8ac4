"""What the checks of lab 11 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.labs.lab_07_architecture import reviews_time_out
from labkit.course.observations import page_has_its_reviews
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import bookinfo, proxy, traffic

if TYPE_CHECKING:
    import pandas as pd

CALLER = "deploy/fortio-deploy"
ECHO = "http://echo:8080"
PATIENCE = 2.0  # seconds that a check waits for a page
LATE = 2.0  # seconds that ratings are late for jason in the last exercise


def page_is_slow_for_jason_alone() -> Seen:
    anybody = bookinfo.fetch()
    slow = _seconds_for_jason()
    measured = f"{anybody.seconds:.2f} s for anybody, {_told(slow)} for jason"
    well = anybody.status == 200 and not anybody.error and anybody.seconds < (slow or PATIENCE)
    return Seen(well and (slow is None or slow > 0.9), measured)


def slow_answers_are_cut_off() -> Seen:
    seen = traffic.load(f"{ECHO}/?delay=1s", connections=1, calls=2)
    # however busy the machine: whoever answers 504 did not wait for the answer
    return Seen(set(seen.codes) == {504}, f"{_codes(seen)}, {seen.seconds / seen.calls:.2f} s each")


def breaker_opens() -> Seen:
    before = _overflows()
    seen = traffic.load(f"{ECHO}/?delay=20ms", connections=8, calls=80)
    overflows = _overflows() - before
    return Seen(overflows > 0 and seen.codes.get(503, 0) > 0, f"{_codes(seen)}, {overflows} overflows counted by Envoy")


def failing_pod_is_ejected() -> Seen:
    seen = traffic.load(ECHO, connections=1, calls=40)
    found = proxy.outliers(CALLER, "echo")
    ejected = list(found[found.outlier_check == "FAILED"].workload)
    return Seen(ejected == ["echo-v2"], f"{_codes(seen)}; ejected: {', '.join(ejected) or 'none'}")


def jason_waits_no_longer_than_the_deadline() -> Seen:
    anybody = bookinfo.fetch()
    seconds = _seconds_for_jason()
    measured = f"{_told(seconds)} for jason, {anybody.seconds:.2f} s for anybody"
    return Seen(seconds is not None and seconds > 0.4 and not anybody.error, measured)


def jasons_stars_come_late() -> Seen:
    page = bookinfo.fetch(headers=bookinfo.sign_in("jason"))
    return Seen(page.seconds >= LATE and not page.error, f"{page.seconds:.2f} s, {page.error or 'all there'}")


def ratings_fail_for_tester() -> Seen:
    page = bookinfo.fetch(headers=bookinfo.sign_in("tester"))
    return Seen(page.error.startswith("Ratings"), f"tester's page: {page.error or 'all there'}")


def nobody_else_notices() -> Seen:
    page = bookinfo.fetch()
    return Seen(page.seconds < LATE and not page.error, f"{page.seconds:.2f} s, {page.error or 'all there'}")


def _seconds_for_jason() -> float | None:
    """How long jason's page took; None where he would have to wait for longer than PATIENCE."""
    jason = bookinfo.sign_in("jason")
    try:
        return bookinfo.fetch(headers=jason, timeout=PATIENCE).seconds
    except backend.Unreachable:
        return None


def _told(seconds: float | None) -> str:
    return f"more than {PATIENCE:g} s" if seconds is None else f"{seconds:.2f} s"


def _codes(seen: traffic.Load) -> str:
    return ", ".join(f"{count} times {code}" for code, count in sorted(seen.codes.items()))


def _overflows() -> int:
    return int(proxy.counters(CALLER, "echo", traffic.OVERFLOWS)[traffic.OVERFLOWS])


def page_of_jason(page: bookinfo.Page) -> str:
    if page.status != 200:
        return "an error page"
    return "reviews without stars" if "Ratings" in page.error else "complete" if not page.error else "no reviews"


def delayed_page(page: bookinfo.Page) -> str:
    if page.seconds < 3:
        return "at once, without stars"
    return "after 6 s, without reviews" if "reviews" in page.error else "after 7 s, complete"


def refused_share(found: pd.DataFrame) -> str:
    measured = found.query("connections == 8 and pending_limit == 1").overflow_share.iloc[0]
    return nearest(measured, {"50 %": 0.5, "62 %": 0.625, "75 %": 0.75})


def requests_at_the_servers(count: float) -> str:
    return nearest(count, {"40": 40, "about 60": 60, "160": 160})


PREDICTIONS = (
    Prediction(
        question="Every call to ratings that is made for jason is about to fail. What does his page look like?",
        choices=("an error page", "reviews without stars", "complete"),
        measured=page_of_jason,
        why="reviews is written to do without ratings, and says on the page what is missing.",
    ),
    Prediction(
        question=(
            "Ratings for jason are about to come 7 s late, and reviews waits up to 10 s for them. When "
            "does his page come?"
        ),
        choices=("after 7 s, complete", "after 6 s, without reviews", "at once, without stars"),
        measured=delayed_page,
        why=(
            "productpage waits 3 s for reviews, tries once more, and gives up: two timeouts that do not fit together."
        ),
    ),
    Prediction(
        question="Eight ask at once, one connection serves, one request may wait. What share is refused?",
        choices=("50 %", "62 %", "75 %"),
        measured=refused_share,
        why=(
            "Each of the proxy's two threads opens a connection of its own, so two are served, one waits, "
            "and five of eight are refused."
        ),
    ),
    Prediction(
        question=(
            "Forty calls go to two pods, and one of them fails always; each failed call is tried again. "
            "How many requests arrive at the two servers?"
        ),
        choices=("40", "about 60", "160"),
        measured=requests_at_the_servers,
        why="About half of the first tries fail, and each of them costs one more request at least.",
    ),
)


LAB = Lab(
    number="11",
    title="Resilience",
    path="a day",
    exam=("traffic: fault injection", "traffic: resilience"),
    pages=(
        "tasks/traffic-management/fault-injection/",
        "tasks/traffic-management/request-timeouts/",
        "tasks/traffic-management/circuit-breaking/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the page is slow for jason, and for nobody else",
            observe=page_is_slow_for_jason_alone,
            hint="A fault is a part of a route: `%kubectl get virtualservice ratings -o yaml`.",
            remedy=(
                "%kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml",
                "%kubectl apply -f samples/bookinfo/networking/virtual-service-all-v1.yaml",
                "%kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-test-v2.yaml",
                "%kubectl apply -f samples/bookinfo/networking/virtual-service-ratings-test-delay.yaml",
            ),
        ),
        Check(
            claim="echo's answers are cut off after half a second",
            observe=slow_answers_are_cut_off,
            hint="The route to echo decides how long an answer may take: `%kubectl get virtualservices`.",
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/11-echo.yaml",
                "mesh.traffic.deploy_fortio()",
                "%kubectl apply -f $LABKIT_MANIFESTS/11-timeout.yaml",
            ),
        ),
        Check(
            claim="too many calls at once open the circuit breaker",
            observe=breaker_opens,
            hint="A `connectionPool` limits how many requests may wait: `%kubectl get destinationrule echo -o yaml`.",
            remedy=("%kubectl apply -f $LABKIT_MANIFESTS/11-circuit-breaker.yaml",),
        ),
        Check(
            claim="the pod that fails is ejected, and the other one is not",
            observe=failing_pod_is_ejected,
            hint=(
                "`%istioctl proxy-config endpoints deploy/fortio-deploy` has a column OUTLIER CHECK. What sets "
                "it is `outlierDetection`."
            ),
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/11-echo-broken.yaml",
                "%kubectl rollout status deployment/echo-v2 --timeout=120s",
                "%kubectl apply -f $LABKIT_MANIFESTS/11-outlier-detection.yaml",
            ),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task="Let no call of reviews take longer than half a second.",
            hints=(
                "The route decides how long an answer may take: the VirtualService named `reviews` has two.",
                "A `timeout: 0.5s` stands beside `route`, as it does in manifests/11-timeout.yaml.",
                "Each of its routes needs one: jason's, and the one for everybody else.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/11-reviews-deadline.yaml",),
            checks=(
                Check(
                    claim="jason's page comes within two seconds, though his ratings are slow",
                    observe=jason_waits_no_longer_than_the_deadline,
                    within=3,
                ),
                Check(
                    claim="productpage's Envoy waits half a second for reviews, whoever asks",
                    observe=reviews_time_out,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=(
                "Now nobody gets reviews any more, though reviews answer within milliseconds. Find "
                "out why, and mend it."
            ),
            hints=(
                (
                    "What becomes of the calls? `mesh.telemetry.increase` shows their "
                    "`response_flags`: `UT` is *upstream request timeout*."
                ),
                (
                    "The route in productpage's Envoy has more than one timeout: `%istioctl "
                    "proxy-config routes deploy/productpage-v1 --name 9080 -o json`"
                ),
                "`perTryTimeout` limits each try, and `timeout` all tries together.",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/11-fault.yaml",),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/11-reviews-deadline.yaml",),
            checks=(
                Check(
                    claim="anybody's page has its reviews",
                    observe=page_has_its_reviews,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=(
                "Two faults at once, each for one user: for jason, ratings come two seconds late; for tester, they "
                "fail; nobody else notices. Everybody reads version 3 of reviews, without a deadline."
            ),
            hints=(
                "Istio's sample virtual-service-reviews-v3.yaml is for reviews. The faults belong to ratings.",
                "A host has one VirtualService, and that has as many routes as you like, each with a match of its own.",
                "Envoy takes the first route that matches. Which one has to be the last?",
            ),
            solution=(
                "kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",
                "kubectl apply -f $LABKIT_MANIFESTS/11-two-faults.yaml",
            ),
            checks=(
                Check(claim="jason's stars come two seconds late", observe=jasons_stars_come_late, within=3),
                Check(claim="tester's page has no stars", observe=ratings_fail_for_tester, within=3),
                Check(claim="nobody else notices", observe=nobody_else_notices, within=3),
            ),
        ),
    ),
)
