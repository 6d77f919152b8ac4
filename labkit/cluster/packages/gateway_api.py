"""The Kubernetes Gateway API's definitions, put together from its Go module as its own release script does it."""

from __future__ import annotations

from pathlib import Path

from labkit.cluster import downloads
from labkit.cluster.packages import go
from labkit.cluster.packages.steps import Note, Step
from labkit.settings import GATEWAY_API, GATEWAY_API_SHA256

MODULE = "sigs.k8s.io/gateway-api"
MANIFEST = "standard-install.yaml"


def manifest() -> Step:
    """A folder with the manifest of the standard channel, to the byte what the project publishes."""
    folder = f"mirror/kubernetes-sigs/gateway-api/releases/download/v{GATEWAY_API}"
    return Step(folder, (GATEWAY_API_SHA256,), _fill)


def _fill(into: Path, note: Note) -> None:
    note(MODULE)
    module = go.source(MODULE, f"v{GATEWAY_API}")
    licence = (module / "hack" / "boilerplate" / "boilerplate.sh.txt").read_text()
    definitions = sorted(module.glob("config/crd/standard/gateway*.yaml"))
    parts = (f"---\n#\n# {path.relative_to(module)}\n#\n{path.read_text()}" for path in definitions)
    (into / MANIFEST).write_text("".join([licence, "#\n# Gateway API Standard channel install\n#\n", *parts]))
    downloads.verify(into / MANIFEST, GATEWAY_API_SHA256)
