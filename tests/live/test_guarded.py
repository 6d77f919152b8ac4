"""Command lines that mean harm to somebody else's cluster, run by the real kubectl and istioctl on the way into one.

The group's own cluster stands in for theirs, for a reader who might do anything there. Between the course's relay and
`kubectl proxy` something notes what arrives: nothing that changes what is not in the reader's namespace.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest

from labkit import backend
from labkit.api import access
from labkit.api.guard import Guard
from labkit.api.relay import Relay
from labkit.backend.live import Live
from labkit.backend.requests import Command
from labkit.settings import settings

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bookinfo_in_the_mesh")]
OURS = "guarded"
NODE = f"{settings().cluster}-control-plane"
GATEWAY_POD = "deploy/istio-ingressgateway.istio-system"
NODES_POD = (
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},'
    '"spec":{"hostPID":true,"containers":[{"name":"a","image":"a"}]}}'
)
SPACE = "{apiVersion: v1, kind: Namespace, metadata: {name: planted}}"
HOSTILE = [
    # the plain ones
    "kubectl create namespace planted",
    "kubectl delete pods --all -n default",
    "kubectl -n default delete deploy ratings-v1",
    f"kubectl delete namespace {OURS}",
    "kubectl delete --all-namespaces --all services",
    "kubectl scale deploy/ratings-v1 -n default --replicas=0",
    "kubectl rollout restart -n istio-system deploy/istiod",
    "kubectl label namespace default istio-injection-",
    "kubectl annotate pods --all -n default a=b",
    "kubectl patch svc ratings -n default -p '{}'",
    "kubectl set env -n default deploy/ratings-v1 A=b",
    "kubectl expose deploy ratings-v1 -n default --name planted --port 80",
    "kubectl run planted -n default --image=a",
    "kubectl create clusterrole planted --verb=get --resource=pods",
    f"kubectl cordon {NODE}",
    "kubectl drain --all --force --dry-run=none --ignore-daemonsets --timeout=2s",
    "kubectl taint nodes --all a=b:NoSchedule",
    "kubectl autoscale deploy/ratings-v1 -n default --max=2",
    "kubectl create token default -n istio-system",
    "kubectl certificate approve a",
    "kubectl auth reconcile -f bundle.yaml",
    # globs, loops, variables, functions
    "for n in default; do kubectl delete pods --all -n $n; done",
    "where=-ndefault; kubectl $where delete pods --all",
    "kubectl delete -n def* pods --all",
    "k() { kubectl \"$@\"; }; k delete ns default",
    "shopt -s expand_aliases; alias k=kubectl\nk create ns planted",
    "eval 'kubectl create ns planted'",
    "echo ns planted | xargs kubectl create",
    "set -- create ns planted; kubectl \"$@\"",
    "$(command -v kubectl) create ns planted",
    "kubectl ${UNSET:-create} ns planted",
    # what is read from somewhere
    "echo '{space}' | kubectl apply -f -",
    "kubectl apply -f /dev/stdin <<< '{space}'",
    "kubectl apply -f <(echo '{space}')",
    "kubectl create -f space.yaml",
    "kubectl apply --server-side -f space.yaml",
    "kubectl apply -k kustomized",
    "kubectl apply -R -f folder",
    "kubectl replace --force -f space.yaml",
    "kubectl apply -f bundle.yaml",
    "kubectl apply -f http://127.0.0.1:1/a.yaml || kubectl create -f space.yaml",
    "kubectl apply -f $LABKIT_MANIFESTS/13-namespaces.yaml",
    "kubectl create --raw /api/v1/namespaces -f space.json",
    f"kubectl create --raw /api/v1/namespaces/{OURS}/../default/configmaps -f cm.json",
    f"kubectl create --raw /api/v1/namespaces/{OURS}/%2e%2e/default/configmaps -f cm.json",
    "kubectl delete --raw /api/v1/namespaces/default/services/ratings",
    "kubectl replace --raw /api/v1/namespaces/default -f space.json",
    # flags that mislead
    "kubectl --warnings-as-errors delete ns default",
    "kubectl --insecure-skip-tls-verify=false -n default delete pods --all",
    "kubectl delete ns default -h=false",
    "kubectl delete ns default --help=false",
    "kubectl create ns planted --dry-run=none",
    "kubectl create ns planted --dry-run=client --dry-run=none",
    "kubectl -- create ns planted",
    "kubectl create -- ns planted",
    "kubectl delete pods -n default -- --all",
    "kubectl -v 0 create ns planted",
    "kubectl delete pods --all --namespace=guarded --namespace=default",
    "kubectl delete pods --all -Aw=false",
    "kubectl --as system:admin --as-group system:masters create ns planted",
    "kubectl --request-timeout 3 --context=$(kubectl config current-context) create ns planted",
    "kubectl --token a --user b create ns planted",
    # into pods and nodes
    "kubectl exec -n default deploy/ratings-v1 -c ratings -- true",
    "kubectl cp bundle.yaml default/$(kubectl get pod -n default -l app=ratings "
    "-o jsonpath={.items[0].metadata.name}):/tmp/a",
    "timeout 3 kubectl attach -n default deploy/ratings-v1",
    "timeout 3 kubectl port-forward -n default svc/ratings 39080:9080",
    f"kubectl debug node/{NODE} --image=a -- true",
    f"kubectl debug node/{NODE} --profile=sysadmin --image=a -- true",
    "kubectl debug -n default deploy/ratings-v1 --image=a -- true",
    "echo '{nodes_pod}' | kubectl apply -f -",
    "echo '{nodes_pod}' | kubectl create -f - --validate=false",
    "kubectl run a --image=a --overrides='{\"spec\":{\"hostNetwork\":true}}'",
    "kubectl get --raw /api/v1/namespaces/default/services/ratings:9080/proxy/ratings/0",
    f"kubectl get --raw /api/v1/nodes/{NODE}/proxy/pods",
    "kubectl get --raw '/api/v1/namespaces/default/pods/a/exec?command=true'",
    # istioctl
    "istioctl install --set profile=minimal -y",
    "istioctl install --dry-run=0 -y",
    "istioctl apply -y",
    "istioctl manifest apply -y",
    "istioctl uninstall --purge -y",
    "istioctl upgrade -y",
    "istioctl tag set planted --revision default",
    f"istioctl pc o {GATEWAY_POD} --level debug",
    f"istioctl proxy-config log {GATEWAY_POD} -r",
    "istioctl zc log -n istio-system --level debug",
    "istioctl admin log --level debug",
    "istioctl istiod l --reset",
    "istioctl x workload group create --name planted -n default | kubectl apply -f -",
    "istioctl waypoint apply -n default",
    "istioctl create-remote-secret --name planted",
    # around what commands are given
    "bash -c 'kubectl create ns planted'",
    "bash -lc 'kubectl create ns planted'",
    "BASH_ENV=env.sh bash -c 'kubectl create ns planted'",
    "env -i PATH=$PATH kubectl create ns planted",
    "env -i PATH=$PATH HOME=$HOME kubectl create ns planted",
    "env -u KUBECONFIG kubectl create ns planted",
    "KUBECONFIG= kubectl create ns planted",
    "KUBERC=on kubectl planted",
    "$LABKIT_BIN/kubectl create ns planted",
    "cd / && ./usr/bin/env kubectl create ns planted",
    "sudo -n kubectl create ns planted; true",
    "nohup kubectl create ns planted",
    "(timeout 6 kubectl proxy --port 39001 --accept-paths=. --reject-paths=^$ & sleep 2; curl -s -X POST "
    "-H content-type:application/json -d @space.json http://127.0.0.1:39001/api/v1/namespaces)",
    "curl -sk -X POST -H content-type:application/json -d @space.json "
    "$(kubectl config view --raw -o jsonpath={.clusters[0].cluster.server})/api/v1/namespaces",
    "curl -sk -X POST -H content-type:application/json -d @space.json -H \"Authorization: Bearer "
    "$(kubectl config view --raw -o jsonpath={.users[0].user.token})\" "
    "$(kubectl config view --raw -o jsonpath={.clusters[0].cluster.server})/api/v1/namespaces",
]  # fmt: skip
HARMLESS = [
    ("kubectl get pods -n istio-system", "istiod-"),
    ("kubectl create configmap a --from-literal=a=b -o name", "configmap/a"),
    ("kubectl apply -f <(echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}')", "configmap/b created"),
    ("kubectl apply -f /dev/stdin <<< '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}'", "configmap/c created"),
    ("kubectl create deployment a --image=a && kubectl scale deploy/a --replicas=0", "deployment.apps/a scaled"),
    ("kubectl create ns a --dry-run=server -o name", "namespace/a"),
    ("kubectl auth can-i create pods", "yes"),
    ("timeout 3 kubectl logs -f -n istio-system deploy/istiod --tail 1", ""),
    ("kubectl config view --raw -o jsonpath={.users[*].user}", "token"),
]


@dataclass
class Tap:
    """Notes what goes to a socket, and hands it on as it is."""

    path: Path
    to: Path
    arrived: list[h11.Request] = field(default_factory=list)

    def serve(self) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.path))
        server.listen(128)
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            one, _ = server.accept()
            other = socket.socket(socket.AF_UNIX)
            other.connect(str(self.to))
            threading.Thread(target=self._note, args=(one, other), daemon=True).start()
            threading.Thread(target=_copy, args=(other, one), daemon=True).start()

    def _note(self, one: socket.socket, other: socket.socket) -> None:
        reading = h11.Connection(h11.SERVER)
        upgraded = False
        while data := _received(one):
            if not upgraded:
                reading.receive_data(data)
                while isinstance(event := reading.next_event(), h11.Event):
                    if isinstance(event, h11.Request):
                        self.arrived.append(event)
                        upgraded = any(name == b"upgrade" for name, _ in event.headers)
                    if isinstance(event, h11.EndOfMessage) and not upgraded:
                        reading = h11.Connection(h11.SERVER)
                        break
            other.sendall(data)
        _closed(other)


def _copy(one: socket.socket, other: socket.socket) -> None:
    while data := _received(one):
        try:
            other.sendall(data)
        except OSError:
            break
    _closed(other)


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(1 << 16)
    except OSError:
        return b""


def _closed(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def reaches_out(request: h11.Request) -> bool:
    """Whether it may change what is not in the reader's namespace; said once more, and more simply than the policy."""
    method, target = request.method.decode(), request.target.decode()
    path, _, query = target.partition("?")
    if re.match(rf"/apis?/([^/]+/){{1,2}}namespaces/{OURS}/[^%]*$", path) and ".." not in path:
        return False
    if re.search(r"/(exec|attach|portforward|proxy)(/|$)", path) or any(
        name == b"upgrade" for name, _ in request.headers
    ):
        return True
    is_review = method == "POST" and re.match(r"/apis/auth(enticat|orizat)ion\.k8s\.io/v1/\w+reviews$", path)
    return not (method in ("GET", "HEAD") or is_review or "dryRun=All" in query)


@pytest.fixture(scope="module")
def tap(tmp_path_factory) -> Iterator[tuple[Tap, Guard]]:
    """The reader's way into the cluster, as somebody who might do anything there, and what arrives through it."""
    patch = pytest.MonkeyPatch()
    taps: list[Tap] = []

    class Tapped(Relay):
        def __init__(self, upstream: Path, namespace: str, identity: Path) -> None:
            taps.append(Tap(upstream.with_name("tap"), upstream))
            taps[0].serve()
            super().__init__(taps[0].path, namespace, identity)

    patch.setattr(access, "Relay", Tapped)
    folder = tmp_path_factory.mktemp("guarded")
    backend.run(["kubectl", "create", "namespace", OURS])
    try:
        context = backend.run(["kubectl", "config", "current-context"]).stdout.strip()
        path = os.pathsep.join([str(settings().bin), os.environ["PATH"]])
        environment = {**os.environ, "KUBECONFIG": str(settings().kubeconfig), "PATH": path}
        commands = access.start(context, OURS, folder / f"kubeconfig-{os.getpid()}", environment)
        yield taps[0], Guard(Live(), OURS, commands)
    finally:
        patch.undo()
        backend.run(["kubectl", "delete", "namespace", OURS, "--ignore-not-found", "--wait=false"])


@pytest.fixture
def at_hand(tmp_path) -> Path:
    """The files that the lines speak of."""
    cm = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"planted"}}'
    space = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"planted"}}'
    files = {
        "space.yaml": SPACE, "folder/deep/space.yaml": SPACE, "space.json": space, "cm.json": cm,
        "env.sh": "HOME=/nowhere",
        "kustomized/kustomization.yaml": "namespace: default\nresources: [cm.yaml]", "kustomized/cm.yaml": cm,
        "bundle.yaml": f"{cm[:-2]},\"namespace\":\"default\"}}}}\n---\n"
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: planted}, rules: []}",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(line: str, guard: Guard, cwd: Path) -> backend.Completed:
    line = line.replace("{space}", SPACE).replace("{nodes_pod}", NODES_POD)
    return guard.perform(Command(("bash", "-c", line), stdin="", cwd=cwd, timeout=60))


def elsewhere() -> str:
    kinds = "namespaces,pods,services,deployments,configmaps,clusterroles,nodes,horizontalpodautoscalers"
    template = (
        "{{range .items}}{{.kind}} {{.metadata.namespace}} {{.metadata.name}} {{.metadata.uid}} {{.metadata.labels}}"
        '{{"\\n"}}{{end}}'
    )
    told = backend.run(["kubectl", "get", kinds, "--all-namespaces", "--output", f"go-template={template}"]).stdout
    return "\n".join(sorted(line for line in told.splitlines() if OURS not in line))


def test_no_line_changes_what_is_not_in_the_readers_namespace(tap, at_hand):
    noted, guard = tap
    assert len(HOSTILE) >= 80
    before = elsewhere()
    with ThreadPoolExecutor(4) as at_once:
        list(at_once.map(lambda line: run(line, guard, at_hand), HOSTILE))

    assert len(noted.arrived) > len(HOSTILE)  # they came to the relay, and asked
    assert [f"{each.method.decode()} {each.target.decode()}" for each in noted.arrived if reaches_out(each)] == []
    assert elsewhere() == before


@pytest.mark.parametrize(("line", "told"), HARMLESS)
def test_what_looks_or_stays_in_the_readers_namespace_works_as_ever(tap, at_hand, line, told):
    done = run(line, tap[1], at_hand)
    assert told in done.stdout, done.stderr
    assert "Forbidden" not in done.stderr


def test_istioctl_looks_into_a_proxy_of_others_when_its_words_say_that_it_only_looks(tap):
    with backend.use(tap[1]):
        assert "bookinfo.default" in backend.run(["istioctl", "pc", "routes", GATEWAY_POD]).stdout
        with pytest.raises(backend.NotYours):
            backend.run(["istioctl", "pc", "o", GATEWAY_POD, "--level", "debug"])


@pytest.mark.parametrize(
    ("method", "target", "upgrades"),
    [
        ("POST", "/api/v1/namespaces", False),
        ("GET", "/api/v1/namespaces/default/pods/a/exec", False),
        ("GET", "/api/v1/pods", True),
        ("DELETE", f"/api/v1/namespaces/{OURS}", False),
        ("POST", f"/api/v1/namespaces/{OURS}/../default/pods", False),
    ],
)
def test_what_would_reach_out_is_known_as_such(method, target, upgrades):
    headers = [("host", "a"), *([("upgrade", "SPDY/3.1")] if upgrades else [])]
    assert reaches_out(h11.Request(method=method, target=target, headers=headers))
