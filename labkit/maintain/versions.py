"""The move to newer versions: what the projects publish, written into the one file that names it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import tomlkit

from labkit import backend
from labkit.cluster.downloads import ARCHITECTURES, SYSTEMS, checksum_for
from labkit.cluster.releases import address
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import (
    GATEWAY_API_RELEASES,
    GITHUB_API,
    HELM_RELEASES,
    ISTIO_RELEASES,
    ISTIO_SOURCES,
    KIND_RELEASES,
    KUBERNETES_RELEASES,
    VERSIONS,
)

PROJECTS = ("helm", "istio", "kind")
LARGEST = 16 << 20  # bytes of an answer
NODE = re.compile(r"kindest/node:v[0-9.]+@sha256:[0-9a-f]{64}")
GATEWAY_API = re.compile(r"sigs\.k8s\.io/gateway-api v([0-9.]+)\b")
PLATFORMS = [(system, architecture) for system in SYSTEMS for architecture in ARCHITECTURES]

Sums = dict[str, str]


def move(project: str, progress: Progress, file: Path = VERSIONS) -> list[str]:
    """Write the newest release of one of PROJECTS, and the checksums of its files, into versions.toml.

    What moved, a line each: `istio 1.31.1 → 1.31.4`; none where it is the newest already, and then nothing is written.
    Comments stay. Raises LabError where a project does not answer, or publishes what is not understood.
    """
    document = tomlkit.parse(file.read_text("utf-8"))
    newest = {"helm": _helm, "istio": _istio, "kind": _kind}[project]
    with progress.stage(f"the newest {project}") as note:
        values, sums = newest(note)
    table = cast("dict[str, str]", document[project])
    moved = [f"{project} {key}: {table[key]} → {value}" for key, value in values.items() if table[key] != value]
    if moved:
        table.update(values)
        _replace(cast(Sums, document["sha256"]), sums)
        file.write_text(tomlkit.dumps(document), "utf-8")
    return moved


def _helm(note: Callable[[str], None]) -> tuple[dict[str, str], Sums]:
    version = _release("helm/helm")["tag_name"].removeprefix("v")
    names = [f"helm-v{version}-{system}-{architecture}.tar.gz" for system, architecture in PLATFORMS]
    published = [_published(f"{HELM_RELEASES}/{name}", ".sha256sum", note) for name in names]
    keys = [f"helm-{version}-{system}-{architecture}" for system, architecture in PLATFORMS]
    return {"version": version}, dict(zip(keys, published, strict=True))


def _istio(note: Callable[[str], None]) -> tuple[dict[str, str], Sums]:
    version = _release("istio/istio")["tag_name"]
    found = GATEWAY_API.search(_text(f"{ISTIO_SOURCES}/{version}/go.mod"))
    if not found:
        raise _unknown(f"Istio {version}'s go.mod", "a version of the Gateway API")
    names = [f"istio-{version}-{SYSTEMS[system]}-{architecture}.tar.gz" for system, architecture in PLATFORMS]
    sums = {name: _published(f"{ISTIO_RELEASES}/{version}/{name}", ".sha256", note) for name in names}
    definitions = _text(f"{GATEWAY_API_RELEASES}/v{found[1]}/standard-install.yaml")
    gateway_api = {"gateway_api": found[1], "gateway_api_sha256": hashlib.sha256(definitions.encode()).hexdigest()}
    return {"version": version, **gateway_api}, sums


def _kind(note: Callable[[str], None]) -> tuple[dict[str, str], Sums]:
    """kind, and the node image that its notes name first: the newest Kubernetes that it was tested with."""
    release = _release("kubernetes-sigs/kind")
    version = release["tag_name"].removeprefix("v")
    node = NODE.search(release["body"])
    if not node:
        raise _unknown(f"kind {version}'s notes", "a node image with its digest")
    kubernetes = node[0].partition("@")[0].rpartition(":v")[2]
    sums = {}
    for system, architecture in PLATFORMS:
        kind = f"{KIND_RELEASES}/v{version}/kind-{system}-{architecture}"
        kubectl = f"{KUBERNETES_RELEASES}/v{kubernetes}/bin/{system}/{architecture}/kubectl"
        sums[f"kind-{version}-{system}-{architecture}"] = _published(kind, ".sha256sum", note)
        sums[f"kubectl-{kubernetes}-{system}-{architecture}"] = _published(kubectl, ".sha256", note)
    return {"version": version, "node_image": node[0]}, sums


def _release(repository: str) -> dict[str, str]:
    """GitHub's answer for the newest release: https://docs.github.com/rest/releases/releases#get-the-latest-release"""
    url = f"{GITHUB_API}/{repository}/releases/latest"
    try:
        answer = json.loads(_text(url))
        return {"tag_name": str(answer["tag_name"]), "body": str(answer["body"])}
    except (ValueError, LookupError, TypeError) as error:
        raise _unknown(url, "a release with its tag and notes") from error


def _published(url: str, suffix: str, note: Callable[[str], None]) -> str:
    name = url.rpartition("/")[2]
    note(name)
    return checksum_for(name, _text(url + suffix), url + suffix)


def _text(url: str) -> str:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "answer"
        backend.download(address(url), file, largest=LARGEST)
        return file.read_text("utf-8", "replace")


def _replace(sums: Sums, fresh: Sums) -> None:
    """The checksums of the programs that moved take the place of their older ones."""
    programs = {name.partition("-")[0] for name in fresh}
    for name in [name for name in sums if name.partition("-")[0] in programs]:
        del sums[name]
    sums.update(fresh)


def _unknown(where: str, what: str) -> LabError:
    return LabError(f"{where} names nothing to move to.", f"the course looks for {what} there", "see what it says now")
