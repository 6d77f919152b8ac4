"""Istio's release on the reader's disk: chosen, verified, unpacked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import venue
from labkit.cluster import downloads, sources
from labkit.progress import Progress
from labkit.settings import ISTIO, ISTIO_RELEASES, settings

if TYPE_CHECKING:
    import pandas as pd


def choose(version: str = ISTIO, architecture: str = "") -> pd.DataFrame:
    """What would be downloaded: one row with version, system, architecture, archive, address (text).

    Raises LabError for a version or an architecture that Istio does not publish.
    """
    import pandas as pd

    s = settings()
    name = downloads.archive_name(version, s.system, architecture or s.architecture)
    return pd.DataFrame(
        [
            {
                "version": version,
                "system": s.system,
                "architecture": architecture or s.architecture,
                "archive": name,
                "address": f"{ISTIO_RELEASES}/{version}/{name}",
            }
        ]
    )


def download(version: str = ISTIO, architecture: str = "", report: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch the archive and verify it against its published checksum; the path of the verified file.

    Raises LabError: unknown version or architecture, no answer, a checksum that does not match.
    """
    s = settings()
    progress = Progress(lambda event: report(event.note), venue.now)
    return sources.choose().istio_archive(version, s.system, architecture or s.architecture, progress)


def verify(copy: Path, archive: Path) -> str:
    """The SHA-256 of a copy of `archive`, which `download` returned. Raises LabError unless it is the published one."""
    published = archive.with_name(archive.name + ".sha256")
    sha256 = downloads.checksum_for(archive.name, published.read_text(), published.name)
    downloads.verify(copy, sha256)
    return sha256


def unpack(archive: Path) -> Path:
    """Unpack a verified archive in the course's own folder; the release's folder. Raises LabError."""
    return downloads.unpack(archive, settings().home)


def gateway_api(report: Callable[[str], None] = lambda _: None) -> Path:
    """The manifest of the Kubernetes Gateway API's definitions, verified; its path. Raises LabError."""
    return sources.choose().gateway_api(Progress(lambda event: report(event.note), venue.now))


def remove() -> None:
    """Undo what notebook 02 does: the reader's folder, and istioctl on the PATH."""
    shutil.rmtree(settings().istio_folder, ignore_errors=True)
    (settings().bin / "istioctl").unlink(missing_ok=True)


def copy() -> None:
    """The reader's folder, from the release that the course has verified and unpacked for itself."""
    s = settings()
    shutil.rmtree(s.istio_folder, ignore_errors=True)
    shutil.copytree(s.release_folder, s.istio_folder)


def put_on_path() -> None:
    """Copy istioctl to the first folder on the PATH of the course's commands."""
    s = settings()
    s.bin.mkdir(parents=True, exist_ok=True)
    shutil.copy2(s.istio_folder / "bin" / "istioctl", s.bin / "istioctl")
