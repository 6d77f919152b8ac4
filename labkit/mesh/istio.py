"""Istio itself: its profiles, its installation, what it made, and what its analyzers say."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from labkit import backend
from labkit.mesh import injection, objects
from labkit.mesh.diff import diff_each
from labkit.settings import GATEWAY_NODE_PORT, ISTIO, settings
from labkit.settings import NAMESPACE as READER

if TYPE_CHECKING:
    import pandas as pd

NAMESPACE = "istio-system"
PROFILE = "demo"
CONTROL_PLANE = "istiod"
GATEWAYS = ("istio-ingressgateway", "istio-egressgateway")
INJECTION_LABEL = "istio-injection"
REVISION_LABEL = "istio.io/rev"
AMBIENT_LABELS = ("istio.io/dataplane-mode", "istio.io/use-waypoint")  # of a namespace whose traffic ztunnel carries
TAG_LABEL = "istio.io/tag"
DEFAULT = "default"  # the revision of a control plane that was given none


def profiles() -> list[str]:
    """The names of the profiles in the release's manifests/profiles folder, sorted."""
    return backend.work("list the profiles", lambda _: _profiles())


def profile(name: str) -> pd.DataFrame:
    """What `istioctl install --set profile=NAME` would make, one object a row.

    Columns: kind, name, namespace, image, cpu_request, memory_request (text; "" where it has none).
    Raises backend.CommandFailed for an unknown profile.
    """
    import pandas as pd

    columns = ["kind", "name", "namespace", "image", "cpu_request", "memory_request"]
    rows = [_resource(document) for document in _manifest(name)]
    return pd.DataFrame(rows, columns=columns).sort_values(["kind", "name"], ignore_index=True)


def compare_profiles(report: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Every profile as a row: its components ("✓" or ""), then how many objects of each weight.

    Index: profile. Columns: istiod, ingress gateway, egress gateway, CNI node agent, ztunnel (text), objects,
    custom resource definitions (counts), cpu request, memory request (of all its containers, text with unit).
    """
    import pandas as pd

    names = profiles()
    with backend.threads() as pool:
        for done, _ in enumerate(pool.map(_manifest_text, names), start=1):
            report(f"{done} of {len(names)} manifests generated")
    return pd.DataFrame([_summary(name) for name in names]).set_index("profile")


def profile_diff(before: str, after: str) -> pd.DataFrame:
    """What differs between two profiles' manifests, field by field: object, field, change, before, after.

    An object that only one of them has is one row without a field. ConfigMap `values`, istioctl's own record of
    all the settings that it was given, is left out.
    """
    return diff_each(*(by_identity(_manifest_text(name)) for name in (before, after)))


def install(report: Callable[[str], None] = lambda _: None) -> None:
    """`istioctl install --set profile=demo -y`, then the gateway's port. Raises backend.CommandFailed.

    One setting more: proxies are asked every 2 s whether they are ready. A pod that is not, the first time that it is
    asked, would else be left out for 15 s.
    """
    _wait_for_deletions(report)
    often = "values.global.proxy.readinessPeriodSeconds=2"
    backend.run(
        [_istioctl(), "install", "--set", f"profile={PROFILE}", "--set", often, "-y"],
        on_line=lambda line: report(_without_banner(line)),
    )
    publish_gateway()


def _wait_for_deletions(report: Callable[[str], None]) -> None:
    """istioctl would apply onto a Deployment that is on its way out, and then find it gone."""
    backend.wait(
        "An end to Istio's deletions",
        observe=lambda: [
            d["metadata"]["name"]
            for d in objects.list_("deployments", NAMESPACE, group="apps")
            if d["metadata"].get("deletionTimestamp")
        ],
        done=lambda leaving: not leaving,
        state=lambda leaving: f"leaving: {', '.join(leaving)}" if leaving else "",
        timeout=60,
        report=report,
    )


def publish_gateway() -> None:
    """Give the ingress gateway the node port that the cluster maps to 127.0.0.1.

    kind has no cloud that hands out load balancers: `EXTERNAL-IP` would stay `<pending>`.
    """
    patch = {"spec": {"ports": [{"port": 80, "nodePort": GATEWAY_NODE_PORT}]}}
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{GATEWAYS[0]}"
    backend.kubernetes("PATCH", path, patch, content_type="application/strategic-merge-patch+json")


def uninstall() -> None:
    """`istioctl uninstall --purge -y`, and its namespace with it."""
    backend.run([_istioctl(), "uninstall", "--purge", "-y"])
    backend.run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait"])


def is_installed() -> bool:
    """Whether the control plane and both gateways of this release are available, and new pods get sidecars; in ambient
    mode it is another Istio than the course's."""
    if not objects.find("namespaces", NAMESPACE) or not injection.injectors():
        return False
    images = [
        d["spec"]["template"]["spec"]["containers"][0]["image"]
        for d in objects.list_("deployments", NAMESPACE, group="apps")
        if d["metadata"]["name"] in (CONTROL_PLANE, *GATEWAYS)
        and d["status"].get("availableReplicas")
        and not is_ambient(d)
    ]
    return len(images) == 1 + len(GATEWAYS) and all(image.endswith(f":{ISTIO}") for image in images)


def is_begun() -> bool:
    """Whether its namespace is there: with another profile, another version, or what an interruption left."""
    return objects.find("namespaces", NAMESPACE) is not None


def version() -> str:
    """The version of the control plane that is available, as its image's tag has it; "" where there is none.

    One of any revision counts. Raises backend.KubernetesError where the reader may not look into its namespace.
    """
    found = objects.list_("deployments", NAMESPACE, group="apps", selector=f"app={CONTROL_PLANE}")
    images = [
        d["spec"]["template"]["spec"]["containers"][0]["image"] for d in found if d["status"].get("availableReplicas")
    ]
    return images[0].partition("@")[0].rpartition(":")[2] if images else ""


def revision(pod: dict[str, Any]) -> str:
    """The control plane that injected a pod, and that serves its proxy; "" where none did."""
    return pod["metadata"].get("annotations", {}).get(REVISION_LABEL, "")


def other_revisions() -> list[str]:
    """The control planes beside the one of the demo profile, whole or in part, by the revisions that name them."""
    others = f"{REVISION_LABEL},{REVISION_LABEL}!={DEFAULT}"
    parts = [
        *objects.list_("deployments", NAMESPACE, group="apps", selector=f"app={CONTROL_PLANE},{others}"),
        *injection.configurations(others, f"!{TAG_LABEL}"),
    ]
    return sorted({part["metadata"]["labels"][REVISION_LABEL] for part in parts})


def tags() -> list[str]:
    """The revision tags that somebody set, whichever revision they lead to."""
    found = injection.configurations(TAG_LABEL, f"{TAG_LABEL}!={DEFAULT}")
    return sorted(tag["metadata"]["labels"][TAG_LABEL] for tag in found)


def remove_revision(name: str) -> None:
    """`istioctl uninstall --revision`: the control plane goes, its proxies keep what they know."""
    backend.run([_istioctl(), "uninstall", "--revision", name, "-y"])


def remove_tag(name: str) -> None:
    """`istioctl tag remove`: whoever names it gets no sidecars any more."""
    backend.run([_istioctl(), "tag", "remove", name, "-y"])


def is_ambient(control_plane: dict[str, Any]) -> bool:
    """Whether a control plane, by its Deployment, serves ambient mode, too."""
    told = {each["name"]: each.get("value") for c in _containers(control_plane) for each in c.get("env", [])}
    return told.get("PILOT_ENABLE_AMBIENT") == "true"


def leave_ambient(namespace: str) -> None:
    """Nobody carries a namespace's traffic any more but the sidecars that its pods may have."""
    patch = {"metadata": {"labels": dict.fromkeys(AMBIENT_LABELS)}}
    backend.kubernetes("PATCH", f"/api/v1/namespaces/{namespace}", patch, content_type="application/merge-patch+json")


def control_plane() -> dict[str, Any] | None:
    """The control plane's Deployment, where it is installed."""
    return objects.find("deployments", CONTROL_PLANE, NAMESPACE, group="apps")


def is_scaled_to_zero(control_plane: dict[str, Any] | None) -> bool:
    """Whether the control plane is installed, and somebody told it to run without a single pod."""
    return control_plane is not None and control_plane["spec"].get("replicas") == 0


def scale_up(report: Callable[[str], None] = lambda _: None) -> None:
    """Give the control plane its one pod back, and wait until it is available. Raises LabError."""
    backend.run(["kubectl", "scale", f"deployment/{CONTROL_PLANE}", f"--namespace={NAMESPACE}", "--replicas=1"])
    objects.wait_available([CONTROL_PLANE], NAMESPACE, report)


def injector_is_ready() -> bool:
    """Whether a pod made now would be injected: istiod answers its webhook."""
    endpoints = objects.find("endpoints", CONTROL_PLANE, NAMESPACE) or {}
    configured = injection.injectors()
    trusted = configured and all(w["clientConfig"].get("caBundle") for w in configured)
    return bool(trusted and any(subset.get("addresses") for subset in endpoints.get("subsets", [])))


def installed() -> pd.DataFrame:
    """The objects of the demo profile that exist in the cluster now, one a row: kind, name, namespace (text)."""
    import pandas as pd

    found = [
        (item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", "")) for item in _live_objects()
    ]
    return pd.DataFrame(found, columns=["kind", "name", "namespace"]).sort_values(["kind", "name"], ignore_index=True)


def set_injection(namespace: str, enabled: bool) -> None:
    """Put the injection label on a namespace, or take it off; one that names a revision goes."""
    value = "enabled" if enabled else None
    patch = {"metadata": {"labels": {INJECTION_LABEL: value, REVISION_LABEL: None}}}
    backend.kubernetes("PATCH", f"/api/v1/namespaces/{namespace}", patch, content_type="application/merge-patch+json")


def injection_is_enabled(namespace: str) -> bool:
    """Whether the namespace asks for sidecars, from whichever control plane or from one revision of it."""
    found = objects.find("namespaces", namespace) or {"metadata": {}}
    labels = found["metadata"].get("labels", {})
    return labels.get(INJECTION_LABEL, "enabled" if REVISION_LABEL in labels else "") == "enabled"


def analyze(namespace: str = READER) -> pd.DataFrame:
    """`istioctl analyze` as a frame: code, level, origin, message; empty where nothing is at fault.

    Raises backend.CommandFailed where it could not look, as without the permission to read what it compares with.
    """
    import pandas as pd

    argv = [_istioctl(), "analyze", "--namespace", namespace, "--output", "json"]
    completed = backend.run(argv, check=False)
    if completed.returncode and "[" not in completed.stdout:
        raise backend.CommandFailed(completed)
    findings = json.loads(completed.stdout[completed.stdout.find("[") :] or "[]")
    columns = ["code", "level", "origin", "message"]
    return pd.DataFrame(
        [{column: finding.get(column, "") for column in columns} for finding in findings], columns=columns
    )


@cache
def _manifest(name: str) -> tuple[dict[str, Any], ...]:
    return _parsed(_manifest_text(name))


@cache
def _parsed(manifest: str) -> tuple[dict[str, Any], ...]:
    return tuple(filter(None, map(_document, manifest.split("\n---\n"))))


@cache
def _document(text: str) -> dict[str, Any]:
    """Parsed once for all profiles: most of their 24,000 lines are the same custom resource definitions."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe


@cache
def _manifest_text(name: str) -> str:
    return backend.run([_istioctl(), "manifest", "generate", "--set", f"profile={name}"]).stdout


def _istioctl() -> str:
    """The release's own, whatever else is on PATH."""
    return str(settings().release_folder / "bin" / "istioctl")


def _profiles() -> list[str]:
    return sorted(path.stem for path in (settings().release_folder / "manifests" / "profiles").glob("*.yaml"))


def _live_objects() -> list[dict[str, Any]]:
    argv = ["kubectl", "get", "--ignore-not-found", "--output", "json", "--filename", "-"]
    completed = backend.run(argv, stdin=_manifest_text(PROFILE))
    return json.loads(completed.stdout or '{"items": []}')["items"]


def by_identity(manifest: str) -> dict[str, dict[str, Any]]:
    """A manifest's objects by KIND/NAME, so that two can be compared: each ConfigMap's files as what they say, and the
    ConfigMap `values` of any revision left out."""
    documents = {f"{d['kind']}/{d['metadata']['name']}": _unfolded(d) for d in _parsed(manifest)}
    return {name: document for name, document in documents.items() if not name.startswith("ConfigMap/values")}


def _unfolded(document: dict[str, Any]) -> dict[str, Any]:
    """A ConfigMap's files in place of their text, where they are YAML, so that a diff names the settings in them."""
    if document["kind"] != "ConfigMap":
        return document
    return {**document, "data": {name: _settings(text) for name, text in document.get("data", {}).items()}}


def _settings(text: str) -> Any:
    try:
        return _document(text)
    except yaml.YAMLError:
        return text


def _resource(document: dict[str, Any]) -> dict[str, str]:
    containers = _containers(document)
    requests = containers[0].get("resources", {}).get("requests", {}) if containers else {}
    return {
        "kind": document["kind"],
        "name": document["metadata"]["name"],
        "namespace": document["metadata"].get("namespace", ""),
        "image": containers[0]["image"] if containers else "",
        "cpu_request": requests.get("cpu", ""),
        "memory_request": requests.get("memory", ""),
    }


def _containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def _summary(name: str) -> dict[str, Any]:
    documents = _manifest(name)
    workloads = {d["metadata"]["name"] for d in documents if d["kind"] in ("Deployment", "DaemonSet")}
    components = {
        "istiod": CONTROL_PLANE,
        "ingress gateway": GATEWAYS[0],
        "egress gateway": GATEWAYS[1],
        "CNI node agent": "istio-cni-node",
        "ztunnel": "ztunnel",
    }
    requests = [c.get("resources", {}).get("requests", {}) for d in documents for c in _containers(d)]
    return {
        "profile": name,
        **{title: "✓" if workload in workloads else "" for title, workload in components.items()},
        "objects": len(documents),
        "custom resource definitions": sum(d["kind"] == "CustomResourceDefinition" for d in documents),
        "cpu request": f"{sum(_millicores(r.get('cpu', '0')) for r in requests)} m",
        "memory request": f"{sum(_mebibytes(r.get('memory', '0')) for r in requests)} MiB",
    }


def _millicores(quantity: str) -> int:
    return int(_quantity(quantity) * 1000)


def _mebibytes(quantity: str) -> int:
    return int(_quantity(quantity) / 2**20)


def _quantity(text: str) -> Decimal:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(str(text)))


def _without_banner(line: str) -> str:
    text = line.strip().strip("-✔ ")
    return text if text[:1].isalpha() else ""
