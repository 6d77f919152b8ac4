"""What the checks of lab 13 look at, and the lab."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import dns, traffic

if TYPE_CHECKING:
    import pandas as pd

OFF, ON = "dns-off", "dns-on"
AUTOMATIC = ip_network("240.240.0.0/16")  # istiod's PILOT_IP_AUTOALLOCATE_IPV4_PREFIX, by default
BOOKS, STARS = "books.internal", "stars.internal"


def sidecar_answers() -> Seen:
    return _answered("details.default", ON, by=dns.SIDECAR)


def kube_dns_answers() -> Seen:
    return _answered("details.default", OFF, by=dns.KUBE_DNS)


def books_answer() -> Seen:
    return _answers_at_automatic_address(BOOKS, "/details/0")


def stars_answer() -> Seen:
    return _answers_at_automatic_address(STARS, "/ratings/0")


def books_has_ratings_too() -> Seen:
    status = int(traffic.requests(f"http://{BOOKS}/ratings/0", namespace=ON).status[0])
    return Seen(status == 200, f"GET {BOOKS}/ratings/0: {status}")


def _answered(name: str, namespace: str, by: str) -> Seen:
    [row] = dns.lookup(name, pods=[_client(namespace)]).itertuples()
    seen = f"{name} in {namespace}: {row.address or 'no address'}, from {row.source}"
    return Seen(bool(row.address) and row.source == by, seen)


def _answers_at_automatic_address(host: str, path: str) -> Seen:
    [row] = dns.lookup(host, pods=[_client(ON)]).itertuples()
    status = int(traffic.requests(f"http://{host}{path}", namespace=ON).status[0])
    seen = f"{host} is {row.address or 'unknown'}, from {row.source}; GET {path}: {status}"
    automatic = bool(row.address) and ip_address(row.address) in AUTOMATIC
    return Seen(automatic and status == 200, seen)


def _client(namespace: str) -> str:
    return f"deploy/{traffic.CLIENT}.{namespace}"


def who_is_asked(lookups: pd.DataFrame) -> str:
    [source] = lookups.query("name == 'no-such-service.default' and pod == 'deploy/curl.dns-on'").source
    return {dns.SIDECAR: "the sidecar alone", dns.KUBE_DNS: "kube-dns alone"}.get(source, "the sidecar, then kube-dns")


def queries_for_one_lookup(counted: pd.DataFrame) -> str:
    [queries] = counted.query("pod == 'deploy/curl.dns-off'").kube_dns / 20
    return nearest(queries, {"1": 1, "2": 2, "8": 8})


def where_two_names_lead(said: str) -> str:
    codes = {line.rpartition(" ")[2] for line in said.splitlines()}
    return "both to the same server" if len(codes) == 1 else "each to its own server"


PREDICTIONS = (
    Prediction(
        question="The client with capture looks up a name that the mesh does not know. Who is asked?",
        choices=("the sidecar alone", "kube-dns alone", "the sidecar, then kube-dns"),
        measured=who_is_asked,
        why="The sidecar passes on what it does not know, on behalf of the application.",
    ),
    Prediction(
        question=(
            "The client without capture looks up reviews.default.svc.cluster.local once. How many queries "
            "does kube-dns get?"
        ),
        choices=("1", "2", "8"),
        measured=queries_for_one_lookup,
        why="ndots:5 has the client try three search domains before the name itself, each for IPv4 and for IPv6.",
    ),
    Prediction(
        question=(
            "Two TCP hosts share port 7070, and the client has no DNS capture. Where do connections to "
            "the two names lead?"
        ),
        choices=("each to its own server", "both to the same server", "nowhere"),
        measured=where_two_names_lead,
        why="TCP carries no name, so with one listener for every address Envoy cannot tell the two apart.",
    ),
)

_BOOKS_ANSWER = Check(claim=f"{BOOKS} has an automatic address there, and answers", observe=books_answer, within=3)

LAB = Lab(
    number="13",
    title="DNS proxy",
    path="everything",
    exam=("traffic: external workloads",),
    pages=("ops/configuration/traffic-management/dns-proxy/",),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="without DNS capture, kube-dns answers the client",
            observe=kube_dns_answers,
            hint="`%kubectl get pods --namespace dns-off` shows whether the client is there, with a sidecar.",
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/13-namespaces.yaml",
                "%kubectl apply -n dns-off -f samples/curl/curl.yaml",
                "%kubectl rollout status -n dns-off deployment/curl --timeout=180s",
            ),
        ),
        Check(
            claim="with DNS capture, the client's own sidecar does",
            observe=sidecar_answers,
            hint="Capture is a setting of the pod's own proxy: an annotation `proxy.istio.io/config` of its template.",
            remedy=(
                "%kubectl apply -n dns-on -f samples/curl/curl.yaml",
                "%kubectl patch -n dns-on deployment/curl --patch-file $LABKIT_MANIFESTS/13-capture.yaml",
                "%kubectl rollout status -n dns-on deployment/curl --timeout=180s",
            ),
        ),
        Check(
            claim=f"{BOOKS} has an automatic address there, and answers",
            observe=books_answer,
            hint="`%kubectl get serviceentries -o wide` shows the hosts that istiod knows beside Services.",
            remedy=("%kubectl apply -f $LABKIT_MANIFESTS/13-books.yaml",),
            within=3,
        ),
    ),
    exercises=(
        Exercise(
            task=f"Give the ratings a name of their own, {STARS}, port 80, that clients with DNS capture can use.",
            hints=(
                "A ServiceEntry lists `hosts`, and no `addresses`: istiod chooses one.",
                "With `resolution: DNS`, an endpoint's address may be a Service's name; its `ports` map the entry's "
                "port to 9080.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/13-stars.yaml",),
            checks=(
                Check(
                    claim=f"{STARS} has an automatic address, and answers with ratings",
                    observe=stars_answer,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="books.internal still has its address, and answers with errors only. Find out why, and mend it.",
            hints=(
                (
                    "The name is found, so look behind it: `%istioctl proxy-config endpoints "
                    "deploy/curl.dns-on` shows where its requests go."
                ),
                "Nowhere. Who answers for the host, the ServiceEntry says: `%kubectl get serviceentry books -o yaml`",
                "Envoy looks the endpoint's name up in DNS. Is there such a Service? `%kubectl get services`",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/13-fault.yaml",),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/13-books.yaml",),
            checks=(_BOOKS_ANSWER,),
        ),
        Exercise(
            task=f"Put the ratings under {BOOKS} as well: /ratings is answered by ratings, all else by details.",
            hints=(
                "A name of your own is a host like any other: a VirtualService may be for it.",
                "A service of another namespace needs its full name there: `ratings.default.svc.cluster.local`.",
                f"What no route matches gets a 404. Where should the rest go? To {BOOKS} itself, port 80.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/13-books-and-stars.yaml",),
            checks=(
                Check(claim=f"{BOOKS}/ratings/0 has the ratings", observe=books_has_ratings_too, within=3),
                _BOOKS_ANSWER,
            ),
        ),
    ),
)
