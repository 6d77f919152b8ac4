"""Debian's own packages, where this process may install them."""

from __future__ import annotations

import os
from collections.abc import Callable

from labkit import backend
from labkit.backend import which

# Another apt may be at work on a fresh machine: https://manpages.debian.org/bookworm/apt/apt-get.8.en.html
PATIENT = ("-o", "DPkg::Lock::Timeout=300")


def can_install() -> bool:
    """Whether this is Debian or one of its kin, and this process is root."""
    return which("apt-get") is not None and os.geteuid() == 0


def install(*packages: str, on_line: Callable[[str], None] | None = None) -> None:
    """Install packages; waits up to five minutes for another apt. Raises LabError."""
    for command in (["update"], [*PATIENT, "install", "--yes", *packages]):
        backend.run(["apt-get", *command], env={"DEBIAN_FRONTEND": "noninteractive"}, on_line=on_line)
