"""Where binaries, Istio's release and images come from: three sources, one interface."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from labkit.cluster import downloads
from labkit.progress import Progress
from labkit.settings import ISTIO, settings

TOOLS = ("kind", "kubectl", "helm")  # what `tool` hands out


class Source(Protocol):
    """`releases` (what the projects publish), `packages` (built from package registries alone), and `bundle` (either,
    brought by hand)."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str:
        """`releases` or `packages`: what its images are, whoever brought them."""

    @property
    def differences(self) -> tuple[str, ...]:
        """All in which its archive of Istio differs from what the Istio project publishes."""

    def is_here(self) -> bool:
        """Whether nothing has to be fetched or built any more. Answers at once, and asks no network."""

    def reachable(self) -> str | None:
        """None if what it hands out can be had on this machine now, else why not. Answers within two seconds."""

    def tool(self, program: str, progress: Progress) -> Path:
        """`kind`, `kubectl` or `helm`: a verified executable in settings().bin, fetched only if it is not there."""

    def istio_archive(self, version: str, system: str, architecture: str, progress: Progress) -> Path:
        """A verified release archive, `istio-VERSION-SYSTEM-ARCHITECTURE.tar.gz`, as Istio publishes it."""

    def gateway_api(self, progress: Progress) -> Path:
        """A verified manifest of the Kubernetes Gateway API's definitions, its standard channel."""

    def node_image(self, progress: Progress) -> str:
        """The name of a kind node image in the engine that holds every image the course needs."""


def ensure_release(source: Source, progress: Progress) -> Path:
    """The release as the course itself uses it, unpacked in the cache; anew where the archive is another one."""
    s = settings()
    archive = source.istio_archive(ISTIO, s.system, s.architecture, progress)
    stamp, digest = s.release_folder / ".archive", downloads.sha256_of(archive)
    if not (stamp.exists() and stamp.read_text() == digest):
        with progress.stage("unpack Istio's release"):
            downloads.unpack(archive, s.cache)
        stamp.write_text(digest)
    return s.release_folder
