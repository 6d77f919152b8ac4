"""What the checks of lab 09 look at, and the lab."""

from __future__ import annotations

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import objects, telemetry, traffic
from labkit.mesh.proxy.pods import with_proxy
from labkit.mesh.telemetry import prometheus
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE

LEGACY = "legacy"
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


LAB = Lab(
    "09",
    "Live telemetry",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "Prometheus scrapes every proxy of the mesh",
            every_proxy_is_scraped,
            "run `mesh.telemetry.prometheus.deploy()`",
        ),
        Check(
            "PromQL tells how often each version of reviews was asked",
            reviews_are_measured,
            "with Prometheus in place, run `mesh.bookinfo.page(times=40)`, then `mesh.telemetry.prometheus.catch_up()`",
        ),
        Check(
            "Prometheus and the proxies themselves count the same",
            both_count_the_same,
            "end your traffic with `mesh.traffic.stop()`, then run `mesh.telemetry.prometheus.catch_up()`",
        ),
    ),
    Exercise(
        "Bring a caller without a sidecar into the service graph.",
        (
            "A namespace without the label `istio-injection=enabled` gets no sidecars: make one, `legacy`.",
            "`samples/curl/curl.yaml` is a client; from another namespace, details is `details.default:9080`.",
        ),
        (
            "kubectl delete namespace legacy --ignore-not-found",
            "kubectl create namespace legacy",
            "kubectl apply --namespace legacy -f samples/curl/curl.yaml",
            "kubectl wait --namespace legacy --for=condition=available deployment/curl --timeout=120s",
            "kubectl exec --namespace legacy deploy/curl -- curl --silent http://details.default:9080/details/0",
        ),
        (
            Check(
                "a curl pod in namespace legacy runs without a sidecar",
                client_without_a_sidecar,
                "make the namespace `legacy`, do not label it, and deploy `samples/curl/curl.yaml` in it",
            ),
            Check(
                "what it asks of details is counted as plain text",
                plain_text_is_on_the_graph,
                "deploy the client; it must reach `http://details.default:9080/details/0`",
            ),
        ),
    ),
)
