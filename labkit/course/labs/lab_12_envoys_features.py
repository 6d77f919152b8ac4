"""What the checks of lab 12 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import bookinfo, objects, proxy, telemetry, traffic
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.settings import NAMESPACE

CLIENT = f"deploy/{traffic.CLIENT}"
REVIEWS = "http://reviews:9080/reviews/0"
PING = f"outbound|8079||ping.{NAMESPACE}.svc.cluster.local"
HTTPS_HOST = "bookinfo.example.com"
CERTIFICATE = "bookinfo-certificate"
PARAMETER = "parameter user"
PROPAGATION = 3.0  # seconds that a route may take to reach the client's Envoy


def endpoints_of_ping() -> Seen:
    pods = [pod for pod in objects.list_("pods", NAMESPACE, selector="app=ping") if objects.is_ready(pod)]
    wanted = {f"{pod['status']['podIP']}:8079" for pod in pods}
    found = proxy.endpoints(CLIENT)
    known = set(found[found.cluster == PING].endpoint)
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
    hashed = backend.wait(
        f"A route to reviews that hashes {PARAMETER}",
        observe=_hashed,
        done=lambda hashed: PARAMETER in hashed,
        state=lambda hashed: f"it hashes {', '.join(sorted(hashed)) or 'nothing'}",
        timeout=PROPAGATION,
        every=0.3,
    )
    return Seen(True, f"the route hashes {', '.join(hashed)}")


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


LAB = Lab(
    "12",
    "Envoy's features",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "the Envoy of a client knows all three pods of ping",
            endpoints_of_ping,
            "run `%kubectl scale deployment/ping --replicas=3`, and wait for its rollout",
        ),
        Check(
            "each user's requests to reviews reach one pod",
            one_pod_for_each_user,
            "run `%kubectl apply -f $LABKIT_MANIFESTS/12-hash-by-header.yaml`",
        ),
        Check(
            "the gateway answers over TLS, with a certificate that can be verified",
            page_over_tls,
            "make the certificate with `mesh.certificates.for_gateway`, then apply `12-https.yaml`",
        ),
        Check(
            "gRPC requests came to each pod of ping",
            grpc_at_every_pod,
            "run `fortio load -grpc -ping -c 1 -n 60 -qps 0 ping:8079` in the pod of fortio-deploy",
        ),
    ),
    Exercise(
        "Let a parameter in the address decide instead: `/reviews/0?user=anna` always reaches the same pod.",
        (
            "`consistentHash` takes one of several things to compute a hash from; a header is one.",
            "Its `httpQueryParameterName` names a parameter: here `user`.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/12-hash-by-parameter.yaml",),
        (
            Check(
                "Envoy's route to reviews hashes the parameter `user`",
                envoy_hashes_the_parameter,
                "set `trafficPolicy.loadBalancer.consistentHash.httpQueryParameterName` for host reviews",
            ),
            Check(
                "each user's requests reach one pod",
                one_pod_for_each_parameter,
                "look at the DestinationRule with `%kubectl get destinationrule reviews -o yaml`",
            ),
        ),
    ),
)
