"""What the builds need on the machine itself, asked for once, up front."""

from __future__ import annotations

import os

from labkit.backend import which
from labkit.cluster import debian
from labkit.errors import LabError
from labkit.settings import BUILD_GO

DEBIAN_PACKAGES = {
    "go": "golang-go",
    "npm": "npm",
    "mvn": "maven",
    "pip": "python3-pip",
    "gcc": "gcc libc6-dev",
    "debootstrap": "debootstrap",
    "docker": "docker.io",
}


def require() -> None:
    """Raises one LabError that names every missing tool, with the command that brings them.

    As root on Debian debootstrap is installed here: nobody has it, and nothing else needs it.
    """
    if not which("debootstrap") and debian.can_install():
        debian.install("debootstrap")
    if unmet := obstacle():
        raise unmet


def obstacle() -> LabError | None:
    """What keeps the builds from this machine, None where nothing does. Changes nothing."""
    coming = {"debootstrap"} if debian.can_install() else set()
    missing = [tool for tool in DEBIAN_PACKAGES if not which(tool) and tool not in coming]
    if missing:
        packages = " ".join(DEBIAN_PACKAGES[tool] for tool in missing)
        return LabError(
            f"To build the images, this machine lacks {', '.join(missing)}.",
            "the packages source builds everything from package registries, with their own clients",
            f"on Debian: `apt-get install {packages}` (Go must be {BUILD_GO} or later); "
            "or let LABKIT_SOURCE=releases fetch what the projects publish",
        )
    if os.geteuid() != 0:
        return LabError(
            "Building the images needs root.",
            "debootstrap makes a Debian root file system, with files that belong to root",
            "run it as root, or let LABKIT_SOURCE=releases fetch what the projects publish",
        )
    return None
