"""A recorded mesh is asked what kubectl's own pages ask, by the real kubectl, and answers as the live one does."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from rulebreakers import BROKEN, KEPT, manifest

from labkit import backend
from labkit.api import views
from labkit.backend.answers import Completed
from labkit.backend.live import Live
from labkit.backend.requests import Command
from labkit.cluster import release
from labkit.recordings import state
from labkit.recordings.looking import Looking

pytestmark = pytest.mark.live

# After https://kubernetes.io/docs/reference/kubectl/quick-reference/
# and https://istio.io/latest/docs/reference/commands/istioctl/
KINDS = (
    "pods", "po", "services", "svc", "deployments", "deploy", "replicasets", "rs", "endpoints", "endpointslices",
    "nodes", "namespaces", "ns", "configmaps", "cm", "secrets", "serviceaccounts", "sa", "daemonsets", "ds", "jobs",
    "cronjobs", "statefulsets", "ingress", "networkpolicies", "persistentvolumes", "roles", "rolebindings",
    "clusterroles", "clusterrolebindings", "crd", "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
    "hpa", "pdb", "storageclasses", "priorityclasses", "virtualservices", "vs", "destinationrules", "dr", "gateways",
    "gw", "serviceentries", "sidecars", "envoyfilters", "peerauthentications", "pa", "authorizationpolicies",
    "telemetries",
)  # fmt: skip
COMMANDS = (
    *(f"kubectl get {kind}" for kind in KINDS),
    *(f"kubectl get {kind} -A" for kind in ("pods", "svc", "deploy", "cm", "sa", "vs", "gw", "secrets", "all")),
    *(f"kubectl get {kind} -o wide" for kind in ("pods", "svc", "deploy", "nodes", "rs", "endpoints")),
    *(f"kubectl get {kind} -o name" for kind in ("pods", "svc", "deploy", "vs", "crd")),
    *(f"kubectl get {kind} -o yaml" for kind in ("pods", "svc", "deploy", "vs", "gw", "ns")),
    *(f"kubectl get {kind} -o json" for kind in ("pods", "svc", "rs", "dr", "nodes")),
    "kubectl get pods --show-labels", "kubectl get pods -l app=reviews", "kubectl get pods -l app=reviews,version=v2",
    "kubectl get pods -l 'app in (reviews, ratings)'", "kubectl get pods -l '!version'",
    "kubectl get pods -l app!=ratings",
    "kubectl get pods -L app -L version", "kubectl get pods --field-selector status.phase=Running",
    "kubectl get pods -A --field-selector metadata.namespace!=default", "kubectl get pods --sort-by=.metadata.name",
    "kubectl get svc --sort-by=.spec.clusterIP", "kubectl get pods --no-headers", "kubectl get pod,svc",
    "kubectl get all",
    "kubectl get pods -n istio-system", "kubectl get pods -n nowhere", "kubectl get pod nosuch",
    "kubectl get nosuchkind",
    "kubectl get svc reviews", "kubectl get svc reviews -o yaml", "kubectl get svc/reviews svc/ratings",
    "kubectl get deploy reviews-v1 -o jsonpath='{.spec.template.spec.containers[*].image}'",
    "kubectl get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}'",
    "kubectl get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName",
    "kubectl get pods -o go-template='{{range .items}}{{.metadata.name}}{{\"\\n\"}}{{end}}'",
    "kubectl get ns default -o jsonpath='{.metadata.labels}'", "kubectl get --raw /version", "kubectl get --raw /apis",
    "kubectl get virtualservices.v1beta1.networking.istio.io -o yaml", "kubectl get events", "kubectl events",
    *(f"kubectl describe {what}" for what in (
        "svc reviews", "svc", "deploy reviews-v1", "deploy", "ns default", "sa default", "cm", "rs", "vs", "gw", "node",
        "pods -l app=details", "pods", "endpoints", "pod nosuch", "cm istio -n istio-system",
    )),
    *(f"kubectl logs deploy/{name}" for name in ("details-v1", "ratings-v1", "productpage-v1")),
    "kubectl logs deploy/reviews-v1 -c istio-proxy --tail 5", "kubectl logs -l app=details --tail 3",
    "kubectl logs nosuch",
    "kubectl logs deploy/istiod -n istio-system --tail 10", "kubectl api-resources",
    "kubectl api-resources --namespaced=false",
    "kubectl api-versions", "kubectl version", "kubectl cluster-info", "kubectl rollout history deploy/reviews-v1",
    "kubectl rollout status deploy/reviews-v1", "kubectl wait --for=condition=available deploy/reviews-v1 --timeout=5s",
    "kubectl config current-context", "istioctl analyze", "istioctl analyze -A", "istioctl tag list",
    "istioctl proxy-status", "istioctl ps -n istio-system", "istioctl ps -v 1",
    *(f"istioctl x describe svc {name}" for name in ("reviews", "productpage", "nosuch")),
    "istioctl x authz check deploy/productpage-v1", "istioctl x check-inject deploy/reviews-v1",
    "istioctl pc all deploy/ratings-v1", "istioctl pc routes nosuch",
    "kubectl exec deploy/reviews-v1 -c istio-proxy -- pilot-agent request GET certs",
    "kubectl exec deploy/reviews-v1 -c istio-proxy -- curl -s localhost:15000/certs",
    *(f"istioctl proxy-config {view} deploy/productpage-v1" for view in (
        "clusters", "listeners", "routes", "endpoints", "secret", "bootstrap",
    )),
    *(f"istioctl pc {view} deploy/istio-ingressgateway.istio-system" for view in ("routes", "listeners", "secret")),
    "istioctl pc routes deploy/reviews-v1 --name 9080", "istioctl pc routes deploy/reviews-v1 --name 9080 -o json",
    "istioctl pc clusters deploy/reviews-v1 --fqdn ratings.default.svc.cluster.local -o json",
    "istioctl pc listeners deploy/reviews-v1 --port 15006 -o yaml",
    "istioctl pc endpoints deploy/reviews-v1 --cluster 'outbound|9080||ratings.default.svc.cluster.local'",
)  # fmt: skip
RULE = """apiVersion: networking.istio.io/v1
kind: {}
metadata:
  name: tried
spec:
  {}
"""
# What the API server refuses, and last what Istio's own rules refuse
WRONG = (
    ("VirtualService", "hostz: [reviews]"), ("VirtualService", "hosts: reviews"),
    ("VirtualService", "http: [{route: [{weight: lots}]}]"), ("VirtualService", "http: [{fault: {dela: 1}}]"),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {simple: FAST}}"), ("DestinationRule", "subsets: [{name: v1}]"),
    ("Gateway", "servers: [{port: {number: http, name: http, protocol: HTTP}, hosts: ['*']}]"),
    ("ServiceEntry", "hosts: [a.example]\n  resolution: MAYBE"), ("NoSuchKind", "a: b"),
    ("VirtualService", "hosts: [reviews]\n  http: [{route: [{destination: {host: reviews}, weight: -3}]}]"),
)  # fmt: skip
REFUSED = (
    *(Command(("kubectl", verb, "-f", "-"), stdin=RULE.format(kind, spec)) for kind, spec in WRONG
      for verb in ("apply", "create")),
    *(Command(tuple(line.split())) for line in (
        "kubectl delete vs nosuch", "kubectl delete nosuch a", "kubectl create namespace default",
        "kubectl create -f nosuch.yaml", "kubectl apply", "kubectl delete pod nosuch -n istio-system",
    )),
)  # fmt: skip
AGES = re.compile(r"\b(?:\d+[smhdy]){1,2}\b(?: ago)?")
ENOUGH, QUICK = 0.95, 1.5


def told(done: Completed) -> tuple[int, str]:
    text = AGES.sub("AGE", done.stdout + done.stderr)
    # columns are as wide as their ages; a server's address is another one here
    return done.returncode, re.sub(r"https://127\.0\.0\.1:\d+", "SERVER", re.sub(r"[ \t]+", " ", text))


def in_any_order(said: tuple[int, str]) -> tuple[int, list[str]]:
    """What is wrong with an object is told in the order of a map, which has none."""
    return said[0], sorted(said[1].splitlines())


def in_any_order_within(said: tuple[int, str]) -> tuple[int, list[list[str]]]:
    """And of several objects at once each has a line for all that is wrong with it."""
    lines = in_any_order(said)[1]
    return said[0], sorted(sorted(re.split(r"(?:is invalid: \[|, )(?=spec|<nil>)", each.rstrip("]"))) for each in lines)


def timed(do: Callable[[], Completed]) -> tuple[Completed, float]:
    began = time.monotonic()
    return do(), time.monotonic() - began


def is_slow(takes: float, takes_live: float) -> bool:
    """On a machine that is busy the live command takes its time, too."""
    return takes > max(QUICK, 2 * takes_live)


def best(do: Callable[[], Completed], times: int = 3) -> float:
    return min(timed(do)[1] for _ in range(times))


def test_reading_commands_answer_as_the_live_mesh_does(bookinfo_in_the_mesh):
    looking = Looking()
    looking.see(state.observe(Live()), backend.unix_time())
    other, slow = [], []
    for line in COMMANDS:
        command = Command(tuple(shlex.split(line)), timeout=60)
        live, takes_live = timed(partial(Live().perform, command))
        played, takes = timed(partial(looking.answer, command))
        slow += [command] if is_slow(takes, takes_live) else []
        other += [line] if played is None or told(played) != told(live) else []
    assert len(COMMANDS) >= 120
    assert len(other) <= (1 - ENOUGH) * len(COMMANDS), other
    # other work on the machine can hold up any one of them, and not all of three
    really = [each for each in slow
              if is_slow(best(partial(looking.answer, each)), best(partial(Live().perform, each)))]  # fmt: skip
    assert really == []


def test_a_change_that_is_wrong_is_refused_as_the_live_mesh_refuses_it(bookinfo_in_the_mesh):
    looking = Looking()
    looking.see(state.observe(Live()), backend.unix_time())
    seen = [(command, Live().perform(command), looking.refused(command)) for command in REFUSED]
    assert [command for command, live, _ in seen if not live.returncode] == []
    assert [command for command, _, played in seen if played is None] == []
    by_istio = [command for command, live, _ in seen if "admission webhook" in live.stderr]
    other = [(told(played), told(live)) for command, live, played in seen
             if command not in by_istio and in_any_order(told(played)) != in_any_order(told(live))]  # fmt: skip
    assert len(by_istio) < len(REFUSED) / 4
    assert len(other) <= (1 - ENOUGH) * len(REFUSED), other


@pytest.fixture
def gateway_api(bookinfo_in_the_mesh) -> Iterator[None]:
    """The kinds of the Gateway API, until the test's end where they were not there."""
    here = "kubectl get crd httproutes.gateway.networking.k8s.io"
    definitions, was_here = str(release.gateway_api()), not Live().perform(Command(tuple(here.split()))).returncode
    for words in (
        ("apply", "--server-side", "-f", definitions),
        ("wait", "--for=condition=established", "crd", "--all"),
    ):
        assert not Live().perform(Command(("kubectl", *words), timeout=60)).returncode
    yield
    if not was_here:
        Live().perform(Command(("kubectl", "delete", "-f", definitions), timeout=60))


def test_a_kinds_own_rules_are_told_as_the_live_mesh_tells_them(gateway_api):
    looking = Looking()
    looking.see(state.observe(Live()), backend.unix_time())
    tries = [manifest(kind, spec, f"tried-{number}") for number, (kind, spec, *_) in enumerate((*BROKEN, *KEPT))]
    command = Command(("kubectl", "apply", "--dry-run=server", "-f", "-"), stdin="\n---\n".join(tries), timeout=60)
    live, played = Live().perform(command), looking.answer(command)
    assert live.stdout.count("created (server dry run)") == len(KEPT)
    assert in_any_order_within(told(played)) == in_any_order_within(told(live))


def test_a_change_that_is_right_is_not_refused(bookinfo_in_the_mesh):
    looking = Looking()
    looking.see(state.observe(Live()), backend.unix_time())
    right = RULE.format("VirtualService", "hosts: [reviews]\n  http: [{route: [{destination: {host: reviews}}]}]")
    for command in (Command(("kubectl", "apply", "-f", "-"), stdin=right),
                    Command(("kubectl", "delete", "service", "reviews"))):  # fmt: skip
        assert looking.refused(command) is None


def test_the_counters_are_those_of_the_moment(bookinfo_in_the_mesh):
    looking = Looking()
    seen = state.observe(Live())
    looking.see(seen, backend.unix_time())
    proxies = [name for what, name in seen if what == views.DUMP]
    assert proxies
    for place in proxies:
        question = views.stats(place.partition(":")[0])
        assert series(looking.answer(question)) == series(Live().perform(question))


def series(text: str) -> list[str]:
    return sorted(line.rpartition(" ")[0] for line in text.splitlines())
