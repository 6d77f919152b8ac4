"""What stands in the cluster that should not: beside the course's parts, or beside what a fresh cluster has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from labkit import backend, session
from labkit.commands.kinds import by_plural
from labkit.mesh import authority, certificates, objects
from labkit.mesh.istio import NAMESPACE as ISTIO

if TYPE_CHECKING:
    import pandas as pd

_Kinds = dict[str, tuple[str, ...]]
# What holds for the whole mesh, or for a gateway, stands beside istiod. Istio's own install puts none of these there.
_BESIDE_ISTIO: _Kinds = {
    "networking.istio.io": ("gateways", "virtualservices", "destinationrules", "serviceentries", "sidecars"),
    "security.istio.io": ("peerauthentications", "requestauthentications", "authorizationpolicies"),
    "telemetry.istio.io": ("telemetries",),
    "extensions.istio.io": ("trafficextensions", "wasmplugins"),
    "gateway.networking.k8s.io": ("gateways", "httproutes", "grpcroutes", "tlsroutes", "backendtlspolicies"),
}
# Pods and ReplicaSets that a Deployment owns go with it, so only what has no owner is looked at.
_KINDS: _Kinds = {
    "": ("services", "serviceaccounts", "pods", "configmaps", "secrets"),
    "apps": ("deployments",),
    **_BESIDE_ISTIO,
    "networking.istio.io": (*_BESIDE_ISTIO["networking.istio.io"], "envoyfilters"),
}
# Of these Istio has its own there, so that only what bears the course's label is a lab's: a gateway's certificates.
_LABELLED: _Kinds = {"": ("secrets",)}
_CLUSTER_WIDE: _Kinds = {"": ("persistentvolumes",)}
_CLUSTER_WIDE_LABELLED: _Kinds = {"admissionregistration.k8s.io": ("mutatingwebhookconfigurations",)}
_NOT_LEFT = {
    ("", "ConfigMap", "kube-root-ca.crt"),
    ("", "ConfigMap", certificates.ROOT),
    ("", "ConfigMap", "istio-ca-crl"),
    ("", "ServiceAccount", "default"),
    ("", "Service", "kubernetes"),
}
_SYSTEM_NAMESPACES = {"default", "istio-system", "local-path-storage"}

# Each object tells who wrote its fields: https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers
KUBERNETES = {
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubeadm", "kube-proxy",
    "clusterrole-aggregation-controller",
    "api-priority-and-fairness-config-producer-v1",
}  # fmt: skip
# What kind puts on a new cluster with kubectl, beside what kubeadm does: its network and its storage.
KINDS_OWN = ("kindnet", "istio-lab-cni", "local-path", "standard")
_PASSING = ("events", "componentstatuses", "endpoints", "nodes")  # they go by themselves, or are the cluster itself
_WHO_WROTE_WHAT = (
    "{{range .items}}{{.kind}}\t{{with .metadata.namespace}}{{.}}{{end}}\t{{.metadata.name}}\t"
    "{{if .metadata.ownerReferences}}owned{{end}}\t"
    '{{range .metadata.managedFields}}{{if not .subresource}}{{.manager}},{{end}}{{end}}{{"\\n"}}{{end}}'
)


@dataclass(frozen=True, order=True)
class Leftover:
    """An object by its address; `namespace` is "" for a namespace itself."""

    resource: str
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{by_plural(self.resource, self.group).singular} {self.name}"

    @property
    def resource_and_group(self) -> str:
        """As kubectl takes it: `gateways.networking.istio.io`, which is not `gateways.gateway.networking.k8s.io`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


AUTHORITY = Leftover("secrets", "", ISTIO, authority.SECRET)


def find(namespace: str, known: Iterable[dict[str, Any]]) -> list[Leftover]:
    """Namespaces that labs made, and objects that are not among the `known` manifests' objects.

    Looked for in `namespace`, and in Istio's own, where what is meant for the whole mesh or for a gateway stands; in
    somebody else's cluster in `namespace` alone. An authority that the mesh's root tells of is AUTHORITY.
    """
    # the group too: Istio has a kind Gateway, and the Gateway API has another
    named = ((each["apiVersion"].rpartition("/")[0], each["kind"], each["metadata"]["name"]) for each in known)
    expected = {*named, *_NOT_LEFT}
    items = list(_items(namespace, _KINDS))
    found = {left for left, item in items if _address(left, item) not in expected}
    if not session.owns_cluster():
        return sorted(found)
    ours = "=".join(objects.OURS)
    everywhere = [
        *_items(ISTIO, _BESIDE_ISTIO),
        *_items(ISTIO, _LABELLED, ours),
        *_items("", _CLUSTER_WIDE_LABELLED, ours),
        *_items("", _CLUSTER_WIDE),
    ]
    found |= {left for left, _ in everywhere}
    found |= {AUTHORITY for left, item in items if left.name == certificates.ROOT and not authority.is_own(item)}
    return _namespaces() + sorted(found)


def anywhere() -> pd.DataFrame:
    """Every object of any kind that a cluster fresh from kind would not have: kind, namespace, name, written_by (text).

    All kinds that the API server knows are looked through, by name and origin alone: no Secret's content is read into
    this process. Left out is what only Kubernetes itself wrote, what kind brings along, and what has an owner, which
    is listed in its place. A namespace that somebody labelled is in it. Raises LabError.
    """
    import pandas as pd

    written = backend.wait(
        "An answer about objects of all kinds",  # a kind that is on its way out may be gone when it is asked about
        observe=_who_wrote_what,
        done=lambda answer: not answer.returncode,
        state=lambda answer: answer.stderr.strip(),
        timeout=20,
    ).stdout
    columns = ["kind", "namespace", "name", "written_by"]
    return pd.DataFrame(parse(written), columns=columns).sort_values(columns, ignore_index=True)


def _who_wrote_what() -> backend.Completed:
    resources = backend.run(["kubectl", "api-resources", "--verbs=list", "--output=name"]).stdout.split()
    asked = ",".join(name for name in resources if name.partition(".")[0] not in _PASSING)
    template = f"go-template={_WHO_WROTE_WHAT}"
    return backend.run(["kubectl", "get", asked, "--all-namespaces", "--output", template], check=False)


def parse(written: str) -> list[dict[str, str]]:
    """Lines of kind, namespace, name, "owned" or "", and who wrote it; those that a fresh cluster would not have."""
    rows = []
    for line in written.splitlines():
        kind, namespace, name, owned, managers = line.split("\t")
        strangers = sorted({manager for manager in managers.split(",") if manager} - KUBERNETES)
        if strangers and not owned and not (namespace.startswith(KINDS_OWN) or name.startswith(KINDS_OWN)):
            rows.append({"kind": kind, "namespace": namespace, "name": name, "written_by": ", ".join(strangers)})
    return rows


def remove(found: Iterable[Leftover]) -> None:
    """Delete them, those of one kind at once, and wait until they are gone."""
    for (resource, namespace), alike in groupby(found, key=lambda left: (left.resource_and_group, left.namespace)):
        scope = ["--namespace", namespace] if namespace else []
        names = [left.name for left in alike]
        backend.run(["kubectl", "delete", resource, *names, *scope, "--ignore-not-found", "--wait"])


def _items(namespace: str, kinds: _Kinds, selector: str = "") -> Iterator[tuple[Leftover, dict[str, Any]]]:
    """What has no owner, which it would go with."""
    for group, resource in ((group, resource) for group, resources in kinds.items() for resource in resources):
        for item in objects.list_(resource, namespace, group=group, selector=selector):
            if not item["metadata"].get("ownerReferences"):
                yield Leftover(resource, group, namespace, item["metadata"]["name"]), item


def _address(left: Leftover, item: dict[str, Any]) -> tuple[str, str, str]:
    return left.group, item["kind"], left.name


def _namespaces() -> list[Leftover]:
    names = [item["metadata"]["name"] for item in objects.list_("namespaces")]
    return [
        Leftover("namespaces", "", "", name)
        for name in names
        if name not in _SYSTEM_NAMESPACES and not name.startswith("kube-")
    ]
