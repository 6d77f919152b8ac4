"""In somebody else's cluster: what goes through to the reader's namespace, and what is refused before it is sent."""

from __future__ import annotations

import posixpath
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.backend.context import Guard, guard
from labkit.backend.context.shell import install
from labkit.backend.live import Live
from labkit.settings import MANIFESTS

OURS = "reader"
CHANGES = [
    "kubectl apply --filename=a.yaml", "kubectl create configmap a", "kubectl delete pods --all",
    "kubectl edit deploy/a", "kubectl label pod a b=c", "kubectl annotate svc/a b=c",
    "kubectl patch svc a --patch={}", "kubectl replace -fa.yaml", "kubectl scale deploy/a --replicas=2",
    "kubectl rollout restart deploy/a", "kubectl set image deploy/a b=c", "kubectl run a --image=b",
    "kubectl expose deploy/a", "kubectl exec deploy/a", "kubectl debug a", "kubectl attach a", "kubectl cp a b:/c",
    "kubectl port-forward svc/a 80", "kubectl autoscale deploy a --max=2",
]  # fmt: skip


def check(command: str, stdin: str | None = None, cwd: Path | None = None) -> None:
    guard.check_command(shlex.split(command), stdin, cwd, OURS)


def document(kind: str = "ConfigMap", namespace: str = "") -> str:
    return f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a, namespace: '{namespace}'}}\n"


# -- commands -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "command",
    [
        *CHANGES,
        *(f"{change} -n {OURS}" for change in CHANGES),
        "kubectl",
        "kubectl get pods -A",
        "kubectl -n default get pods",
        "kubectl get namespace default -o yaml",
        "kubectl describe node a",
        "kubectl logs -n istio-system deploy/istiod -f",
        "kubectl auth can-i get secrets -n istio-system",
        "kubectl config view",
        "kubectl rollout status -n istio-system deploy/istiod",
        "kubectl get --raw /api/v1/namespaces/istio-system/services/istiod/proxy/metrics",
        "kubectl create namespace a --dry-run=client -o yaml",
        "kubectl delete namespace default --dry-run=server",
        "kubectl apply -n default --help",
        f"kubectl label namespace {OURS} istio-injection=enabled --overwrite",
        f"kubectl label ns/{OURS} istio.io/rev-",
        "kubectl label pod a app.kubernetes.io/name=b istio.io/rev-",
        "kubectl set image deploy/a a=docker.io/b/c:1",
        "kubectl exec deploy/a -c b -- curl -sS -n default --kubeconfig c",
        "kubectl delete deploy,svc a",
        "kubectl delete virtualservices.networking.istio.io a",
        f"kubectl cp {OURS}/a:/b c",
        f"kubectl create --raw /api/v1/namespaces/{OURS}/pods -f book.yaml",
        "istioctl analyze -n default",
        "istioctl manifest generate --set profile=demo",
        "istioctl kube-inject -f book.yaml",
        "istioctl proxy-config routes deploy/istio-ingressgateway.istio-system",
        "istioctl proxy-config log deploy/a --level debug",
        "istioctl x precheck",
        "istioctl install --dry-run",
    ],
)
def test_what_stays_in_the_readers_namespace_or_only_looks_is_let_through(command):
    check(command)


@pytest.mark.parametrize(
    "command",
    [
        *(f"{change} -n default" for change in CHANGES),
        *(change.replace("kubectl", "kubectl --namespace=istio-system", 1) for change in CHANGES),
        *(f"{change} --kubeconfig elsewhere" for change in CHANGES),
        "kubectl get pods --kubeconfig elsewhere",
        "kubectl get pods --server https://127.0.0.1:6443",
        "kubectl delete pods --all -A",
        "kubectl delete pods --all --all-namespaces=true",
        "kubectl apply -f book.yaml --prune --all",
        "kubectl create namespace a",
        "kubectl create ns a --dry-run=none",
        f"kubectl delete namespace {OURS}",
        f"kubectl delete ns/{OURS}",
        "kubectl label namespace default istio-injection=enabled",
        f"kubectl label namespace {OURS} default a=b",
        "kubectl label namespaces --all a=b",
        "kubectl label ns -l a=b c=d",
        "kubectl label node a b=c",
        "kubectl create clusterrole a --verb=get --resource=pods",
        "kubectl create clusterrolebinding a --clusterrole=view --user=b",
        "kubectl delete pods,persistentvolumes a",
        "kubectl delete deploy/a pv/b",
        "kubectl delete crd virtualservices.networking.istio.io",
        "kubectl patch storageclass standard -p {}",
        "kubectl delete -l a=b namespaces default",
        "kubectl delete mutatingwebhookconfigurations istio-sidecar-injector",
        "kubectl delete something.example.com a",
        "kubectl cordon a",
        "kubectl drain a",
        "kubectl taint nodes a b=c:NoSchedule",
        "kubectl certificate approve a",
        "kubectl auth reconcile -f book.yaml",
        "kubectl config set-context --current --namespace=default",
        "kubectl config use-context other",
        "kubectl proxy",
        "kubectl some-plugin",
        "kubectl debug node/a",
        "kubectl cp default/a:/b c",
        "kubectl cp c default/a:/b",
        "kubectl apply -k folder",
        "kubectl apply -f https://127.0.0.1/book.yaml",
        "kubectl delete --raw /api/v1/namespaces/default/pods/a",
        "/somewhere/bin/istioctl install --set profile=demo -y",
        "istioctl uninstall --purge -y",
        "istioctl upgrade",
        "istioctl x uninstall",
        "istioctl tag set default --revision a",
        "istioctl admin log --level debug",
        "istioctl proxy-config log deploy/a.default --level debug",
        "istioctl proxy-config log deploy/a -n default --level debug",
        "istioctl analyze -c elsewhere",
    ],
)
def test_what_belongs_to_others_is_refused(command):
    with pytest.raises(backend.NotYours) as refused:
        check(command)
    assert OURS in refused.value.why


@given(
    st.sampled_from(CHANGES),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda name: name != OURS),
    st.sampled_from(["-n {}", "--namespace {}", "--namespace={}", "-n{}", "-n={}", "-qn {}"]),
    st.integers(1, 9),
)
def test_no_change_goes_to_another_namespace_wherever_its_flag_stands(change, namespace, flag, place):
    words = shlex.split(change)
    words[place:place] = shlex.split(flag.format(namespace))
    with pytest.raises(backend.NotYours):
        check(shlex.join(words))


@given(st.lists(st.text(max_size=12), max_size=6), st.sampled_from(guard.PROGRAMS))
def test_any_words_are_either_let_through_or_refused(words, program):
    try:
        guard.check_command([program, *words], "", MANIFESTS, OURS)
    except backend.NotYours:
        return


# -- manifests ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("manifest", ["10-canary", "08-strict", "11-echo", "12-ping", "07-unknown-filter"])
def test_the_courses_own_manifests_may_be_applied(manifest):
    check(f"kubectl apply -f {MANIFESTS / manifest}.yaml")


BEYOND = ["06-gateway-api", "13-namespaces", "14-outside", "14-require-token", "15-forgotten"]


@pytest.mark.parametrize("manifest", BEYOND)
def test_those_that_reach_beyond_one_namespace_may_not(manifest):
    with pytest.raises(backend.NotYours):
        check(f"kubectl apply -f {MANIFESTS / manifest}.yaml")


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (document(), True),
        (document("VirtualService", OURS), True),
        ("---\n---\n" + document(), True),
        ("kind: List\nitems:\n- {kind: Pod, metadata: {name: a}}\n", True),
        (document(namespace="default"), False),
        (document("Namespace"), False),
        (document("ClusterRole"), False),
        (document("Mystery"), False),
        (document() + "---\n" + document(namespace="default"), False),
        ("kind: List\nitems:\n- {kind: Pod, metadata: {namespace: default}}\n", False),
        ("kind: NamespaceList\nitems:\n- {kind: Namespace, metadata: {name: a}}\n", False),
        ("[1, 2]", False),
        ("no: [yaml", False),
    ],
)
def test_each_object_of_a_manifest_is_looked_at_from_a_pipe_a_file_and_a_folder(text, stays, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "deep" / "b.yaml").write_text(text)
    for command in ("apply -f -", "delete --filename=a.yaml", "create -f .", "apply -R -f deep", "replace -f a.yaml,-"):
        if stays:
            check(f"kubectl {command}", text, tmp_path)
        else:
            with pytest.raises(backend.NotYours):
                check(f"kubectl {command}", text, tmp_path)


def test_a_manifest_that_is_not_there_is_kubectls_to_tell(tmp_path):
    check("kubectl apply -f missing.yaml", cwd=tmp_path)


# -- requests to the API server -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/namespaces/default/secrets"),
        ("POST", f"/api/v1/namespaces/{OURS}/pods"),
        ("DELETE", f"/apis/networking.istio.io/v1/namespaces/{OURS}/virtualservices/a"),
        ("PATCH", f"/api/v1/namespaces/{OURS}"),
    ],
)
def test_a_request_for_the_readers_namespace_is_sent(method, path):
    guard.check_request(method, path, OURS)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/namespaces"),
        ("DELETE", f"/api/v1/namespaces/{OURS}"),
        ("PATCH", "/api/v1/namespaces/default"),
        ("PATCH", "/api/v1/namespaces/istio-system/services/istio-ingressgateway"),
        ("POST", f"/api/v1/namespaces/{OURS}/../default/pods"),
        ("POST", f"/api/v1/namespaces/{OURS}/%2e%2e/default/pods"),
        ("POST", f"/api/v1/namespaces/{OURS}%2Fpods"),
        ("POST", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/namespaces/{OURS}/a"),
        ("PUT", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a"),
        ("DELETE", ""),
    ],
)
def test_a_request_for_anything_else_is_not(method, path):
    with pytest.raises(backend.NotYours):
        guard.check_request(method, path, OURS)


ROOTS = st.sampled_from(["api/v1/namespaces", "apis/apps/v1/namespaces"])
SEGMENTS = st.sampled_from(["namespaces", OURS, "default", "pods", "a", "", ".", "..", "%2e%2E", "%2F", "%252e"])


@given(ROOTS, st.lists(SEGMENTS, max_size=6))
def test_no_path_leads_out_of_the_readers_namespace(root, segments):
    path = "/".join(["", root, OURS, *segments])
    try:
        guard.check_request("DELETE", path, OURS)
    except backend.NotYours:
        return
    assert posixpath.normpath(unquote(unquote(path))).startswith(f"/{root}/{OURS}/")


# -- a shell --------------------------------------------------------------------------------------------
@pytest.fixture
def shell(monkeypatch, tmp_path):
    """bash in the reader's context, with a kubectl that says what reached it."""
    for name, value in {"HOME": tmp_path, "VENUE": "context:company", "NAMESPACE": OURS}.items():
        monkeypatch.setenv(f"LABKIT_{name}", str(value))
    install()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text('#!/bin/sh\necho "$KUBECONFIG: $*"\n[ "$2" != -f ] || cat\n')
    kubectl.chmod(0o700)

    def run(script: str) -> backend.Completed:
        with backend.use(Guard(Live(), OURS)):
            return backend.run(["bash", "-euo", "pipefail", "-c", script], check=False)

    return run


@pytest.mark.parametrize(
    "script",
    [
        "kubectl create namespace a",
        "for n in default; do kubectl delete pods --all -n $n; done",
        "where=-ndefault; kubectl $where delete pod a",
        "echo pod a -n default | xargs kubectl delete",
        "kubectl apply -f - <<< '{kind: Namespace, metadata: {name: a}}'",
        "(cd / && env A=b kubectl delete ns a)",
        "istioctl uninstall --purge -y",
    ],
)
def test_a_shell_finds_the_guard_in_whatever_way_it_comes_to_a_command(shell, script):
    done = shell(script)
    assert done.returncode
    assert done.stdout == ""
    assert "was not run" in done.stderr


def test_what_a_shell_may_do_reaches_kubectl_with_its_input_and_the_courses_kubeconfig(shell, tmp_path):
    done = shell("echo 'kind: Pod' | KUBECONFIG=elsewhere kubectl apply -f -; kubectl get pods")
    kubeconfig = tmp_path / "contexts" / "company" / "kubeconfig"
    assert done.stderr == ""
    assert done.stdout == f"{kubeconfig}: apply -f -\nkind: Pod\n{kubeconfig}: get pods\n"
