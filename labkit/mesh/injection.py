"""The sidecar: what injection adds to a pod, and the rules that send the pod's traffic through it."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.mesh.diff import diff
from labkit.mesh.workloads import workload
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

INIT_CONTAINER = "istio-init"
DEACTIVATED = "istio.io/deactivated"  # a label of no namespace: how Istio retires webhooks that a revision tag replaced
# What differs between any two pods of one Deployment and says nothing about injection.
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")
_OWN = (
    "name",
    "generateName",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "ownerReferences",
    "managedFields",
)
_VERDICTS = {"accept", "drop", "goto", "jump", "redirect", "reject", "return", "tproxy"}


def pod(workload_name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """The live pod of a Deployment (its newest), as Kubernetes has it now. Raises LabError where there is none."""
    found = [p for p in objects.list_("pods", namespace) if workload(p) == workload_name]
    living = [p for p in found if not p["metadata"].get("deletionTimestamp")]
    if not living:
        raise LabError(
            f"{workload_name} has no pod in namespace {namespace}.",
            "its Deployment does not exist, or its pod is still being made",
            "run the cell that applies it, then this one again",
        )
    return max(living, key=lambda p: p["metadata"]["creationTimestamp"])


def pod_diff(before: dict[str, Any], after: dict[str, Any]) -> pd.DataFrame:
    """What injection changed in a pod: field, change, before, after, without what differs from pod to pod anyway."""
    return diff(_comparable(before), _comparable(after))


def webhooks() -> pd.DataFrame:
    """When the API server asks istiod about a new pod: webhook, namespace_labels, pod_labels, if_istiod_is_silent.

    Labels are in the syntax of `kubectl get --selector`; both must match. Webhooks that can match nothing are left out.
    """
    import pandas as pd

    rows = [
        {
            "webhook": webhook["name"],
            "namespace_labels": _selector(webhook["namespaceSelector"]),
            "pod_labels": _selector(webhook["objectSelector"]),
            "if_istiod_is_silent": webhook["failurePolicy"],
        }
        for webhook in injectors()
        if DEACTIVATED not in webhook["namespaceSelector"].get("matchLabels", {})
    ]
    return pd.DataFrame(rows, columns=["webhook", "namespace_labels", "pod_labels", "if_istiod_is_silent"])


def injectors() -> list[dict[str, Any]]:
    """The webhooks by which the API server asks istiod about a new pod."""
    return [webhook for configuration in configurations() for webhook in configuration.get("webhooks", [])]


def configurations(*labels: str) -> list[dict[str, Any]]:
    """The objects that hold these webhooks, one for each revision and each tag; those that `labels` match too."""
    selector = ",".join(["app=sidecar-injector", *labels])
    return objects.list_("mutatingwebhookconfigurations", group="admissionregistration.k8s.io", selector=selector)


def rehearse(labels: str = "", output: str = "") -> backend.Completed:
    """Ask for a pod without making it: the API server asks every webhook about it, and stores nothing.

    labels, output: as `kubectl run` takes them. https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
    """
    command = ["kubectl", "run", "rehearsal", "--image=rehearsal", *([f"--labels={labels}"] if labels else [])]
    return backend.run([*command, "--dry-run=server", *([f"--output={output}"] if output else [])], check=False)


def redirect_rules(pod: dict[str, Any]) -> pd.DataFrame:
    """The iptables rules that the pod's init container put in place: chain, match, target, to_port.

    Read from istio-init's log, where istio-iptables prints its input to `iptables-restore`.
    Raises LabError where the pod has no such container.
    """
    meta = pod["metadata"]
    names = [container["name"] for container in pod["spec"].get("initContainers", [])]
    if INIT_CONTAINER not in names:
        raise LabError(
            f"{meta['name']} has no {INIT_CONTAINER} container.",
            "it was made without injection, so nothing redirects its traffic",
            "label its namespace with istio-injection=enabled and restart its Deployment",
        )
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
    return parse_rules(backend.kubernetes("GET", path, query={"container": INIT_CONTAINER}))


def parse_rules(log: str) -> pd.DataFrame:
    """The rules in istio-init's log, in their order: chain, match, target, to_port (text)."""
    import pandas as pd

    given, _, _ = log.partition("COMMIT")  # after it the log repeats the rules as the kernel reads them back
    rules = [_rule(shlex.split(line)) for line in given.splitlines() if line.startswith("-A ")]
    rules += [_native(line.split()[2:]) for line in given.splitlines() if line.startswith("add rule ")]
    return pd.DataFrame(rules, columns=["chain", "match", "target", "to_port"])


def _selector(selector: dict[str, Any]) -> str:
    labels = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    return ", ".join([*labels, *map(_requirement, selector.get("matchExpressions", []))])


def _requirement(expression: dict[str, Any]) -> str:
    key, operator = expression["key"], expression["operator"]
    if operator in ("In", "NotIn"):
        return f"{key} {operator.lower()} ({', '.join(expression['values'])})"
    return key if operator == "Exists" else f"!{key}"


def _rule(words: list[str]) -> dict[str, str]:
    jump = words.index("-j") if "-j" in words else len(words)
    after = words[jump + 1 :]
    port = {"--to-ports", "--to-port"} & set(after)  # the same to iptables
    return {
        "chain": words[1],
        "match": " ".join(words[2:jump]) or "everything",
        "target": after[0] if after else "",
        "to_port": after[after.index(port.pop()) + 1] if port else "",
    }


def _native(words: list[str]) -> dict[str, str]:
    """A rule of nftables' own, as a mesh with `nativeNftables` has: FAMILY TABLE CHAIN, a match, and a verdict.

    https://wiki.nftables.org/wiki-nftables/index.php/Quick_reference-nftables_in_10_minutes
    """
    chain, *rest = words[2:] or [""]
    verdict = next((n for n, word in enumerate(rest) if word in _VERDICTS), len(rest))
    target, *after = [word for word in rest[verdict:] if word != "counter"] or [""]
    jumps = target in ("jump", "goto") and after
    return {
        "chain": chain,
        "match": " ".join(word for word in rest[:verdict] if word != "counter") or "everything",
        "target": after[0] if jumps else target.upper(),
        "to_port": after[-1].removeprefix(":") if target in ("redirect", "tproxy") and after else "",
    }


def _comparable(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in pod["metadata"].items() if key not in _OWN}
    return json.loads(_TOKEN_VOLUME.sub("kube-api-access", json.dumps({"metadata": metadata, "spec": pod["spec"]})))
