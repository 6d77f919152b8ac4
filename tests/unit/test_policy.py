"""In somebody else's cluster: what goes through to the reader's namespace, and what is refused."""

from __future__ import annotations

import json
import posixpath
import shlex
from urllib.parse import unquote

import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.api import protobuf, words
from labkit.api.guard import Guard
from labkit.api.policy import Asked, why_not
from labkit.commands import PROGRAMS, read

OURS = "reader"
MINE, THEIRS = f"/api/v1/namespaces/{OURS}", "/api/v1/namespaces/default"


def refused(method: str, target: str, body: object = None, **how) -> str:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return why_not(Asked(method, target, data, **how), OURS)


# -- requests to the API server -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1/nodes"),
        ("GET", "/"),
        ("GET", "/openapi/v3"),
        ("HEAD", "/livez"),
        ("GET", f"{THEIRS}/secrets?limit=500"),
        ("GET", "/api/v1/watch/namespaces/default/pods"),
        ("GET", "/api/v1/namespaces/proxy/pods/exec/log?follow=true"),
        ("GET", "/api/v1/namespaces/istio-system/pods/a:15020/proxy/stats/prometheus?filter=a"),
        ("POST", f"{MINE}/pods"),
        ("POST", f"{MINE}/pods/a/exec?command=ls"),
        ("GET", f"{MINE}/services/a:80/proxy/a/b"),
        ("DELETE", f"/apis/networking.istio.io/v1/namespaces/{OURS}/virtualservices/a"),
        ("DELETE", f"{MINE}/pods?labelSelector=a%3Db"),
        ("PATCH", MINE),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
        ("PATCH", f"{THEIRS}/configmaps/a?dryRun=All&fieldManager=kubectl"),
        ("POST", "/api/v1/namespaces?dryRun=All"),
    ],
)
def test_what_looks_and_what_stays_in_the_readers_namespace_is_let_through(method, target):
    assert refused(method, target) == ""


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/api/v1/namespaces"),
        ("DELETE", MINE),
        ("PUT", f"{MINE}/finalize"),
        ("PATCH", f"{MINE}/status"),
        ("PATCH", THEIRS),
        ("PATCH", "/api/v1/namespaces/istio-system/services/istio-ingressgateway"),
        ("POST", f"{MINE}/../default/pods"),
        ("POST", f"{MINE}/%2e%2e/default/pods"),
        ("POST", f"{MINE}%2F..%2Fdefault/pods"),
        ("POST", f"/api/v1/namespaces/{OURS}%252Fpods"),
        ("POST", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/namespaces/{OURS}/a"),
        ("POST", f"/apis/apps/v1/namespaces//{OURS}/deployments"),
        ("PATCH", f"/apis/example.com/v1/namespaces/{OURS}"),
        ("PUT", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a"),
        ("DELETE", ""),
        ("DELETE", "/api/v1/watch/namespaces/default/pods/a"),
        ("DELETE", f"{THEIRS}/pods/a?dryRun=All"),
        ("POST", f"{THEIRS}/pods?dryRun="),
        ("POST", f"{THEIRS}/pods?dryRun=All&dryRun="),
        ("POST", f"{THEIRS}/pods/a/exec?command=ls&dryRun=All"),
        ("POST", f"{THEIRS}/pods/a/eviction?dryRun=All"),
        ("POST", f"{THEIRS}/serviceaccounts/a/token"),
        ("GET", f"{THEIRS}/pods/a/exec?command=ls"),
        ("GET", f"{THEIRS}/pods/a/%65xec?command=ls"),
        ("GET", f"{THEIRS}/pods/a/attach"),
        ("GET", f"{THEIRS}/pods/a/portforward"),
        ("GET", f"{THEIRS}/services/a/proxy"),
        ("GET", f"{THEIRS}/services/a:80/proxy/x"),
        ("GET", "/api/v1/nodes/a/proxy/run/default/a/b"),
        ("GET", "/api/v1/proxy/namespaces/default/pods/a"),
        ("GET", f"{THEIRS}/pods/a:15020/proxy/quitquitquit"),
        ("GET", f"{THEIRS}/pods/a:15000/proxy/stats/prometheus"),
        ("GET", f"{THEIRS}/pods/a:15020/proxy/stats/prometheus/../../quitquitquit"),
        ("POST", f"{THEIRS}/pods/a:15020/proxy/stats/prometheus"),
        ("POST", "/apis/example.com/v1/reviews"),
    ],
)
def test_what_belongs_to_others_is_refused(method, target):
    assert refused(method, target)


def test_another_protocol_than_http_stays_in_the_readers_namespace():
    assert refused("GET", f"{THEIRS}/pods?watch=true", upgrades=True)
    assert not refused("GET", f"{MINE}/pods/a/exec?command=ls", upgrades=True)


def test_a_command_that_only_looks_may_reach_a_port_of_any_pod_and_do_nothing_else_there():
    assert not refused("POST", f"{THEIRS}/pods/a/portforward", upgrades=True, looks_into_pods=True)
    for beneath in ("exec", "attach", "proxy", "portforward/a"):
        assert refused("POST", f"{THEIRS}/pods/a/{beneath}", upgrades=True, looks_into_pods=True)


ROOTS = st.sampled_from(["api/v1/namespaces", "apis/apps/v1/namespaces"])
SEGMENTS = st.sampled_from(
    ["namespaces", OURS, "default", "pods", "a", "", ".", "..", "%2e%2E", "%2F", "%252e", "proxy"]
)


@given(ROOTS, st.lists(SEGMENTS, max_size=6))
def test_no_path_leads_out_of_the_readers_namespace(root, segments):
    path = "/".join(["", root, OURS, *segments])
    if not refused("DELETE", path):
        assert posixpath.normpath(unquote(unquote(path))).startswith(f"/{root}/{OURS}/")


@given(st.sampled_from(["DELETE", "PATCH", "POST", "PUT"]), st.text(alphabet="/%.?abpi2Fe01vnames=", max_size=40))
def test_any_path_is_either_let_through_or_refused(method, path):
    assert isinstance(refused(method, f"/{path}"), str)


# -- pods that would be their node's ------------------------------------------------------------------
def template(spec: object) -> dict[str, object]:
    return {"kind": "Deployment", "spec": {"template": {"spec": spec}}}


LEADS_OUT = [
    {"hostNetwork": True}, {"hostPID": True}, {"hostIPC": True}, {"volumes": [{"hostPath": {"path": "/"}}]},
    {"containers": [{"securityContext": {"privileged": True}}]},
]  # fmt: skip


@pytest.mark.parametrize("spec", LEADS_OUT)
def test_a_pod_that_would_be_its_nodes_is_refused_in_any_form(spec):
    for body in ({"kind": "Pod", "spec": spec}, template(spec), {"kind": "List", "items": [template(spec)]}):
        assert "node" in refused("POST", f"{MINE}/pods", body)
        assert "node" in refused("PATCH", f"{MINE}/pods/a", body, content_type="application/apply-patch+yaml")
    patch = json.dumps([{"op": "add", "path": "/spec/template/spec", "value": spec}]).encode()
    assert "node" in refused("PATCH", f"{MINE}/pods/a", patch, content_type="application/json-patch+json")


def test_a_patch_by_path_and_a_name_that_stands_twice_hide_nothing():
    patch = [{"op": "copy", "from": "/a", "path": "/spec/hostNetwork"}]
    assert refused("PATCH", f"{MINE}/pods/a", patch, content_type="application/json-patch+json")
    assert refused("POST", f"{MINE}/pods", b'{"spec":{"hostNetwork":true},"spec":{}}')
    assert refused("POST", f"{MINE}/pods", b'{"spec":{"host\\u004eetwork":true}}')


def test_a_pod_like_any_other_is_let_through():
    spec = {"hostNetwork": False, "hostPath": None, "containers": [{"securityContext": {"privileged": False}}]}
    assert not refused("POST", f"{MINE}/pods", template(spec))
    assert not refused("PATCH", f"{MINE}/pods/a", b"spec: {a: 1}", content_type="application/apply-patch+yaml")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"a: [", "application/apply-patch+yaml"),
        (b"\xff\xfe", "application/json"),
        (b"{}", "application/cbor"),
        (b"{}", ""),
        (b"{}", "application/vnd.kubernetes.protobuf"),
        (b"k8s\x00\x12\xff", "application/vnd.kubernetes.protobuf"),
        (b"k8s\x00\x1a\x04gzip", "application/vnd.kubernetes.protobuf"),
    ],
)
def test_what_cannot_be_read_is_refused(body, content_type):
    assert "cannot be read" in refused("POST", f"{MINE}/pods", body, content_type=content_type)


def field(number: int, value: bytes | int) -> bytes:
    """One field of protobuf's, of a number below 16,000."""
    tag = (number << 3) | (0 if isinstance(value, int) else 2)
    written = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return written + (bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value)


def nested(*path: int, value: bytes | int) -> bytes:
    for number in reversed(path):
        value = field(number, value)
    assert isinstance(value, bytes)
    return value


SPECS = {
    "hostNetwork": nested(11, value=1),
    "hostPID": nested(12, value=1),
    "hostIPC": nested(13, value=1),
    "hostPath": nested(1, 2, 1, 1, value=b"/"),
    "privileged": nested(2, 15, 2, value=1),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(
    ("resource", "path"),
    [("pods", (2,)), ("deployments", (2, 3, 2)), ("daemonsets", (2, 2, 2)), ("cronjobs", (2, 5, 2, 6, 2))],
)
def test_a_pod_that_would_be_its_nodes_is_refused_as_protobuf_too(name, resource, path):
    harmless = field(2, nested(*path, value=nested(11, value=0)))
    led_out = field(2, nested(*path, value=SPECS[name]))
    assert protobuf.leads_out(resource, b"k8s\x00" + harmless) == []
    assert protobuf.leads_out(resource, b"k8s\x00" + led_out) == [name]
    assert protobuf.leads_out(resource, b"k8s\x00" + led_out + harmless) == [name]
    assert protobuf.leads_out("configmaps", b"k8s\x00" + led_out) == []


@given(st.binary(max_size=60))
def test_any_bytes_are_either_read_or_refused(body):
    try:
        protobuf.leads_out("deployments", b"k8s\x00" + body)
    except ValueError:
        return


# -- what a command's own words tell ------------------------------------------------------------------
CHANGES = [
    "kubectl apply --filename=a.yaml", "kubectl create configmap a", "kubectl delete pods --all",
    "kubectl edit deploy/a", "kubectl label pod a b=c", "kubectl annotate svc/a b=c",
    "kubectl patch svc a --patch={}", "kubectl replace -fa.yaml", "kubectl scale deploy/a --replicas=2",
    "kubectl rollout restart deploy/a", "kubectl set image deploy/a b=c", "kubectl run a --image=b",
    "kubectl expose deploy/a", "kubectl exec deploy/a", "kubectl debug a", "kubectl attach a", "kubectl cp a b:/c",
    "kubectl port-forward svc/a 80", "kubectl autoscale deploy a --max=2",
]  # fmt: skip


def said(command: str) -> str:
    return words.why_not(read(shlex.split(command)), OURS)


@pytest.mark.parametrize(
    "command",
    [
        *CHANGES,
        *(f"{change} -n {OURS}" for change in CHANGES),
        "kubectl", "kubectl get pods -A", "kubectl -n default get pods", "kubectl describe node a",
        "kubectl auth can-i get secrets -n istio-system", "kubectl config view", "kubectl apply -n default --help",
        "kubectl create namespace a --dry-run=client -o yaml", "kubectl delete namespace default --dry-run=server",
        f"kubectl label namespace {OURS} istio-injection=enabled --overwrite", f"kubectl label ns/{OURS} istio.io/rev-",
        "kubectl label pod a app.kubernetes.io/name=b istio.io/rev-", "kubectl delete deploy,svc a",
        "kubectl exec deploy/a -c b -- curl -sS -n default --kubeconfig c", "kubectl apply -f <(true)",
        "kubectl delete gateways.networking.istio.io a", f"kubectl cp {OURS}/a:/b c", "kubectl delete something.a.b c",
        f"kubectl create --raw /api/v1/namespaces/{OURS}/pods -f book.yaml", "istioctl analyze -n default",
        "istioctl proxy-config log deploy/a --level debug", "istioctl install --dry-run",
    ],
)  # fmt: skip
def test_words_that_tell_of_nothing_elsewhere_are_let_through(command):
    assert said(command) == ""


@pytest.mark.parametrize(
    "command",
    [
        *(f"{change} -n default" for change in CHANGES),
        *(change.replace("kubectl", "kubectl --namespace=istio-system", 1) for change in CHANGES),
        *(f"{change} --kubeconfig elsewhere" for change in CHANGES),
        "kubectl get pods --kubeconfig elsewhere", "kubectl get pods --server https://127.0.0.1:6443",
        "kubectl delete pods --all -A", "kubectl delete pods --all --all-namespaces=true",
        "kubectl apply -f book.yaml --prune --all", "kubectl create namespace a",
        "kubectl create ns a --dry-run=none", f"kubectl delete namespace {OURS}", f"kubectl delete ns/{OURS}",
        "kubectl label namespace default istio-injection=enabled", f"kubectl label namespace {OURS} default a=b",
        "kubectl label namespaces --all a=b", "kubectl label node a b=c", "kubectl create clusterrole a --verb=get",
        "kubectl delete pods,persistentvolumes a", "kubectl delete deploy/a pv/b", "kubectl cordon a",
        "kubectl delete crd virtualservices.networking.istio.io", "kubectl patch storageclass standard -p {}",
        "kubectl delete -l a=b namespaces default", "kubectl drain a", "kubectl certificate approve a",
        "kubectl config set-context --current --namespace=default", "kubectl debug node/a",
        "kubectl cp default/a:/b c", "kubectl cp c default/a:/b", "kubectl -h=false delete ns a",
        "istioctl install --set profile=demo -y", "istioctl uninstall --purge -y", "istioctl install --dry-run=0",
        "istioctl tag set default --revision a", "istioctl admin log --level debug", "istioctl analyze -c elsewhere",
        "istioctl pc o deploy/a.default --level debug", "istioctl pc log deploy/a -n default --level debug",
        "istioctl zc log --level debug",
    ],
)  # fmt: skip
def test_words_that_tell_of_others_are_refused_before_anything_runs(command):
    assert said(command)


@given(
    st.sampled_from(CHANGES),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda name: name != OURS),
    st.sampled_from(["-n {}", "--namespace {}", "--namespace={}", "-n{}", "-n={}", "-qn {}"]),
    st.integers(1, 9),
)
def test_no_change_goes_to_another_namespace_wherever_its_flag_stands(change, namespace, flag, place):
    command = shlex.split(change)
    command[place:place] = shlex.split(flag.format(namespace))
    assert said(shlex.join(command))


@given(st.lists(st.text(max_size=12), max_size=6), st.sampled_from(sorted(PROGRAMS)))
def test_any_words_are_either_let_through_or_refused(told, program):
    assert isinstance(words.why_not(read([program, *told]), OURS), str)


# -- the guard ----------------------------------------------------------------------------------------
class Told(Fake):
    """Notes the environment of each command."""

    def run(self, argv, *, env, **_):
        self.env = env
        return backend.Completed(tuple(argv), 0, "", "", 0.0)


@pytest.mark.parametrize(
    ("command", "looks"),
    [
        ("istioctl pc routes deploy/a.default", True),
        ("istioctl ps", True),
        ("istioctl x describe pod a", True),
        ("istioctl dashboard envoy a", False),
        ("istioctl pc o deploy/a --level debug", False),
        ("istioctl unknown", False),
        ("kubectl get pods", False),
        ("bash -c 'istioctl ps'", False),
    ],
)
def test_only_a_command_that_looks_and_ends_gets_the_kubeconfig_that_reaches_into_pods(tmp_path, command, looks):
    commands = tmp_path / "home" / ".kube" / "config"
    told = Told()
    with backend.use(Guard(told, OURS, commands)):
        try:
            backend.run(shlex.split(command))
        except backend.NotYours:
            return
    assert told.env == ({} if looks else {"HOME": str(tmp_path / "home"), "KUBECONFIG": str(commands)})
