"""What a shell finds for kubectl and istioctl in somebody else's cluster: scripts that ask the guard first."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from labkit.backend.context import guard
from labkit.settings import settings

GUARDED = "labkit.backend.context.guarded"


def folder() -> Path:
    """Where they stand: first on the PATH of a shell."""
    return settings().context_folder / "bin"


def install() -> None:
    """Write them for this Python. `-P`: what lies in the folder where a command runs must not be imported."""
    folder().mkdir(parents=True, exist_ok=True)
    for program in guard.PROGRAMS:
        script = folder() / program
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {GUARDED} {program} "$@"\n')
        script.chmod(0o700)


def path(environment: Mapping[str, str]) -> str:
    """The PATH of a shell: theirs before the course's own and the reader's."""
    return os.pathsep.join([str(folder()), str(settings().bin), environment.get("PATH", os.defpath)])
