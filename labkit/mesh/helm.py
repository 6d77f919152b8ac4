"""What Helm has installed: its releases, as the Secrets in which it keeps them tell, and a way to be rid of them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import backend, session
from labkit.mesh import istio, objects
from labkit.mesh.diff import diff_each

if TYPE_CHECKING:
    import pandas as pd

_KEPT_BY = "owner=helm"  # a label of each Secret that holds a revision of a release
_OWNER = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
_READER = "istio-reader-service-account"
_EVERY_DEFINITION = ("customresourcedefinitions", "--selector", "app.kubernetes.io/part-of=istio")
_VALIDATOR = ("validatingwebhookconfigurations", "istiod-default-validator")


@dataclass(frozen=True, order=True)
class Release:
    """One by its name; `status` and `number` are those of its last revision: `deployed`, `pending-upgrade` …"""

    namespace: str
    name: str
    status: str = ""
    number: int = 0


def releases() -> list[Release]:
    """Each release in each namespace, whatever became of it, at its last revision."""
    last: dict[tuple[str, str], Release] = {}
    for secret in objects.list_("secrets", selector=_KEPT_BY):
        metadata = secret["metadata"]
        labels = metadata["labels"]
        found = Release(metadata["namespace"], labels["name"], labels["status"], int(labels["version"]))
        before = last.get((found.namespace, found.name))
        last[found.namespace, found.name] = max(before, found, key=lambda each: each.number) if before else found
    return sorted(last.values())


def release(name: str, namespace: str = istio.NAMESPACE) -> Release | None:
    """One of them, None where Helm knows none of that name."""
    return next((each for each in releases() if (each.namespace, each.name) == (namespace, name)), None)


def values(name: str, namespace: str) -> dict[str, Any]:
    """What somebody gave for a release, beside the chart's own values. Raises backend.CommandFailed for no release."""
    told = backend.run(["helm", "get", "values", name, "--namespace", namespace, "--output", "json"]).stdout
    return json.loads(told) or {}


def remove(found: Release) -> None:
    """`helm uninstall`, which takes a release in whatever state an interruption left it."""
    backend.run(["helm", "uninstall", found.name, "--namespace", found.namespace, "--ignore-not-found"])


def forget(found: Release) -> None:
    """Delete what Helm keeps of a release, and leave its objects where they are."""
    selector = f"{_KEPT_BY},name={found.name}"
    backend.run(["kubectl", "delete", "secrets", "--namespace", found.namespace, "--selector", selector])


def owner(item: dict[str, Any]) -> str:
    """The release that an object says it belongs to; "" where it says none."""
    return item["metadata"].get("annotations", {}).get(_OWNER[0], "")


def adopted_by() -> str:
    """The release that has taken over what istioctl installed before its control plane: the base chart's objects.

    One of them tells of all, the smallest; "" where nothing was taken over.
    """
    found = objects.find("serviceaccounts", _READER, istio.NAMESPACE)
    return owner(found) if found else ""


def disown() -> None:
    """Take Helm's name off them, off the one that tells of all at last: until then work is left."""
    off = [f"{annotation}-" for annotation in _OWNER]
    for what in (_EVERY_DEFINITION, _VALIDATOR, ("serviceaccount", _READER, "--namespace", istio.NAMESPACE)):
        backend.run(["kubectl", "annotate", *what, *off])


def compare(by_helm: str, by_istioctl: str) -> pd.DataFrame:
    """What differs between two manifests, field by field: object, field, change, before, after.

    by_helm: as after `helm template`. by_istioctl: as after `istioctl manifest generate`. Nothing is installed. An
    object that only one of them has is one row without a field. ConfigMap `values`, a record of all settings, is left
    out.
    """
    rendered = (
        backend.run([*program, *shlex.split(told)], cwd=session.reader_folder()).stdout
        for program, told in ((("helm", "template"), by_helm), (("istioctl", "manifest", "generate"), by_istioctl))
    )
    return diff_each(*map(istio.by_identity, rendered))
