"""Which pods have a proxy, and the way to its administration interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import injection, objects
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.mesh.workloads import PROXY, has_envoy, running_containers
from labkit.settings import ADMIN_PORT, NAMESPACE

GATEWAY_API = "gateway.networking.k8s.io"
_EVERYBODYS = {("", "Service"), ("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")}

Pod = dict[str, Any]


def find(pod: str) -> Pod:
    """The pod that `NAME`, `deploy/NAME` or either with `.NAMESPACE` means. Raises LabError where it has no proxy."""
    name, _, namespace = pod.partition(".")
    kind, _, workload = name.rpartition("/")
    found = injection.pod(workload, namespace or NAMESPACE) if kind else _named(name, namespace or NAMESPACE)
    if not has_envoy(found):
        raise LabError(
            f"{pod} has no {PROXY} container.",
            "it was made without injection, so there is no Envoy in it",
            "label its namespace with istio-injection=enabled and restart its Deployment",
        )
    return found


def with_proxy(namespace: str = "", labels: Mapping[str, str] | None = None) -> list[Pod]:
    """The living pods of a namespace (of all, without one) that have a proxy, and these labels."""
    selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
    found = [pod for pod in objects.list_("pods", namespace, selector=selector) if has_envoy(pod)]
    return [p for p in found if p["status"].get("phase") == "Running" and "deletionTimestamp" not in p["metadata"]]


def concerned(document: Mapping[str, Any]) -> list[Pod]:
    """The proxies that an object is for, by its own words; none for one of which istiod makes no configuration.

    An Istio object's selector decides, or the gateways that it names; else it is for each sidecar of its namespace, and
    in Istio's own namespace for each of the mesh. https://istio.io/latest/docs/reference/config/. A route of the
    Gateway API is for its parents: https://gateway-api.sigs.k8s.io/mesh/. Services are everybody's.
    """
    spec, namespace = document.get("spec") or {}, document["metadata"]["namespace"]
    group = document["apiVersion"].rpartition("/")[0]
    if group == GATEWAY_API:
        return _by_gateway_api(document)
    if (group, document["kind"]) in _EVERYBODYS:
        return with_proxy()
    if not group.endswith("istio.io"):
        return []
    if document["kind"] == "Gateway":
        return with_proxy(labels=spec.get("selector"))
    if document["kind"] == "VirtualService" and spec.get("gateways"):
        return [pod for gateway in spec["gateways"] for pod in _behind(gateway, namespace)]
    selector = spec.get("selector") or spec.get("workloadSelector") or {}
    labels = selector.get("matchLabels") or selector.get("labels")
    scope = "" if namespace == ISTIO else namespace
    return with_proxy(scope, labels) if labels else _sidecars(scope)


def admin(pod: Pod) -> AbstractContextManager[Callable[[str], str]]:
    """Envoy's administration interface: `with` it, get(path) returns text. See backend.port_forward for what it raises.

    https://www.envoyproxy.io/docs/envoy/latest/operations/admin
    """
    return backend.port_forward(pod["metadata"]["namespace"], pod["metadata"]["name"], ADMIN_PORT)


def _named(name: str, namespace: str) -> Pod:
    found = objects.find("pods", name, namespace)
    if found is None:
        raise LabError(
            f"There is no pod {name} in namespace {namespace}.",
            "its Deployment may have replaced it, or the name is another one",
            "`%kubectl get pods` lists them; deploy/NAME means whichever pod a Deployment has now",
        )
    return found


def _behind(gateway: str, namespace: str) -> list[Pod]:
    """A VirtualService names a Gateway as NAME or NAMESPACE/NAME, and the sidecars as `mesh`."""
    if gateway == "mesh":
        return _sidecars(namespace)
    scope, _, name = gateway.rpartition("/")
    found = objects.find("gateways", name, scope or namespace, group="networking.istio.io")
    return with_proxy(labels=found["spec"].get("selector")) if found else []


def _by_gateway_api(document: Mapping[str, Any]) -> list[Pod]:
    metadata = document["metadata"]
    if document["kind"] == "Gateway":
        return _of_gateway(metadata["name"], metadata["namespace"])
    parents = (document.get("spec") or {}).get("parentRefs")
    if parents is None:
        return with_proxy()  # a grant, or a policy for whoever calls a Service
    found: list[Pod] = []
    for parent in parents:
        is_service = parent.get("kind", "Gateway") == "Service"
        scope = parent.get("namespace", metadata["namespace"])
        found += _sidecars("") if is_service else _of_gateway(parent["name"], scope)
    return found


def _of_gateway(name: str, namespace: str) -> list[Pod]:
    """Istio labels what it deploys for a Gateway: https://gateway-api.sigs.k8s.io/geps/gep-1762/"""
    return with_proxy(namespace, {"gateway.networking.k8s.io/gateway-name": name})


def _sidecars(namespace: str) -> list[Pod]:
    """A gateway's Envoy stands in a container of its pod's own, among no others."""
    return [pod for pod in with_proxy(namespace) if len(running_containers(pod)) > 1]
