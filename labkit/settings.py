"""Versions, folders, addresses and environment variables: each stands here and nowhere else."""

from __future__ import annotations

import functools
import os
import platform
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import platformdirs

from labkit.errors import LabError

IN_CONTEXT = "context:"  # what a context's name has before it in LABKIT_VENUE
VENUES = ("kind", "recorded", f"{IN_CONTEXT}NAME")
SOURCES = ("bundle", "releases", "packages")


# labs that make namespaces, install Istio or change what it signs with: in a context they go on recorded
BEYOND_A_NAMESPACE = frozenset({"01", "03", "13", "21", "22", "23", "24", "26", "27", "28", "29", "99"})
_NOTEBOOK = "JPY_SESSION_NAME"  # the path of the notebook whose kernel this is, as Jupyter's server tells it


def is_beyond_a_namespace(environment: Mapping[str, str]) -> bool:
    """Whether this is the kernel of a notebook that needs more of a cluster than a namespace."""
    return notebook_of(environment) in BEYOND_A_NAMESPACE


def notebook_of(environment: Mapping[str, str]) -> str:
    """The digits of the notebook whose kernel this is, where Jupyter's server tells it."""
    return Path(environment.get(_NOTEBOOK, "")).name.partition("-")[0]


def _venue(environment: Mapping[str, str]) -> str:
    """What LABKIT_VENUE says, or "recorded" where that names a context and the notebook needs more of it."""
    named = environment.get("LABKIT_VENUE") or ""
    return "recorded" if named.startswith(IN_CONTEXT) and is_beyond_a_namespace(environment) else named


def _environment(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def _context() -> str:
    venue = _venue(os.environ)
    return venue.removeprefix(IN_CONTEXT) if venue.startswith(IN_CONTEXT) else ""


def _namespace() -> str:
    """In the course's own cluster, the one that notebooks say; in somebody else's, the one that the reader says."""
    return _environment("LABKIT_NAMESPACE") if _context() else "default"


# -- versions: versions.toml names them; the weekly run overrides them to meet the newest ------
VERSIONS = Path(__file__).with_name("versions.toml")
_pinned = tomllib.loads(VERSIONS.read_text("utf-8"))

ISTIO = _environment("LABKIT_ISTIO", _pinned["istio"]["version"])
KIND = _environment("LABKIT_KIND", _pinned["kind"]["version"])
HELM: str = _pinned["helm"]["version"]
NODE_IMAGE, _, NODE_IMAGE_DIGEST = _environment("LABKIT_NODE_IMAGE", _pinned["kind"]["node_image"]).partition("@")
KUBERNETES = NODE_IMAGE.rpartition(":v")[2]
GATEWAY_API: str = _pinned["istio"]["gateway_api"]
GATEWAY_API_SHA256: str = _pinned["istio"]["gateway_api_sha256"]
SHA256: Mapping[str, str] = _pinned["sha256"]  # by file: PROGRAM-VERSION-SYSTEM-ARCHITECTURE, or an archive's name

_packages: Mapping[str, str] = _pinned["packages"]
ISTIO_MODULE = _packages["istio_module"]
ISTIO_HUB = "docker.io/istio"
ISTIO_REVISION = ISTIO_MODULE.rpartition("-")[2]
ENVOY = _packages["envoy"]
FORTIO = _packages["fortio"]
PROMETHEUS = _packages["prometheus"]
JAEGER = _packages["jaeger"]
DEBIAN = _packages["debian"]
DEBIAN_PYTHON = _packages["debian_python"]
BUILD_GO = _packages["build_go"]
HUB: Mapping[str, str] = _pinned["hub"]

# -- names and addresses of the course's own cluster ------------------------------------------
CLUSTER = "istio-lab"
NAMESPACE = _namespace()  # the reader's, for as long as a kernel lives
GATEWAY_HOST = "127.0.0.1"
GATEWAY_PORT = 8080
GATEWAY_NODE_PORT = 30080
# https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio
ADMIN_PORT, STATS_PORT, DEBUG_PORT = 15000, 15090, 15014  # Envoy's, its counters', istiod's
CLASS_PORT = 8765  # of a trainer's board

# -- where releases are published -------------------------------------------------------------
KIND_RELEASES = "https://github.com/kubernetes-sigs/kind/releases/download"
KUBERNETES_RELEASES = "https://dl.k8s.io/release"
ISTIO_RELEASES = "https://github.com/istio/istio/releases/download"
HELM_RELEASES = "https://get.helm.sh"
GATEWAY_API_RELEASES = "https://github.com/kubernetes-sigs/gateway-api/releases/download"
DOCKER_HUB = "https://registry-1.docker.io"
GITHUB_API = "https://api.github.com/repos"
ISTIO_DOCS = "https://istio.io/latest/docs/"
EXAM_PAGE = "https://training.linuxfoundation.org/certification/istio-certified-associate-ica/"
ISTIO_SOURCES = "https://raw.githubusercontent.com/istio/istio"

REPOSITORY = Path(__file__).resolve().parent.parent
MANIFESTS = REPOSITORY / "manifests"
NOTEBOOKS = REPOSITORY / "notebooks"
RECORDINGS = NOTEBOOKS / "recordings"
SITE = REPOSITORY / "build" / "site"
SLIDES = REPOSITORY / "build" / "slides"


def _architecture() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine, machine)


_HOST = re.compile(r"[\w.:-]+")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # of a namespace: https://www.rfc-editor.org/rfc/rfc1123
_CLUSTER = re.compile(r"[a-z0-9][a-z0-9.-]{0,48}")  # kind's own rule, and with `-control-plane` still a host's name
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?")
_NODE = re.compile(r"[a-z0-9][a-z0-9._:/-]*:v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(@sha256:[0-9a-f]{64})?")


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


@dataclass(frozen=True)
class Settings:
    """What the environment decides.

    LABKIT_HOME       the course's own folder: binaries, kubeconfig, progress
    LABKIT_CACHE      downloads and builds; clusters with homes of their own can share it
    LABKIT_CLUSTER    the kind cluster's name
    LABKIT_PORT       the gateway's port on 127.0.0.1
    LABKIT_SOURCE     "bundle", "releases" or "packages"; without it the course picks (see cluster.sources)
    LABKIT_DOWNLOADS  a base URL that stands in for every download host (a company's mirror)
    LABKIT_REGISTRY   a registry host[:port] that stands in for every image registry
    LABKIT_VENUE      "kind", "recorded" or "context:NAME"; without it the course picks (see labkit.notebook.choosing)
    LABKIT_NAMESPACE  in a context: the reader's own namespace there, which the course may empty (see NAMESPACE)
    LABKIT_GATEWAY    in a context: the address of its ingress gateway, where its Service has none
    KUBECONFIG        in a context: where that context is read from; nothing is ever written there
    LABKIT_RECORDER   where a kernel of `labkit record` writes down what it asks: nobody else sets it
    LABKIT_HEADLESS   "1": live views draw their final frame only, and recorded ones do not pause

    A relative folder lies in this repository, wherever the process that reads it was started.
    """

    home: Path
    cache: Path
    cluster: str
    port: int
    source: str
    downloads: str
    registry: str
    venue: str
    gateway: str
    readers_kubeconfig: str
    recorder: str
    headless: bool
    context: str
    system: str = field(default_factory=lambda: platform.system().lower())
    architecture: str = field(default_factory=_architecture)

    @property
    def bin(self) -> Path:
        """kind, kubectl, istioctl, helm: first on the PATH of every command the course runs."""
        return self.home / "bin"

    @property
    def helm_folder(self) -> Path:
        """What helm keeps on disk: the reader's own repositories and plugins are none of the course's."""
        return self.home / "helm"

    @property
    def kubeconfig(self) -> Path:
        """The only kubeconfig that the course reads or writes; in a context, this process's own."""
        return self.context_folder / f"kubeconfig-{os.getpid()}" if self.context else self.home / "kubeconfig"

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
        """The lab that was entered last: where the reader is, live or played back."""
        return self.home / "lab.json"

    @property
    def progress_record(self) -> Path:
        """What the reader predicted, checked and solved, and how it came out."""
        return self.home / "progress.json"

    @property
    def class_record(self) -> Path:
        """The class that the reader joined, and what was told there."""
        return self.home / "class.json"

    @property
    def class_store(self) -> Path:
        """What a trainer's board knows of its class."""
        return self.home / "class.sqlite"

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


@functools.cache
def settings() -> Settings:
    """What the environment said when this process first asked. Raises LabError for a value that is none."""
    return read(os.environ)


def read(environment: Mapping[str, str]) -> Settings:
    """The settings that an environment decides; empty is as unset. Raises LabError for a value that is none."""
    given = {name: value for name, value in environment.items() if value}
    _check(given)
    home = _folder(given, "LABKIT_HOME", platformdirs.user_data_dir("istio-lab", appauthor=False))
    venue = _venue(given)
    return Settings(
        home=home,
        cache=_folder(given, "LABKIT_CACHE", str(home / "cache")),
        cluster=given.get("LABKIT_CLUSTER", CLUSTER),
        port=int(given.get("LABKIT_PORT", GATEWAY_PORT)),
        source=given.get("LABKIT_SOURCE", ""),
        downloads=given.get("LABKIT_DOWNLOADS", ""),
        registry=given.get("LABKIT_REGISTRY", ""),
        venue=venue,
        gateway=given.get("LABKIT_GATEWAY", "").rstrip("/"),
        readers_kubeconfig=given.get("KUBECONFIG", os.path.expanduser("~/.kube/config")),
        recorder=given.get("LABKIT_RECORDER", ""),
        headless=given.get("LABKIT_HEADLESS") == "1",
        context=venue.removeprefix(IN_CONTEXT) if venue.startswith(IN_CONTEXT) else "",
    )


_WEB = ("http", "https")
# what keeps a variable's value from being one; "" where nothing does
_WHY_NOT: Mapping[str, Callable[[str], str]] = {
    "LABKIT_CLUSTER": lambda text: _unless(_CLUSTER, text, "a kind cluster's name: up to 49 of a-z, 0-9, `.`, `-`"),
    "LABKIT_DOWNLOADS": lambda text: why_no_address(text, _WEB),
    "LABKIT_GATEWAY": lambda text: why_no_address(text, _WEB),
    "LABKIT_HEADLESS": lambda text: "" if text in ("0", "1") else "it is 1, or unset",
    "LABKIT_ISTIO": lambda text: _unless(_VERSION, text, "a version, such as 1.31.1"),
    "LABKIT_KIND": lambda text: _unless(_VERSION, text, "a version, such as 0.31.0"),
    "LABKIT_NAMESPACE": lambda text: _unless(NAME, text, "a namespace's name: up to 63 of a-z, 0-9, `-`"),
    "LABKIT_NODE_IMAGE": lambda text: _unless(_NODE, text, "a node image, NAME:vVERSION, with @sha256:… or without"),
    "LABKIT_PORT": lambda text: "" if _is_port(text) else "it is no port: a number from 1 to 65535",
    "LABKIT_REGISTRY": lambda text: _why_no_registry(text),
    "LABKIT_SOURCE": lambda text: "" if text in SOURCES else f"the sources are {', '.join(SOURCES)}",
    "LABKIT_VENUE": lambda text: "" if _is_venue(text) else f"the venues are {', '.join(VENUES)}",
}


def _check(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        why_not = _WHY_NOT.get(name)
        if why_not and (why := "it is not UTF-8" if _is_binary(value) else why_not(value)):
            said = "" if "@" in value else f" {value!r}"  # else it may hold a password
            raise LabError(f"{name} cannot be{said}.", why, f"set {name} to something else, or unset it: {_README}")


_README = "README.md says what each variable is for"


def _unless(form: re.Pattern[str], text: str, what: str) -> str:
    return "" if form.fullmatch(text) else f"it is not {what}"


def _is_binary(text: str) -> bool:
    """Whether it came as bytes that are not UTF-8: Python then holds them as surrogates, which nothing can print."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[1-9][0-9]{0,4}", text)) and int(text) <= 65535


def _is_venue(text: str) -> bool:
    return text in VENUES[:2] or (text.startswith(IN_CONTEXT) and text != IN_CONTEXT)


def _why_no_registry(text: str) -> str:
    if set(text) & set("/@"):
        return "it is to be HOST or HOST:PORT alone"
    return why_no_address(f"https://{text}", _WEB)


def _folder(given: Mapping[str, str], name: str, default: str) -> Path:
    path = REPOSITORY / os.path.expanduser(given.get(name, default))
    if why := _why_no_folder(path):
        raise LabError(
            f"The course cannot use the folder {str(path)!r}.",
            why,
            f"name another folder with {name}: `export {name}=/some/folder`",
        )
    return path


def _why_no_folder(path: Path) -> str:
    """Of one that can be made, or that is there and cannot be written, whoever writes in it tells."""
    if _is_binary(str(path)):
        return "it is not UTF-8"
    if os.pathsep in str(path):
        return f"it holds {os.pathsep!r}, which PATH and KUBECONFIG take for the end of a folder"
    if "~" in path.parts:
        return "nothing says where your home folder is"
    try:
        return "" if path.is_dir() or not path.exists() else "it is a file"
    except OSError as error:
        return error.strerror or str(error)
