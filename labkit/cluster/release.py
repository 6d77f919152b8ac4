"""Istio's release on the reader's disk: chosen, verified, unpacked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labkit import backend
from labkit.cluster import downloads, sources
from labkit.progress import Progress, Report
from labkit.settings import HELM, ISTIO, ISTIO_RELEASES, SHA256, settings

if TYPE_CHECKING:
    import pandas as pd


def choose(version: str = ISTIO, architecture: str = "") -> pd.DataFrame:
    """What would be downloaded: one row with version, system, architecture, archive, address (text).

    Raises LabError for a version or an architecture that Istio does not publish.
    """
    import pandas as pd

    return pd.DataFrame(
        [backend.work(f"choose {version} {architecture}".rstrip(), lambda _: _chosen(version, architecture))]
    )


def download(version: str = ISTIO, architecture: str = "", report: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch the archive and verify it against its published checksum; the path of the verified file.

    Raises LabError: unknown version or architecture, no answer, a checksum that does not match.
    """

    def fetch(told: Report) -> str:
        s = settings()
        progress = Progress(told, backend.now)
        return str(sources.choose().istio_archive(version, s.system, architecture or s.architecture, progress))

    return Path(backend.work(f"download {version} {architecture}".rstrip(), fetch, lambda event: report(event.note)))


def size(archive: Path) -> int:
    """How large a file is, in bytes."""
    return backend.work(f"size of {archive}", lambda _: archive.stat().st_size)


def sha256(file: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` tells it."""
    return backend.work(f"SHA-256 of {file}", lambda _: downloads.sha256_of(file))


def verify(copy: Path, archive: Path) -> str:
    """The SHA-256 of a copy of `archive`, which `download` returned. Raises LabError unless it is the published one."""
    return backend.work(f"verify {copy}", lambda _: _verified(copy, archive))


def origin(archive: Path) -> pd.DataFrame:
    """Where an archive that `download` returned comes from: what, value (text).

    Its source, its SHA-256, the one that Istio published for this name ("" where versions.toml has none), and, a row
    each, in what it differs from that.
    """
    import pandas as pd

    return pd.DataFrame(backend.work(f"origin of {archive}", lambda _: _origin(archive)), columns=["what", "value"])


def damaged(archive: Path, how: Literal["cut", "changed"]) -> Path:
    """A copy of an archive, damaged on purpose: "cut" in half, or one bit in its middle "changed". See `discard`."""
    return Path(backend.work(f"damage {archive}: {how}", lambda _: str(_damaged(archive, how))))


def discard(copy: Path) -> None:
    """Delete a damaged copy."""
    backend.work(f"discard {copy}", lambda _: copy.unlink())


def unpack(archive: Path) -> Path:
    """Unpack a verified archive in the course's own folder; the release's folder. Raises LabError."""
    return Path(
        backend.work(f"unpack {archive}", lambda _: str(downloads.unpack(archive, settings().home)), changes=True)
    )


def gateway_api(report: Callable[[str], None] = lambda _: None) -> Path:
    """The manifest of the Kubernetes Gateway API's definitions, verified; its path. Raises LabError."""

    def fetch(told: Report) -> str:
        return str(sources.choose().gateway_api(Progress(told, backend.now)))

    return Path(backend.work("the Gateway API's definitions", fetch, lambda event: report(event.note)))


def has_helm() -> bool:
    """Whether helm is there, in the version that the course is written for."""
    if not backend.exists(settings().bin / "helm"):
        return False
    return backend.run(["helm", "version", "--template", "{{.Version}}"], check=False).stdout == f"v{HELM}"


def helm(report: Report) -> None:
    """Bring helm, verified, to the first folder on the PATH of the course's commands. Raises LabError."""

    def fetch(told: Report) -> None:
        sources.choose().tool("helm", Progress(told, backend.now))

    backend.work("bring helm", fetch, report, changes=True)


def remove() -> None:
    """Undo what notebook 02 does: the reader's folder, and istioctl on the PATH."""
    backend.work("remove the release", lambda _: _remove(), changes=True)


def copy() -> None:
    """The reader's folder, from the release that the course has verified and unpacked for itself."""
    backend.work("copy the release", lambda _: _copy(), changes=True)


def put_on_path() -> None:
    """Copy istioctl to the first folder on the PATH of the course's commands."""
    backend.work("put istioctl on the PATH", lambda _: _put_on_path(), changes=True)


def _chosen(version: str, architecture: str) -> dict[str, str]:
    s = settings()
    name = downloads.archive_name(version, s.system, architecture or s.architecture)
    return {
        "version": version,
        "system": s.system,
        "architecture": architecture or s.architecture,
        "archive": name,
        "address": f"{ISTIO_RELEASES}/{version}/{name}",
    }


def _verified(copy: Path, archive: Path) -> str:
    published = archive.with_name(archive.name + ".sha256")
    sha256 = downloads.checksum_for(archive.name, published.read_text(), published.name)
    downloads.verify(copy, sha256)
    return sha256


def _origin(archive: Path) -> list[list[str]]:
    source = sources.choose()
    sums = [["its SHA-256", downloads.sha256_of(archive)], ["published by Istio", SHA256.get(archive.name, "")]]
    return [["source", source.name], *sums, *(["differs", each] for each in source.differences)]


def _damaged(archive: Path, how: str) -> Path:
    content = bytearray(archive.read_bytes())
    middle = len(content) // 2
    if how == "cut":
        del content[middle:]
    else:
        content[middle] ^= 1
    copy = settings().home / f"{how}-{archive.name}"
    copy.write_bytes(content)
    return copy


def _remove() -> None:
    shutil.rmtree(settings().istio_folder, ignore_errors=True)
    (settings().bin / "istioctl").unlink(missing_ok=True)


def _copy() -> None:
    s = settings()
    shutil.rmtree(s.istio_folder, ignore_errors=True)
    shutil.copytree(s.release_folder, s.istio_folder)


def _put_on_path() -> None:
    s = settings()
    s.bin.mkdir(parents=True, exist_ok=True)
    shutil.copy2(s.istio_folder / "bin" / "istioctl", s.bin / "istioctl")
