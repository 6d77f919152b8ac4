"""What the checks of lab 13 look at, and the lab."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import dns, traffic

OFF, ON = "dns-off", "dns-on"
AUTOMATIC = ip_network("240.240.0.0/16")  # istiod's PILOT_IP_AUTOALLOCATE_IPV4_PREFIX, by default
BOOKS, STARS = "books.internal", "stars.internal"
PROPAGATION = 3.0  # seconds that a name, or where it leads, may take to reach the sidecar


def sidecar_answers() -> Seen:
    return _answered("details.default", ON, by=dns.SIDECAR)


def kube_dns_answers() -> Seen:
    return _answered("details.default", OFF, by=dns.KUBE_DNS)


def books_answer() -> Seen:
    return _answers_at_automatic_address(BOOKS, "/details/0")


def stars_answer() -> Seen:
    return _answers_at_automatic_address(STARS, "/ratings/0")


def _answered(name: str, namespace: str, by: str) -> Seen:
    [row] = dns.lookup(name, pods=[_client(namespace)]).itertuples()
    seen = f"{name} in {namespace}: {row.address or 'no address'}, from {row.source}"
    return Seen(bool(row.address) and row.source == by, seen)


def _answers_at_automatic_address(host: str, path: str) -> Seen:
    dns.wait_until_known(host, _client(ON), timeout=PROPAGATION)
    [row] = dns.lookup(host, pods=[_client(ON)]).itertuples()
    status = _status(f"http://{host}{path}")
    seen = f"{host} is {row.address}, from {row.source}; GET {path}: {status}"
    automatic = bool(row.address) and ip_address(row.address) in AUTOMATIC
    return Seen(automatic and status == 200, seen)


def _status(url: str) -> int:
    """Once it is 200 or the time is up: another endpoint for a name that is known takes a moment, too."""
    ends = backend.now() + PROPAGATION
    return backend.wait(
        f"an answer of {url}",
        observe=lambda: int(traffic.requests(url, namespace=ON).status[0]),
        done=lambda status: status == 200 or backend.now() > ends,
        timeout=PROPAGATION + 15,
    )


def _client(namespace: str) -> str:
    return f"deploy/{traffic.CLIENT}.{namespace}"


LAB = Lab(
    "13",
    "DNS proxy",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "without DNS capture, kube-dns answers the client",
            kube_dns_answers,
            "deploy `samples/curl/curl.yaml` in namespace dns-off, labelled istio-injection=enabled",
        ),
        Check(
            "with DNS capture, the client's own sidecar does",
            sidecar_answers,
            "patch the curl Deployment in dns-on with `$LABKIT_MANIFESTS/13-capture.yaml`",
        ),
        Check(
            f"{BOOKS} has an automatic address there, and answers",
            books_answer,
            "apply `$LABKIT_MANIFESTS/13-books.yaml`",
        ),
    ),
    Exercise(
        f"Give the ratings a name of their own, {STARS}, port 80, that clients with DNS capture can use.",
        (
            "A ServiceEntry lists `hosts`, and no `addresses`: istiod chooses one.",
            "With `resolution: DNS`, an endpoint's address may be a Service's name; its `ports` map the entry's port to"
            " 9080.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/13-stars.yaml",),
        (
            Check(
                f"{STARS} has an automatic address, and answers with ratings",
                stars_answer,
                f"a ServiceEntry for {STARS} with an endpoint ratings.default.svc.cluster.local, port 9080",
            ),
        ),
    ),
)
