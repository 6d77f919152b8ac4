"""Providers that the labs add to the mesh's settings: where lines of a log go, and whom a proxy asks about a request.

Istio's profiles name none of these kinds.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

from typing import Any

import yaml

from labkit import backend
from labkit.mesh import objects
from labkit.mesh.istio import NAMESPACE

CONFIG, FILE = "istio", "mesh"
_ADDED = {"envoyFileAccessLog", "envoyExtAuthzHttp", "envoyExtAuthzGrpc"}


def names() -> list[str]:
    """The names of those providers, sorted; none where the mesh has no settings."""
    return sorted(each.get("name", "") for each in _config().get("extensionProviders") or [] if _is_added(each))


def remove() -> None:
    """Take them out of the mesh's settings, and leave all else as it is. istiod hears of it by itself."""
    config = _config()
    kept = [each for each in config.get("extensionProviders") or [] if not _is_added(each)]
    mesh = yaml.safe_dump({**config, "extensionProviders": kept})
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG}"
    backend.kubernetes("PATCH", path, {"data": {FILE: mesh}}, content_type="application/merge-patch+json")


def _config() -> dict[str, Any]:
    found = objects.find("configmaps", CONFIG, NAMESPACE)
    return yaml.safe_load(found.get("data", {}).get(FILE, "")) or {} if found else {}


def _is_added(provider: dict[str, Any]) -> bool:
    return not _ADDED.isdisjoint(provider)
