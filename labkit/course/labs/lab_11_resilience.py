"""What the checks of lab 11 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.labs.lab_07_architecture import reviews_time_out
from labkit.mesh import bookinfo, proxy, traffic

CALLER = "deploy/fortio-deploy"
ECHO = "http://echo:8080"
PATIENCE = 2.0  # seconds that a check waits for a page


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
    def burst_and_look() -> tuple[traffic.Load, list[str]]:
        seen = traffic.load(ECHO, connections=1, calls=40)
        found = proxy.outliers(CALLER, "echo")
        return seen, list(found[found.outlier_check == "FAILED"].workload)

    seen, ejected = burst_and_look()
    if not ejected:  # its time may have ended between the burst and the look
        seen, ejected = burst_and_look()
    return Seen(ejected == ["echo-v2"], f"{_codes(seen)}; ejected: {', '.join(ejected) or 'none'}")


def jason_waits_no_longer_than_the_deadline() -> Seen:
    anybody = bookinfo.fetch()
    seconds = _seconds_for_jason() or _seconds_for_jason()  # the route may be on its way to productpage's proxy
    measured = f"{_told(seconds)} for jason, {anybody.seconds:.2f} s for anybody"
    return Seen(seconds is not None and seconds > 0.4 and not anybody.error, measured)


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


LAB = Lab(
    "11",
    "Resilience",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "the page is slow for jason, and for nobody else",
            page_is_slow_for_jason_alone,
            "run `%kubectl apply -f samples/bookinfo/networking/virtual-service-ratings-test-delay.yaml`",
        ),
        Check(
            "echo's answers are cut off after half a second",
            slow_answers_are_cut_off,
            "apply manifests/11-timeout.yaml, once fortio and echo are deployed",
        ),
        Check(
            "too many calls at once open the circuit breaker",
            breaker_opens,
            "give echo's DestinationRule a `connectionPool`: manifests/11-circuit-breaker.yaml",
        ),
        Check(
            "the pod that fails is ejected, and the other one is not",
            failing_pod_is_ejected,
            "give echo's DestinationRule an `outlierDetection`: manifests/11-outlier-detection.yaml",
        ),
    ),
    Exercise(
        "Let no call of reviews take longer than half a second.",
        (
            "The route decides how long an answer may take: the VirtualService named `reviews` has two.",
            "A `timeout: 0.5s` stands beside `route`, as it does in manifests/11-timeout.yaml.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/11-reviews-deadline.yaml",),
        (
            Check(
                "jason's page comes within two seconds, though his ratings are slow",
                jason_waits_no_longer_than_the_deadline,
                "add `timeout: 0.5s` to the routes of the VirtualService reviews",
            ),
            Check(
                "productpage's Envoy waits half a second for reviews, whoever asks",
                reviews_time_out,
                "give each of the VirtualService's routes the timeout, the one for everybody else too",
            ),
        ),
    ),
)
