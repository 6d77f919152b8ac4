"""What the checks of lab 12 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import bookinfo, objects, proxy, telemetry, traffic
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

CLIENT = f"deploy/{traffic.CLIENT}"
CALLER = "deploy/fortio-deploy"
REVIEWS = "http://reviews:9080/reviews/0"
PING = f"ping.{NAMESPACE}.svc.cluster.local"
HTTPS_HOST = "bookinfo.example.com"
CERTIFICATE = "bookinfo-certificate"
PARAMETER = "parameter user"


def endpoints_of_ping() -> Seen:
    pods = [pod for pod in objects.list_("pods", NAMESPACE, selector="app=ping") if objects.is_ready(pod)]
    wanted = {f"{pod['status']['podIP']}:8079" for pod in pods}
    found = proxy.endpoints(CLIENT)
    known = set(found[found.cluster == f"outbound|8079||{PING}"].endpoint)
    return Seen(known == wanted and len(pods) == 3, f"{len(pods)} ready pods, {len(known)} endpoints in curl's Envoy")


def one_pod_for_each_user() -> Seen:
    answers = [traffic.requests(REVIEWS, 8, headers={"x-user": user}) for user in ("anna", "ben")]
    pods = [answer.pod.nunique() for answer in answers]
    return Seen(pods == [1, 1], f"8 requests each: anna reached {pods[0]} pods, ben {pods[1]}")


def page_over_tls() -> Seen:
    page = _over_tls(_ca())
    return Seen(
        f"<title>{bookinfo.TITLE}</title>" in page.stdout,
        page.stderr.strip() or f"{len(page.stdout):,} characters over TLS, certificate verified",
    )


def _ca() -> str:
    """The CA's certificate alone leaves the Secret."""
    template = '{{index .data "ca.crt" | base64decode}}'
    argv = ["kubectl", "get", "secret", CERTIFICATE, "--namespace", ISTIO, "--output", f"go-template={template}"]
    return backend.run(argv).stdout


def _over_tls(ca: str) -> backend.Completed:
    gateway = f"istio-ingressgateway.{ISTIO}:443"
    request = (
        "cat > /tmp/checked-ca.crt; curl --silent --show-error --max-time 3 --cacert /tmp/checked-ca.crt "
        f"--connect-to {HTTPS_HOST}:443:{gateway} https://{HTTPS_HOST}/productpage"
    )
    argv = ["kubectl", "exec", "--stdin", "--namespace", NAMESPACE, CLIENT, "--container", traffic.CLIENT, "--",
            "sh", "-c", request]  # fmt: skip
    return backend.run(argv, stdin=ca, check=False)


def grpc_at_every_pod() -> Seen:
    counted = telemetry.requests(NAMESPACE)
    arrived = counted[
        (counted.reporter == "destination")
        & (counted.destination_workload == "ping")
        & (counted.request_protocol == "grpc")
        & (counted.value > 0)
    ]
    pods = arrived.proxy.nunique()
    return Seen(pods == 3, f"{arrived.value.sum():.0f} gRPC requests came to {pods} pods")


def envoy_hashes_the_parameter() -> Seen:
    hashed = _hashed()
    return Seen(PARAMETER in hashed, f"the route hashes {', '.join(sorted(hashed)) or 'nothing'}")


def _hashed() -> set[str]:
    """What the routes to reviews compute a hash from: names of headers and of parameters."""
    policies = [
        policy
        for config in proxy.snapshot(CLIENT).sections["routes"].values()
        for host in config.get("virtual_hosts", [])
        for route in host.get("routes", [])
        for policy in route.get("route", {}).get("hash_policy", [])
        if host["name"].startswith(f"reviews.{NAMESPACE}.")
    ]
    parameters = {f"parameter {each['query_parameter']['name']}" for each in policies if "query_parameter" in each}
    return parameters | {f"header {each['header']['header_name']}" for each in policies if "header" in each}


def one_pod_for_each_parameter() -> Seen:
    pods = [traffic.requests(f"{REVIEWS}?user={user}", 8).pod.nunique() for user in ("anna", "ben")]
    return Seen(pods == [1, 1], "one pod each" if pods == [1, 1] else "requests of one user reach several pods")


def ping_is_taken_in_turn() -> Seen:
    policy = _cluster_of_ping().get("lb_policy", "ROUND_ROBIN")  # Envoy's default, which its dump leaves out
    return Seen(policy == "ROUND_ROBIN", f"the caller's Envoy: {policy}")


def ping_by_http2() -> Seen:
    upgraded = "http2_protocol_options" in str(_cluster_of_ping())
    return Seen(upgraded, f"the caller's Envoy: HTTP/{2 if upgraded else 1.1}")


def _cluster_of_ping() -> dict[str, Any]:
    return proxy.snapshot(CALLER).sections["clusters"].get(f"outbound|8080||{PING}", {"lb_policy": "none"})


def share_of_the_slow_pod(requests: float) -> str:
    if requests < 50:
        return "fewer than half of that"
    return "a quarter, about 100" if requests < 150 else "more than that"


def pods_that_got_requests(received: pd.DataFrame) -> str:
    return f"{(received.groupby('pod').requests.sum() > 0).sum()}"


def grpc_is_spread() -> Seen:
    """Counted by the caller: a server whose port was TCP a moment ago counts no request on the connections of then."""
    fortio = "/usr/bin/fortio load -quiet -grpc -ping -c 1 -n 60 -qps 0 ping:8079"
    caller = f"kubectl exec --namespace {NAMESPACE} {CALLER} --container fortio --"
    before = proxy.endpoint_requests(CALLER, "ping")
    backend.run([*caller.split(), *fortio.split()])
    sent = proxy.endpoint_requests(CALLER, "ping").sub(before, fill_value=0)
    sent = sent[sent > 0]
    return Seen(len(sent) == 3, f"{sent.sum():.0f} requests sent to {len(sent)} pods of ping")


PREDICTIONS = (
    Prediction(
        question=(
            "Four pods, and one of them is slow. 400 requests come, eight at a time, by least request. "
            "How many does the slow pod get?"
        ),
        choices=("a quarter, about 100", "more than that", "fewer than half of that"),
        measured=share_of_the_slow_pod,
        why="It usually has requests under way, so of the two pods that Envoy draws, the other one is taken.",
    ),
    Prediction(
        question=(
            "Sixty gRPC requests over one connection, from a caller without a sidecar, to a service of "
            "three pods. How many pods get requests?"
        ),
        choices=("1", "2", "3"),
        measured=pods_that_got_requests,
        why="Kubernetes chose a pod when the connection was opened, and all sixty requests are on that connection.",
    ),
    Prediction(
        question="The same command from a caller with a sidecar. How many pods get requests now?",
        choices=("1", "2", "3"),
        measured=pods_that_got_requests,
        why="Envoy understands HTTP/2 and chooses a pod for each request on the connection.",
    ),
)


LAB = Lab(
    number="12",
    title="Envoy's features",
    path="everything",
    exam=("traffic: destination rules", "security: TLS at the edge"),
    pages=("concepts/traffic-management/", "tasks/traffic-management/ingress/secure-ingress/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the Envoy of a client knows all three pods of ping",
            observe=endpoints_of_ping,
            hint="`%istioctl proxy-config endpoints deploy/curl` lists what the client's Envoy knows.",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml -f $LABKIT_MANIFESTS/12-ping.yaml",
                "%kubectl scale deployment/ping --replicas=3",
                "%kubectl rollout status deployment/ping --timeout=120s",
            ),
        ),
        Check(
            claim="each user's requests to reviews reach one pod",
            observe=one_pod_for_each_user,
            hint=(
                "The DestinationRule of reviews says how Envoy picks a pod: `%kubectl get destinationrule "
                "reviews -o yaml`."
            ),
            remedy=("%kubectl apply -f $LABKIT_MANIFESTS/12-hash-by-header.yaml",),
        ),
        Check(
            claim="the gateway answers over TLS, with a certificate that can be verified",
            observe=page_over_tls,
            hint=(
                "A Gateway's server names a Secret by `credentialName`: `%kubectl get secrets --namespace "
                "istio-system`."
            ),
            remedy=(
                "mesh.certificates.for_gateway('bookinfo.example.com', 'bookinfo-certificate')",
                "%kubectl apply -f $LABKIT_MANIFESTS/12-https.yaml",
            ),
        ),
        Check(
            claim="gRPC requests came to each pod of ping",
            observe=grpc_at_every_pod,
            hint=(
                "One connection carries many gRPC requests: only an Envoy spreads them. Did a client with a "
                "sidecar send any?"
            ),
            remedy=(
                "mesh.traffic.deploy_fortio()",
                "%kubectl exec deploy/fortio-deploy -c fortio -- /usr/bin/fortio load -quiet -grpc -ping -c 1 -n 60 "
                "-qps 0 ping:8079",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task="Let a parameter in the address decide instead: `/reviews/0?user=anna` always reaches the same pod.",
            hints=(
                "`consistentHash` takes one of several things to compute a hash from; a header is one.",
                "Its `httpQueryParameterName` names a parameter: here `user`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/12-hash-by-parameter.yaml",),
            checks=(
                Check(
                    claim="Envoy's route to reviews hashes the parameter `user`",
                    observe=envoy_hashes_the_parameter,
                    within=3,
                ),
                Check(
                    claim="each user's requests reach one pod",
                    observe=one_pod_for_each_parameter,
                ),
            ),
        ),
        Exercise(
            task=(
                "One pod of ping gets all gRPC requests of a connection again, though the caller has "
                "a sidecar. Find out why, and mend it."
            ),
            hints=(
                (
                    "What does the caller's Envoy take the traffic for? `%istioctl proxy-config "
                    "listeners deploy/fortio-deploy --port 8079`"
                ),
                (
                    "It forwards bytes to a cluster, and knows no route: to Envoy this is plain TCP. "
                    "How does Istio know a port's protocol?"
                ),
                "By the port's name in the Service: `%kubectl get service ping -o yaml`. It was `grpc`.",
            ),
            fault=('kubectl patch service ping --patch \'{"spec": {"ports": [{"port": 8079, "name": "tcp-ping"}]}}\'',),
            solution=('kubectl patch service ping --patch \'{"spec": {"ports": [{"port": 8079, "name": "grpc"}]}}\'',),
            checks=(
                Check(
                    claim="sixty gRPC requests over one connection come to three pods",
                    observe=grpc_is_spread,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="Over HTTP, let the pods of ping be taken in turn, and let the proxies speak HTTP/2 to them.",
            hints=(
                "You have applied a rule for each, under one name. What became of the first when the second came?",
                "`loadBalancer` and `connectionPool` may stand side by side in one `trafficPolicy`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/12-ping-in-turn-http2.yaml",),
            checks=(
                Check(claim="ping's pods are taken in turn", observe=ping_is_taken_in_turn, within=3),
                Check(claim="the proxies speak HTTP/2 to ping", observe=ping_by_http2, within=3),
            ),
        ),
    ),
)
