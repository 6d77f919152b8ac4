"""The authority that istiod signs with: its own, or one that somebody plugged in as a Secret.

https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import certificates, istio, objects, proxy
from labkit.mesh.istio import CONTROL_PLANE
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.mesh.proxy.pods import with_proxy
from labkit.mesh.workloads import deployments, workload
from labkit.settings import NAMESPACE

SECRET = "cacerts"  # noqa: S105  the name under which istiod looks for an authority, no secret itself
OWN = "O=cluster.local"  # the one that istiod made for itself is called by the mesh's trust domain
_SECRETS = f"/api/v1/namespaces/{ISTIO}/secrets"
_LOOKED = "istio-lab/looked-for-roots"  # an annotation


def is_own(roots: Mapping[str, Any]) -> bool:
    """Whether the mesh's roots are istiod's own, and nothing else; roots: a ConfigMap of them, from the API server."""
    try:
        return list(certificates.parse(str(roots["data"]["root-cert.pem"])).subject) == [OWN]
    except (LabError, KeyError, TypeError):
        return True  # there is nothing to be learnt from it


def unplug(report: Callable[[str], None] = lambda _: None) -> None:
    """Have istiod sign with its own authority again, and restart whoever holds a certificate of another one.

    Without this, pods made from now on would not trust those of before. Until all is done the Secret is there, empty,
    so that whoever finds it goes on where this was interrupted. Raises LabError.
    """
    if objects.find("deployments", CONTROL_PLANE, ISTIO, group="apps"):
        _delete()
        _hold_its_place()
        _restart([CONTROL_PLANE], ISTIO, report)
        for namespace in (NAMESPACE, ISTIO):
            _wait_for_its_root(namespace, report)
        for namespace in (NAMESPACE, ISTIO):
            _restart(_signed_by_another(namespace), namespace, report)
            _have_mounts_renewed(namespace)
        _wait_for_connections(report)
    _delete()


def _delete() -> None:
    backend.run(["kubectl", "delete", "secret", SECRET, "--namespace", ISTIO, "--ignore-not-found"])


def _hold_its_place() -> None:
    """An empty Secret, whatever type the other one had; to istiod it is none."""
    metadata = {"name": SECRET, "labels": dict([objects.OURS])}
    backend.kubernetes("POST", _SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


def _restart(names: list[str], namespace: str, report: Callable[[str], None]) -> None:
    there = deployments(namespace)
    paths = [f"deployment/{name}" for name in names if name in there]
    if paths:
        backend.run(["kubectl", "rollout", "restart", *paths, "--namespace", namespace])
    for path in paths:
        backend.run(["kubectl", "rollout", "status", path, "--namespace", namespace, "--timeout=180s"], on_line=report)


def _wait_for_its_root(namespace: str, report: Callable[[str], None]) -> None:
    """A pod that is made before would not trust istiod."""
    backend.wait(
        f"Istio's own root in namespace {namespace}",
        observe=lambda: list(certificates.root(namespace).subject),
        done=lambda roots: roots == [OWN],
        state=lambda roots: f"there is {', '.join(roots)}",
        timeout=60,
        report=report,
    )


def _signed_by_another(namespace: str) -> list[str]:
    """The names of the workloads of which a proxy holds no certificate that leads to the mesh's root."""
    root = certificates.root(namespace)
    with backend.threads() as pool:
        pods = with_proxy(namespace)
        left = pool.map(lambda pod: not _leads_to(root, pod["metadata"]["name"], namespace), pods)
        return sorted({workload(pod) for pod, is_left in zip(pods, left, strict=True) if is_left})


def _leads_to(root: Any, pod: str, namespace: str) -> bool:
    """Also of a pod that is gone: nobody has to restart it."""
    try:
        certificates.verify(certificates.chain(pod, namespace), root)
    except certificates.PodGone:
        return True
    except LabError:
        return False
    return True


def _have_mounts_renewed(namespace: str) -> None:
    """A proxy's agent knows istiod by a mounted ConfigMap, which the kubelet would look at only within a minute and a
    half; a pod that changes is looked at there and then.

    https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically
    """
    change = {"metadata": {"annotations": {_LOOKED: f"{backend.unix_time():.0f}"}}}
    for pod in with_proxy(namespace):
        path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
        try:
            backend.kubernetes("PATCH", path, change, content_type="application/merge-patch+json")
        except backend.KubernetesError as error:
            if error.status != 404:  # it was on its way out
                raise


def _wait_for_connections(report: Callable[[str], None]) -> None:
    backend.wait(
        "Each proxy's connection to istiod",
        observe=_unconnected,
        done=lambda missing: not missing,
        state=lambda missing: f"not connected: {', '.join(missing)}" if missing else "all are connected",
        timeout=120,
        report=report,
    )


def _unconnected() -> list[str]:
    """Proxies (POD.NAMESPACE) that istiod made and does not know of; or its own pods, as long as there are two."""
    istiods = [pod["metadata"]["name"] for pod in objects.list_("pods", ISTIO, selector=f"app={CONTROL_PLANE}")]
    if len(istiods) > 1:
        return istiods
    pods = [pod for namespace in (NAMESPACE, ISTIO) for pod in with_proxy(namespace) if _is_istiods(pod)]
    return sorted({"{name}.{namespace}".format_map(pod["metadata"]) for pod in pods} - _connected())


def _is_istiods(pod: dict[str, Any]) -> bool:
    """One of a revision that was removed finds nobody to connect to."""
    return objects.is_ready(pod) and istio.revision(pod) in ("", istio.DEFAULT)


def _connected() -> set[str]:
    try:
        return set(proxy.sync_status().name)
    except LabError:  # istiod is about to answer
        return set()
