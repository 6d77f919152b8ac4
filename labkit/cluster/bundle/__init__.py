"""A bundle: everything that the course takes, in one archive, for a room without internet.

The archive holds the course itself, and beside it, in a folder `bundle`, what would have to be fetched: the wheels of
its environment, kind, kubectl, helm, Istio's release, the Gateway API's definitions and the node image with all images
in it. Once a machine has installed it, it is a source like the others.
"""

from __future__ import annotations

from pathlib import Path

from labkit.cluster import downloads, images
from labkit.cluster.bundle import contents
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import settings


class Bundle:
    """See labkit.cluster.source.Source: what `labkit bundle install` laid into the cache."""

    name = "bundle"

    @property
    def origin(self) -> str:
        return contents.read(installed()).source

    @property
    def differences(self) -> tuple[str, ...]:
        return contents.read(installed()).differences

    def is_here(self) -> bool:
        """Whether one was installed that is of this course, and the engine still holds its node image."""
        try:
            return images.exists(contents.read(installed()).node_image)
        except LabError:
            return False

    def reachable(self) -> str | None:
        """Why there is none: it comes from no network."""
        return None if self.is_here() else "none of this course was installed"

    def tool(self, program: str, progress: Progress) -> Path:
        """`kind`, `kubectl` or `helm`, verified when it was installed, in settings().bin."""
        with progress.stage(program):
            return downloads.install_program(_file(program), settings().bin / program)

    def istio_archive(self, version: str, system: str, architecture: str, progress: Progress) -> Path:
        """Istio's release archive, its checksum beside it. Raises LabError for another than the bundle's."""
        with progress.stage(f"Istio {version}"):
            return _file(downloads.archive_name(version, system, architecture))

    def gateway_api(self, progress: Progress) -> Path:
        """The Kubernetes Gateway API's definitions."""
        with progress.stage("Gateway API"):
            return _file(contents.GATEWAY_API)

    def node_image(self, progress: Progress) -> str:
        """The node image that was loaded. Raises LabError where the engine lost it."""
        name = contents.read(installed()).node_image
        if not images.exists(name):
            raise LabError(
                f"The container engine does not hold {name} any more.",
                "it came with the bundle, and somebody removed it, or the engine is another one",
                "`make install` once more, in the folder where you unpacked the bundle",
            )
        return name


def installed() -> Path:
    """Where an installed bundle's files lie."""
    return settings().cache / "bundle"


def _file(name: str) -> Path:
    file = installed() / name
    if not file.exists():
        raise LabError(
            f"The bundle has no {name}.",
            f"it holds {', '.join(sorted(contents.read(installed()).files))}",
            "let LABKIT_SOURCE=releases fetch it, where there is a network",
        )
    return file
