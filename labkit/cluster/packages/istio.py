"""Istio from its Go module: the commands, and the archive that a release would have."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from labkit.cluster import downloads
from labkit.cluster.packages import addons, go
from labkit.cluster.packages.steps import Note, Step, make
from labkit.errors import LabError
from labkit.settings import ISTIO, ISTIO_HUB, ISTIO_MODULE, ISTIO_REVISION

MODULE = "istio.io/istio"
CHARTS = Path(__file__).parent / "charts"
REQUEST_STATS = CHARTS / "request-stats.yaml"
ISTIOD = "manifests/charts/istio-control/istio-discovery"
GO = Path(__file__).parent / "istiod"

# What Istio's release builder writes into the charts in place of the development builds' names.
RELEASED_NAMES = (
    ("hub: registry.istio.io/testing", f"hub: {ISTIO_HUB}"),
    ("tag: latest", f"tag: {ISTIO}"),
)
RELEASED_VERSION = (("version: 1.0.0\nappVersion: 1.0.0", f"version: {ISTIO}\nappVersion: {ISTIO}"),)
# Upstream Envoy lacks Istio's own filters: istiod must not send them.
UPSTREAM_ENVOY = (
    ("\n  env: {}\n", '\n  env:\n    PILOT_ENABLE_METADATA_EXCHANGE: "false"\n    PILOT_ENABLE_ALPN_FILTER: "false"\n'),
    ("\n  telemetry:\n    enabled: true\n", "\n  telemetry:\n    enabled: false\n"),
)
# It has none of them where a rule asks for them, either: what Telemetry says of metrics goes to what Envoy counts with.
NO_STATS_FILTER = (("\tif !filterConfig.Metrics {\n", "\tif upstreamEnvoy || !filterConfig.Metrics {\n"),)
OWN_STATS = (("\tbuilder.patchListeners()\n", "\tbuilder.patchListeners()\n\tbuilder.applyRequestStats()\n"),)
COMPONENTS = ("gateways/istio-ingress", "gateways/istio-egress", "istio-cni", "ztunnel")
CHANGES = {
    "manifests/profiles/default.yaml": RELEASED_NAMES,
    f"{ISTIOD}/values.yaml": (*RELEASED_NAMES, *UPSTREAM_ENVOY),
    f"{ISTIOD}/Chart.yaml": RELEASED_VERSION,
    "pilot/pkg/model/telemetry.go": NO_STATS_FILTER,
    "pilot/pkg/networking/core/listener.go": OWN_STATS,
    **{f"manifests/charts/{name}/values.yaml": RELEASED_NAMES for name in COMPONENTS},
    **{f"manifests/charts/{name}/Chart.yaml": RELEASED_VERSION for name in (*COMPONENTS, "base", "default", "gateway")},
}
ADDED = {
    f"{ISTIOD}/templates/request-stats.yaml": REQUEST_STATS,
    "pilot/pkg/model/request_stats.go": GO / "request_stats_model.go",
    "pilot/pkg/networking/core/request_stats.go": GO / "request_stats_listeners.go",
}

# All in which the archive built here differs from what Istio publishes.
DIFFERENCES = (
    f"istioctl and istiod are built from Istio's source at commit {ISTIO_REVISION}",
    "manifests/charts: telemetry, metadata exchange and the ALPN filter are off, for they need Istio's own Envoy",
    "manifests/charts: an EnvoyFilter request-stats makes the Envoy project's own Envoy count requests",
    "istiod applies what Telemetry rules say of metrics to these counts, in place of Istio's own filter",
    "samples/addons/prometheus.yaml: rules give these counts the names that Istio documents",
)

VERSION = f"{MODULE}/pkg/version"
STAMPS = (
    f"{VERSION}.buildVersion={ISTIO}",
    f"{VERSION}.buildGitRevision={ISTIO_REVISION}",
    f"{VERSION}.buildStatus=Clean",
    f"{VERSION}.buildTag={ISTIO}",
    f"{VERSION}.buildHub={ISTIO_HUB}",
)
COMMANDS = (
    "./istioctl/cmd/istioctl",
    "./pilot/cmd/pilot-discovery",
    "./pilot/cmd/pilot-agent",
    "./pkg/test/echo/cmd/server",
    "./pkg/test/echo/cmd/client",
)
AUTHORIZER = "./samples/extauthz/cmd/extauthz"
ARCHIVED = ("manifests", "samples", "tools", "LICENSE", "README.md")


def tree() -> Step:
    """Istio's source with the released charts in place of the development ones, and an istiod for upstream Envoy.

    A copy, because charts are embedded in istioctl, and Go lets nothing replace files of its module cache.
    """
    texts = (word for path, changes in CHANGES.items() for word in (path, *(text for pair in changes for text in pair)))
    return Step("sources/istio", (ISTIO_MODULE, *texts, *ADDED.values()), _copy_tree)


def commands() -> Step:
    """istioctl, pilot-discovery, pilot-agent, and the echo server and client, as single binaries."""

    def build(into: Path, note: Note) -> None:
        go.build(COMMANDS, into, "istio", note, cwd=make(tree(), note), stamps=STAMPS)

    return Step("bin/istio", (tree().key, *go.FLAGS, *STAMPS, *COMMANDS), build)


def authorizer() -> Step:
    """The server that Istio's sample of external authorization asks, as a single binary: `extauthz`."""

    def build(into: Path, note: Note) -> None:
        go.build([AUTHORIZER], into, "extauthz", note, cwd=make(tree(), note))

    return Step("bin/extauthz", (tree().key, *go.FLAGS, AUTHORIZER), build)


def archive(system: str, architecture: str) -> Step:
    """The folder of the mirror that holds the archive, and its checksum."""
    name = downloads.archive_name(ISTIO, system, architecture)

    def pack(into: Path, note: Note) -> None:
        _pack(into / name, make(tree(), note), make(commands(), note) / "istioctl")
        checksum(into / name, ".sha256")

    return Step(f"mirror/istio/istio/releases/download/{ISTIO}", (commands().key, name, *ARCHIVED, addons.job()), pack)


def _copy_tree(into: Path, _: Note) -> None:
    module = go.source(MODULE, ISTIO_MODULE)
    shutil.copytree(module, into, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for folder in (into, *(path for path in into.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # the module cache is read-only
    for path, text in changed(module).items():
        (into / path).write_text(text)


def changed(module: Path) -> dict[str, str]:
    """The files that differ from the module's: path below it → text. Raises LabError where the module changed."""
    texts = {path: (module / path).read_text() for path in CHANGES}
    for path, changes in CHANGES.items():
        for before, after in changes:
            texts[path] = _replaced(texts[path], before, after, path)
    return {**texts, **{path: file.read_text() for path, file in ADDED.items()}}


def _replaced(text: str, before: str, after: str, path: str) -> str:
    if text.count(before) != 1:
        raise LabError(
            f"Istio's {path} is not as expected.",
            f"{before.strip()!r} stands in it {text.count(before)} times, not once",
            "istio_module in labkit/versions.toml names a version that labkit/cluster/packages/istio.py does not know",
        )
    return text.replace(before, after)


def _pack(archive: Path, source: Path, istioctl: Path) -> None:
    """One folder, `istio-VERSION`, as Istio packs it."""
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for file in _archived(source):
            name = str(file.relative_to(source))
            content = _prometheus(file) if name == addons.PROMETHEUS else file.read_bytes()
            _add(tar, name, content, executable=name.endswith(".sh"))  # modules keep no file modes
        _add(tar, "manifest.yaml", f"version: {ISTIO}\ndocker: {ISTIO_HUB}\n".encode())
        _add(tar, "bin/istioctl", istioctl.read_bytes(), executable=True)


def _prometheus(manifest: Path) -> bytes:
    """Changed here rather than in the tree, which Istio's commands are built from."""
    return _replaced(manifest.read_text(), addons.JOB, addons.job(), addons.PROMETHEUS).encode()


def _archived(source: Path) -> Iterator[Path]:
    for top in (source / name for name in ARCHIVED):
        yield from [top] if top.is_file() else sorted(file for file in top.rglob("*") if file.is_file())


def _add(tar: tarfile.TarFile, name: str, content: bytes, executable: bool = False) -> None:
    member = tarfile.TarInfo(f"istio-{ISTIO}/{name}")
    member.size, member.mode = len(content), 0o755 if executable else 0o644
    tar.addfile(member, io.BytesIO(content))


def checksum(file: Path, suffix: str) -> Path:
    """Write the checksum file `FILE + suffix` as the projects publish theirs: `HASH  NAME`."""
    published = file.with_name(file.name + suffix)
    published.write_text(f"{downloads.sha256_of(file)}  {file.name}\n")
    return published
