"""What stands in the cluster that no part of the course put there: a lab's or the reader's own experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from labkit import venue
from labkit.mesh import objects
from labkit.mesh.istio import NAMESPACE as ISTIO

_Kinds = dict[str, tuple[str, ...]]
_SECURITY = ("peerauthentications", "requestauthentications", "authorizationpolicies")
# Pods and ReplicaSets that a Deployment owns go with it, so only what has no owner is looked at.
_KINDS: _Kinds = {
    "": ("services", "serviceaccounts", "pods", "configmaps", "secrets"),
    "apps": ("deployments",),
    "networking.istio.io": (
        "gateways", "virtualservices", "destinationrules", "serviceentries", "sidecars", "envoyfilters",
    ),
    "security.istio.io": _SECURITY,
    "telemetry.istio.io": ("telemetries",),
    "gateway.networking.k8s.io": ("gateways", "httproutes"),
}  # fmt: skip
# What holds for the whole mesh, or for a gateway, stands beside istiod. Istio's own install puts none of these there.
_BESIDE_ISTIO: _Kinds = {
    "networking.istio.io": ("gateways", "virtualservices", "destinationrules", "serviceentries", "sidecars"),
    "security.istio.io": _SECURITY,
    "telemetry.istio.io": ("telemetries",),
    "gateway.networking.k8s.io": ("gateways", "httproutes"),
}
# Of these Istio has its own there, so that only what bears the course's label is a lab's: a gateway's certificates.
_LABELLED: _Kinds = {"": ("secrets",)}
_NOT_LEFT = {
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "istio-ca-root-cert"),
    ("ConfigMap", "istio-ca-crl"),
    ("ServiceAccount", "default"),
    ("Service", "kubernetes"),
}
_SYSTEM_NAMESPACES = {"default", "istio-system", "local-path-storage"}


@dataclass(frozen=True, order=True)
class Leftover:
    """An object by its address; `namespace` is "" for a namespace itself."""

    resource: str
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.removesuffix('s')} {self.name}"

    @property
    def resource_and_group(self) -> str:
        """As kubectl takes it: `gateways.networking.istio.io`, which is not `gateways.gateway.networking.k8s.io`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def find(namespace: str, known: Iterable[dict[str, Any]]) -> list[Leftover]:
    """Namespaces that labs made, and objects that are not among the `known` manifests' objects.

    Looked for in `namespace`, and in Istio's own, where what is meant for the whole mesh or for a gateway stands.
    """
    expected = {(document["kind"], document["metadata"]["name"]) for document in known} | _NOT_LEFT
    found = [*_unexpected(namespace, _KINDS, expected), *_unexpected(ISTIO, _BESIDE_ISTIO, set())]
    return _namespaces() + sorted([*found, *_unexpected(ISTIO, _LABELLED, set(), "=".join(objects.OURS))])


def remove(found: Iterable[Leftover]) -> None:
    """Delete them, those of one kind at once, and wait until they are gone."""
    for (resource, namespace), alike in groupby(found, key=lambda left: (left.resource_and_group, left.namespace)):
        scope = ["--namespace", namespace] if namespace else []
        names = [left.name for left in alike]
        venue.run(["kubectl", "delete", resource, *names, *scope, "--ignore-not-found", "--wait"])


def _unexpected(
    namespace: str, kinds: _Kinds, expected: set[tuple[str, str]], selector: str = ""
) -> Iterator[Leftover]:
    for group, resource in ((group, resource) for group, resources in kinds.items() for resource in resources):
        for item in objects.list_(resource, namespace, group=group, selector=selector):
            owned = item["metadata"].get("ownerReferences")
            if not owned and (item["kind"], item["metadata"]["name"]) not in expected:
                yield Leftover(resource, group, namespace, item["metadata"]["name"])


def _namespaces() -> list[Leftover]:
    names = [item["metadata"]["name"] for item in objects.list_("namespaces")]
    return [
        Leftover("namespaces", "", "", name)
        for name in names
        if name not in _SYSTEM_NAMESPACES and not name.startswith("kube-")
    ]
