"""Back to Istio's own authority: in which order, and who is restarted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pandas as pd
import pytest
from fake import Fake

from labkit import backend
from labkit.course import components, labs, verbs
from labkit.errors import LabError
from labkit.mesh import authority, certificates, leftovers, proxy
from labkit.progress import Progress

ISTIOD = "/apis/apps/v1/namespaces/istio-system/deployments/istiod"
FORGOTTEN = leftovers.Leftover("services", "", "default", "forgotten")
DEPLOYMENTS = {"default": ["details-v1", "vault"], "istio-system": ["istiod", "istio-ingressgateway"]}


def pod(name: str, revision: str = "default", ready: bool = True) -> dict:
    owner = {"kind": "ReplicaSet", "name": f"{name}-5c4b7d", "controller": True}
    return {
        "metadata": {
            "name": f"{name}-x",
            "namespace": "istio-system" if name.startswith("istio") else "default",
            "ownerReferences": [owner],
            "labels": {"pod-template-hash": "5c4b7d"},
            "annotations": {"istio.io/rev": revision},
        },
        "spec": {"containers": [{"name": "istio-proxy"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@dataclass
class Mesh(Fake):
    """A mesh with istiod, or without; what is done to it, in order. Time passes as somebody sleeps."""

    has_istiod: bool = True
    gone: str = ""
    pods: list[dict] = field(default_factory=lambda: [pod("details-v1"), pod("vault"), pod("istio-ingressgateway")])
    istiods: list[str] = field(default_factory=lambda: ["istiod-2"])
    done: list[str] = field(default_factory=list)
    clock: float = 0.0

    def run(self, argv, **_):
        self.done.append(" ".join(argv[1:]))
        return backend.Completed(tuple(argv), 0, "", "", 0.1)

    def kubernetes(self, method, path, body, query, content_type):
        namespace, kind, name = [*path.split("/"), "", ""][path.split("/").index("namespaces") + 1 :][:3]
        if method in ("POST", "PATCH") and not (self.gone and name.startswith(self.gone)):
            self.done.append(f"{method} {name or kind}")
            return "{}"
        if path == ISTIOD and self.has_istiod:
            return json.dumps({"metadata": {"name": "istiod"}})
        if kind == "pods" and query:
            return json.dumps({"kind": "PodList", "items": [{"metadata": {"name": each}} for each in self.istiods]})
        if kind == "pods" and not name:
            items = [each for each in self.pods if each["metadata"]["namespace"] == namespace]
            return json.dumps({"kind": "PodList", "items": items})
        if kind == "deployments" and not name:
            items = [{"metadata": {"name": each}} for each in DEPLOYMENTS[namespace]]
            return json.dumps({"kind": "DeploymentList", "items": items})
        raise backend.KubernetesError(404, "NotFound", path, "")

    def now(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        self.istiods = self.istiods[:1]


@pytest.fixture
def world(monkeypatch) -> Mesh:
    """Vault and the gateway hold certificates of another authority; all are connected to istiod."""

    def chain(name: str, namespace: str) -> pd.DataFrame:
        if name == "gone-x":
            raise certificates.PodGone("", "", "")
        return pd.DataFrame({"subject": [name]})

    def verify(held: pd.DataFrame, root: pd.DataFrame) -> pd.DataFrame:
        if held.subject[0] != "details-v1-x":
            raise LabError("", "", "")
        return held

    connected = ["details-v1-x.default", "vault-x.default", "istio-ingressgateway-x.istio-system"]
    monkeypatch.setattr(certificates, "chain", chain)
    monkeypatch.setattr(certificates, "verify", verify)
    monkeypatch.setattr(certificates, "root", lambda namespace: pd.DataFrame({"subject": [authority.OWN]}))
    monkeypatch.setattr(proxy, "sync_status", lambda: pd.DataFrame({"name": connected}))
    return Mesh()


def test_until_all_is_done_an_empty_secret_says_so(world):
    with backend.use(world):
        authority.unplug()
    first = ["delete secret", "POST secrets", "rollout restart"]
    assert [" ".join(each.split()[:2]) for each in world.done[:3]] == first
    assert world.done[-1].startswith("delete secret cacerts")


def restarted(world: Mesh) -> list[str]:
    with backend.use(world):
        authority.unplug()
    return [each.split()[2:-2] for each in world.done if each.startswith("rollout restart")][1:]


def test_who_was_signed_by_another_authority_is_restarted_and_nobody_else(world):
    assert restarted(world) == [["deployment/vault"], ["deployment/istio-ingressgateway"]]


def test_what_is_no_deployment_or_gone_cannot_be_restarted_and_one_that_is_not_ready_can(world):
    world.pods = [pod("job", ready=False), pod("gone", ready=False), pod("vault", ready=False)]
    assert restarted(world) == [["deployment/vault"]]


def test_every_proxy_looks_again_whom_istiod_must_be_signed_by(world):
    world.gone = "details"  # between the list and the change
    with backend.use(world):
        authority.unplug()
    changed = [each for each in world.done if each.startswith("PATCH")]
    assert changed == ["PATCH vault-x", "PATCH istio-ingressgateway-x"]


@pytest.mark.parametrize("left", [pod("reviews-v1", revision="canary"), pod("reviews-v1", ready=False)])
def test_nobody_waits_for_who_cannot_connect(world, left):
    world.pods.append(left)
    with backend.use(world):
        authority.unplug()
    assert world.clock == 0


def test_who_has_not_connected_is_named_in_the_end(world):
    world.pods.append(pod("reviews-v1"))
    with backend.use(world), pytest.raises(LabError) as raised:
        authority.unplug()
    assert "reviews-v1-x.default" in str(raised.value)
    assert not world.done[-1].startswith("delete secret")


def test_an_istiod_that_is_about_to_go_is_waited_for(world):
    world.istiods = ["istiod-2", "istiod-1"]
    with backend.use(world):
        authority.unplug()
    assert world.clock > 0


def test_without_istiod_there_is_a_secret_to_delete(world):
    world.has_istiod = False
    with backend.use(world):
        authority.unplug()
    assert [each.split()[:3] for each in world.done] == [["delete", "secret", "cacerts"]]


@pytest.mark.parametrize(("found", "unplugged"), [([leftovers.AUTHORITY, FORGOTTEN], True), ([FORGOTTEN], False)])
def test_goto_takes_the_authority_back_before_a_lab_begins(monkeypatch, found, unplugged):
    removed: list[leftovers.Leftover] = []
    asked: list[bool] = []
    monkeypatch.setattr(leftovers, "find", lambda namespace, known: found)
    monkeypatch.setattr(leftovers, "remove", removed.extend)
    monkeypatch.setattr(authority, "unplug", lambda report: asked.append(True))
    monkeypatch.setattr(components, "COMPONENTS", ())
    with backend.use(Fake()):
        verbs._clear(labs.lab("05"), Progress(lambda event: None, backend.now))
    assert (removed, bool(asked)) == ([FORGOTTEN], unplugged)
