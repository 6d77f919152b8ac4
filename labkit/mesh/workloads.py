"""Services, pods and deployments as frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.mesh import objects
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

PROXY = "istio-proxy"


def pods(namespace: str = NAMESPACE, selector: str = "") -> pd.DataFrame:
    """Pods, one a row: pod, workload, version, ready, state, containers, sidecar, ip (all text but the booleans).

    `containers` are those that stay: native sidecars, which Kubernetes lists as init containers, among them.
    """
    import pandas as pd

    columns = ["pod", "workload", "version", "ready", "state", "containers", "sidecar", "ip"]
    rows = [_pod_row(pod) for pod in objects.list_("pods", namespace, selector=selector)]
    return pd.DataFrame(rows, columns=columns).sort_values("pod", ignore_index=True)


def services(namespace: str = NAMESPACE) -> pd.DataFrame:
    """Services, one a row: service, type, cluster_ip, ports, pods (names of the ready pods behind it)."""
    import pandas as pd

    found = [pod for pod in objects.list_("pods", namespace) if objects.is_ready(pod)]
    rows = [_service_row(service, found) for service in objects.list_("services", namespace)]
    return pd.DataFrame(rows, columns=["service", "type", "cluster_ip", "ports", "pods"]).sort_values(
        "service", ignore_index=True
    )


def deployments(namespace: str) -> dict[str, dict[str, Any]]:
    """Deployments by name; without those that are on their way out."""
    found = objects.list_("deployments", namespace, group="apps")
    return {d["metadata"]["name"]: d for d in found if not d["metadata"].get("deletionTimestamp")}


def running_containers(pod: dict[str, Any]) -> list[str]:
    """The names of a pod's containers that stay, native sidecars first."""
    return [container["name"] for container in staying(pod)]


def has_envoy(pod: dict[str, Any]) -> bool:
    """Whether there is an Envoy in a pod: ztunnel's container bears the same name."""
    return PROXY in running_containers(pod) and pod["metadata"].get("labels", {}).get("app") != "ztunnel"


def staying(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """A pod's containers that stay, native sidecars first.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    sidecars = [c for c in pod["spec"].get("initContainers", []) if c.get("restartPolicy") == "Always"]
    return [*sidecars, *pod["spec"]["containers"]]


def workload(pod: dict[str, Any]) -> str:
    """The Deployment a pod belongs to, or the pod's own name."""
    owners = pod["metadata"].get("ownerReferences") or [{}]
    name, template = owners[0].get("name"), pod["metadata"].get("labels", {}).get("pod-template-hash")
    return name.removesuffix(f"-{template}") if name else pod["metadata"]["name"]


def _pod_row(pod: dict[str, Any]) -> dict[str, Any]:
    containers = running_containers(pod)
    return {
        "pod": pod["metadata"]["name"],
        "workload": workload(pod),
        "version": pod["metadata"].get("labels", {}).get("version", ""),
        "ready": objects.is_ready(pod),
        "state": objects.pod_state(pod),
        "containers": ", ".join(containers),
        "sidecar": PROXY in containers,
        "ip": pod["status"].get("podIP", ""),
    }


def _service_row(service: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    spec = service["spec"]
    behind = [p["metadata"]["name"] for p in found if _matches(spec.get("selector"), p["metadata"].get("labels", {}))]
    return {
        "service": service["metadata"]["name"],
        "type": spec["type"],
        "cluster_ip": spec.get("clusterIP", ""),
        "ports": ", ".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports", [])),
        "pods": ", ".join(sorted(behind)),
    }


def _matches(selector: dict[str, str] | None, labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items() if selector else False
