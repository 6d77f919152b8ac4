"""What the checks of lab 09 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN, failed_share
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import bookinfo, objects, telemetry, traffic
from labkit.mesh.proxy.pods import with_proxy
from labkit.mesh.telemetry import prometheus
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

LEGACY = "legacy"
QUICK = 500  # milliseconds
SENT = ["destination_service_name", "destination_version", "response_code"]
# what callers report: a server's counters go with its listener when that is replaced
COUNTED = f'sum by ({", ".join(SENT)}) (istio_requests_total{{reporter="source"}})'
OF_REVIEWS = 'increase(istio_requests_total{reporter="destination", destination_service_name="reviews"}[1h])'


def every_proxy_is_scraped() -> Seen:
    up = prometheus.query(f'up{{job="{prometheus.PROXIES}"}} == 1')
    scraped = {(target["namespace"], target["pod"]) for target in up.to_dict("records")}
    proxies = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in with_proxy()}
    return Seen(bool(proxies) and proxies <= scraped, f"{len(proxies & scraped)} of {len(proxies)} proxies")


def reviews_are_measured() -> Seen:
    grown = prometheus.query(f"sum by (destination_version) ({OF_REVIEWS}) > 0")
    requests = {row["destination_version"]: row["value"] for row in grown.to_dict("records")}
    measured = ", ".join(f"{version}: {value:.0f} requests" for version, value in sorted(requests.items()))
    return Seen({"v1", "v2", "v3"} <= requests.keys(), f"in the last hour {measured or 'none'}")


def both_count_the_same() -> Seen:
    asked = prometheus.query(COUNTED).to_dict("records")
    theirs = {tuple(row[label] for label in SENT): row["value"] for row in asked}
    counters = telemetry.requests().query("reporter == 'source'")
    ours = counters.groupby(SENT)["value"].sum().to_dict()
    measured = f"{sum(ours.values()):.0f} requests at the proxies, {sum(theirs.values()):.0f} in Prometheus"
    return Seen(bool(ours) and ours == theirs, measured)


def client_without_a_sidecar() -> Seen:
    pods = _clients()
    plain = [pod for pod in pods if PROXY not in running_containers(pod)]
    return Seen(bool(pods) and len(plain) == len(pods), f"{len(pods)} ready, {len(pods) - len(plain)} with a sidecar")


def plain_text_is_on_the_graph() -> Seen:
    if not _clients():
        return Seen(False, f"no ready curl pod in namespace {LEGACY}")
    before = telemetry.scrape()
    traffic.requests(f"http://details.{NAMESPACE}:9080/details/0", times=3, namespace=LEGACY)
    calls = telemetry.graph(before, telemetry.scrape()).query(
        "destination_service_name == 'details' and mtls_share == 0"
    )
    rate = calls["requests_per_second"].sum()
    return Seen(rate > 0, f"{rate:.1f} requests/s to details in plain text, while the check sent some")


def _clients() -> list[dict]:
    return [pod for pod in objects.list_("pods", LEGACY, selector="app=curl") if objects.is_ready(pod)]


def half_of_the_calls_of_ratings_fail() -> Seen:
    before = telemetry.scrape()
    bookinfo.page(45)
    sent = telemetry.increase(before).query("reporter == 'source' and destination_service_name == 'ratings'")
    calls, failed = int(sent.value.sum()), int(sent[sent.response_code != "200"].value.sum())
    if not calls:
        return Seen(False, "nobody called ratings")
    seen = traffic.share(failed, calls, CERTAIN)
    return Seen(0.5 in seen, f"{failed} of {calls} calls failed: between {seen.low:.0%} and {seen.high:.0%}")


def no_page_fails() -> Seen:
    statuses = Counter(bookinfo.page(12).status)
    return Seen(set(statuses) == {200}, ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))


def failed_pages(statuses: Mapping[int, int]) -> str:
    return nearest(failed_share(statuses), {"none": 0, "about 20": 0.2, "about 30": 0.3})


def who_counts_a_503(ratings: pd.DataFrame) -> str:
    ends = {end for end in ("source", "destination") if "503" in set(ratings.loc[[end]].response_code)}
    return {"source": "the caller's", "destination": "the server's"}[ends.pop()] if len(ends) == 1 else "both"


def who_has_counted_all(both: pd.DataFrame) -> str:
    ahead = both.proxies.sum() - both.Prometheus.sum()
    return "both the same" if ahead == 0 else "the proxies" if ahead > 0 else "Prometheus"


def pages_are_quick() -> Seen:
    pages = bookinfo.page(30)
    seen = ", ".join(sorted(set(pages.version)))
    slowest = pages.groupby("version").milliseconds.median().max()  # single pages may be slow: a pod has just begun
    measured = f"{len(pages)} pages with reviews of {seen}; half of the slowest version's took {slowest:.0f} ms or more"
    return Seen({"v1", "v2", "v3"} == set(pages.version) and slowest < QUICK, measured)


PREDICTIONS = (
    Prediction(
        question="30 % of all calls to ratings are about to fail. Of a hundred pages, how many fail?",
        choices=("none", "about 20", "about 30"),
        measured=failed_pages,
        why="reviews does without stars when ratings fails, so every page is answered.",
    ),
    Prediction(
        question="A call of ratings fails with a 503. Whose proxy counts it?",
        choices=("the caller's", "the server's", "both"),
        measured=who_counts_a_503,
        why="The caller's proxy made the 503 up, so the request never reached the server's.",
    ),
    Prediction(
        question="Forty pages later, you ask the proxies and Prometheus at once. Who has counted more?",
        choices=("the proxies", "Prometheus", "both the same"),
        measured=who_has_counted_all,
        why="Prometheus answers from what it wrote down, and asks each proxy once in 15 seconds.",
    ),
)


LAB = Lab(
    number="09",
    title="Live telemetry",
    path="a day",
    exam=("troubleshooting: data plane",),
    pages=("tasks/observability/metrics/querying-metrics/", "reference/config/metrics/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="Prometheus scrapes every proxy of the mesh",
            observe=every_proxy_is_scraped,
            hint="`%kubectl get pods --namespace istio-system` shows whether a Prometheus is there.",
            remedy=("mesh.telemetry.prometheus.deploy()",),
        ),
        Check(
            claim="PromQL tells how often each version of reviews was asked",
            observe=reviews_are_measured,
            hint="A counter that nobody raised is not there. Has anybody asked for pages since Prometheus came?",
            remedy=(
                "for _ in range(2):  # an increase is between two answers",
                "    mesh.bookinfo.page(times=40)",
                "    mesh.telemetry.prometheus.catch_up()",
            ),
        ),
        Check(
            claim="Prometheus and the proxies themselves count the same",
            observe=both_count_the_same,
            hint="Prometheus looks every few seconds. Does traffic still run?",
            remedy=(
                "mesh.traffic.stop()",
                "mesh.telemetry.prometheus.catch_up()",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task="Bring a caller without a sidecar into the service graph.",
            hints=(
                "A namespace without the label `istio-injection=enabled` gets no sidecars: make one, `legacy`.",
                "`samples/curl/curl.yaml` is a client; from another namespace, details is `details.default:9080`.",
            ),
            solution=(
                "kubectl delete namespace legacy --ignore-not-found",
                "kubectl create namespace legacy",
                "kubectl apply --namespace legacy -f samples/curl/curl.yaml",
                "kubectl wait --namespace legacy --for=condition=available deployment/curl --timeout=120s",
                "kubectl exec --namespace legacy deploy/curl -- curl --silent http://details.default:9080/details/0",
            ),
            checks=(
                Check(
                    claim="a curl pod in namespace legacy runs without a sidecar",
                    observe=client_without_a_sidecar,
                ),
                Check(
                    claim="what it asks of details is counted as plain text",
                    observe=plain_text_is_on_the_graph,
                ),
            ),
        ),
        Exercise(
            task=(
                "Some pages are slow. Find out which service is to blame, and mend it without switching anything off."
            ),
            hints=(
                (
                    "Let traffic flow, and look at the durations, version by version: "
                    "`mesh.telemetry.red(before, after)`."
                ),
                (
                    "One version of reviews is slow, and ratings are quick by their own count. So the "
                    "time passes between the two: in the caller's proxy."
                ),
                "Only a rule can make it wait there: `%kubectl get virtualservices -o yaml`",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/09-fault.yaml",),
            solution=(
                "kubectl scale deployment/reviews-v2 --replicas=1",
                "kubectl rollout status deployment/reviews-v2 --timeout=120s",
                "kubectl delete virtualservice ratings --ignore-not-found",
            ),
            checks=(
                Check(
                    claim="thirty pages have all three versions, and of each version half within half a second",
                    observe=pages_are_quick,
                    within=10,
                ),
            ),
        ),
        Exercise(
            task="Let half of all calls of ratings fail, without failing a page, and show it by what callers counted.",
            hints=(
                "You have a rule that makes 30 % of them fail: `abort`, with a `percentage`.",
                "`value` is in percent: a half is 50.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/09-ratings-half.yaml",),
            checks=(
                Check(
                    claim="of the calls of ratings that callers counted, one half may have failed",
                    observe=half_of_the_calls_of_ratings_fail,
                    within=3,
                ),
                Check(claim="no page fails", observe=no_page_fails),
            ),
        ),
    ),
)
