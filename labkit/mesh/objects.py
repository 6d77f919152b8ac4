"""Kubernetes objects: read through the API, applied and deleted with kubectl, as the reader does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from labkit import backend
from labkit.commands.kinds import Kind, by_kind, by_plural
from labkit.errors import LabError

OURS = "app.kubernetes.io/part-of", "istio-lab"  # the label of what a lab puts where it cannot be told otherwise
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # what the next `kubectl apply` compares with


def get(resource: str, name: str, namespace: str = "", *, group: str = "") -> dict[str, Any]:
    """One object. `resource` is its plural (`pods`). Raises backend.KubernetesError."""
    return json.loads(backend.kubernetes("GET", f"{_collection(resource, namespace, group)}/{name}"))


def find(resource: str, name: str, namespace: str = "", *, group: str = "") -> dict[str, Any] | None:
    """One object, or None where it does not exist, or no such kind does. Raises backend.KubernetesError."""
    try:
        return get(resource, name, namespace, group=group)
    except backend.KubernetesError as error:
        if error.status == 404:
            return None
        raise


def kind_of(document: Mapping[str, Any]) -> Kind:
    """A manifest's kind. Raises LabError for one that the course does not speak of."""
    return by_kind(document["kind"], document["apiVersion"].rpartition("/")[0])


def find_like(document: Mapping[str, Any], namespace: str) -> dict[str, Any] | None:
    """What stands where this manifest's object would, or None. Raises as `kind_of` and `find` do."""
    kind = kind_of(document)
    return find(kind.plural, document["metadata"]["name"], namespace, group=kind.group)


def list_(resource: str, namespace: str = "", *, group: str = "", selector: str = "") -> list[dict[str, Any]]:
    """All objects of a kind that the label `selector` matches; none where the kind is unknown. Secrets without data."""
    query = {"labelSelector": selector} if selector else {}
    try:
        answer = json.loads(backend.kubernetes("GET", _collection(resource, namespace, group), query=query))
    except backend.KubernetesError as error:
        if error.status == 404:
            return []
        raise
    # the API leaves it out of a list's items, and of Secrets only metadata come; of no Secrets, items is null
    kind = "Secret" if resource == "secrets" else answer["kind"].removesuffix("List")
    return [{**item, "kind": kind} for item in answer["items"] or ()]


def read(manifest: Path) -> list[dict[str, Any]]:
    """The objects in a manifest. Raises LabError where the file is missing or no YAML."""
    try:
        return [document for document in yaml.safe_load_all(text(manifest)) if document]
    except yaml.YAMLError as error:
        raise _unreadable(manifest, error) from error


def text(manifest: Path) -> str:
    """A manifest as it is written. Raises LabError where the file is missing."""
    try:
        return backend.read_text(manifest)
    except OSError as error:
        raise _unreadable(manifest, error) from error


def apply(*manifests: Path, namespace: str) -> None:
    """`kubectl apply` of manifest files. Raises backend.CommandFailed."""
    files = [word for manifest in manifests for word in ("--filename", str(manifest))]
    backend.run(["kubectl", "apply", "--namespace", namespace, *files])


def put(document: dict[str, Any]) -> bool:
    """Make one object what `kubectl apply` would make it, in one request; whether that changed what it says.

    For where a command's own start would count. The object names its namespace, if its kind has one. Raises
    backend.KubernetesError.
    """
    path, name = _path_of_kind(document), document["metadata"]["name"]
    applied = json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
    annotations = {**document["metadata"].get("annotations", {}), _LAST_APPLIED: applied}
    body = {**document, "metadata": {**document["metadata"], "annotations": annotations}}
    try:
        before = json.loads(backend.kubernetes("GET", f"{path}/{name}"))
    except backend.KubernetesError as error:
        if error.status != 404:
            raise
        backend.kubernetes("POST", path, body)
        return True
    body["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
    return _says(json.loads(backend.kubernetes("PUT", f"{path}/{name}", body))) != _says(before)


def delete(*manifests: Path, namespace: str) -> None:
    """Delete what manifest files name, and wait until it is gone; what is not there is no error."""
    files = [word for manifest in manifests for word in ("--filename", str(manifest))]
    backend.run(["kubectl", "delete", "--namespace", namespace, "--ignore-not-found", "--wait", *files])


def wait_available(names: Iterable[str], namespace: str, report: Callable[[str], None], timeout: float = 180) -> None:
    """Wait until each Deployment has all its replicas available. Raises LabError with the last state seen."""
    wanted = set(names)
    backend.wait(
        f"Deployments {', '.join(sorted(wanted))} available",
        observe=lambda: _missing(wanted, namespace),
        done=lambda missing: not missing,
        state=lambda missing: "; ".join(f"{name}: {why}" for name, why in sorted(missing.items())),
        timeout=timeout,
        report=report,
    )


def _missing(wanted: set[str], namespace: str) -> dict[str, str]:
    """What is not available yet, each with the reason that its pods give."""
    seen = {d["metadata"]["name"]: d for d in list_("deployments", namespace, group="apps")}
    waiting = [name for name in wanted if not _available(seen.get(name))]
    pods = list_("pods", namespace) if waiting else []
    return {name: _why(name, pods) for name in waiting}


def _available(deployment: dict[str, Any] | None) -> bool:
    if deployment is None:
        return False
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return current and min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)) >= replicas


def _why(name: str, pods: list[dict[str, Any]]) -> str:
    for pod in pods:
        if pod["metadata"]["name"].startswith(f"{name}-"):
            return pod_state(pod)
    return "no pod yet"


def pod_state(pod: dict[str, Any]) -> str:
    """One word for a pod's state, as `kubectl get pods` has it: Running, ImagePullBackOff, PodInitializing …"""
    status = pod["status"]
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
        waiting = container["state"].get("waiting")
        if waiting:
            return waiting.get("reason", "Waiting")
    return "not ready" if status["phase"] == "Running" and not is_ready(pod) else status["phase"]


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod's Ready condition is true."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def is_serving(pod: dict[str, Any]) -> bool:
    """Whether a pod is ready, and not on its way out."""
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _unreadable(manifest: Path, error: Exception) -> LabError:
    return LabError(f"{manifest} could not be read.", str(error), "restore the file, then run the cell again")


def _path_of_kind(document: dict[str, Any]) -> str:
    """Where objects of this kind live, by the API server's own list. Raises LabError for an unknown one."""
    version, kind = document["apiVersion"], document["kind"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    known = json.loads(backend.kubernetes("GET", root))["resources"]
    found = next((each for each in known if each["kind"] == kind and "/" not in each["name"]), None)
    if found is None:
        raise LabError(
            f"The cluster knows no {kind} in {version}.",
            "its definition is not installed, or the word is another one",
            "check `apiVersion` and `kind`",
        )
    scope = f"/namespaces/{document['metadata']['namespace']}" if found["namespaced"] else ""
    return f"{root}{scope}/{found['name']}"


def _says(document: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in document.items() if field not in ("metadata", "status")}


def _collection(resource: str, namespace: str, group: str) -> str:
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{by_plural(resource, group).root}{scope}/{resource}"
