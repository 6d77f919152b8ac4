"""Who may be asked whether a request is allowed: providers in the mesh's configuration. Istio's profiles name none.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

from typing import Any

import yaml

from labkit import backend
from labkit.mesh import objects
from labkit.mesh.istio import NAMESPACE

CONFIG, FILE = "istio", "mesh"
_ASKED = {"envoyExtAuthzHttp", "envoyExtAuthzGrpc"}


def names() -> list[str]:
    """The providers that authorize, sorted; none where the mesh has no configuration."""
    return sorted(each.get("name", "") for each in _config().get("extensionProviders") or [] if _authorizes(each))


def remove() -> None:
    """Take them out of the mesh's configuration, and leave all else as it is. istiod hears of it by itself."""
    config = _config()
    kept = [each for each in config.get("extensionProviders") or [] if not _authorizes(each)]
    mesh = yaml.safe_dump({**config, "extensionProviders": kept})
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG}"
    backend.kubernetes("PATCH", path, {"data": {FILE: mesh}}, content_type="application/merge-patch+json")


def _config() -> dict[str, Any]:
    found = objects.find("configmaps", CONFIG, NAMESPACE)
    return yaml.safe_load(found.get("data", {}).get(FILE, "")) or {} if found else {}


def _authorizes(provider: dict[str, Any]) -> bool:
    return not _ASKED.isdisjoint(provider)
