"""%kubectl, %istioctl and %%shell: commands as the reader would type them in a terminal.

They run in the release's folder, against the course's own cluster; a command that fails fails its cell.
"""

from __future__ import annotations

import re
import shlex
import sys

from labkit import backend, session
from labkit.errors import LabError
from labkit.settings import MANIFESTS, settings


def kubectl(line: str) -> None:
    """%kubectl ARGUMENTS"""
    _run(["kubectl", *_words(line)])


def istioctl(line: str) -> None:
    """%istioctl ARGUMENTS"""
    _run(["istioctl", *_words(line)])


def shell(line: str, cell: str) -> None:
    """%%shell: a cell of bash; any command in it that fails, in a pipeline too, fails the cell."""
    _run(["bash", "-euo", "pipefail", "-c", cell])


def load_ipython_extension(ipython) -> None:
    """`%load_ext labkit`."""
    for magic in (kubectl, istioctl):
        ipython.register_magic_function(magic, "line")
    ipython.register_magic_function(shell, "cell")


_OURS = re.compile(r"\$(?:(LABKIT_\w+)|{(LABKIT_\w+)})")


def _words(line: str) -> list[str]:
    """As a shell reads them, as far as quotes and the course's own two folders go."""
    folders = {"LABKIT_MANIFESTS": str(MANIFESTS), "LABKIT_BIN": str(settings().bin)}
    try:
        return [_OURS.sub(lambda name: folders.get(name[1] or name[2], name[0]), word) for word in shlex.split(line)]
    except ValueError as error:
        raise LabError("The command could not be read.", str(error), "close the quotation marks") from error


def _run(argv: list[str]) -> None:
    completed = backend.run(argv, cwd=session.reader_folder(), check=False)
    sys.stdout.write(completed.stdout)
    if completed.returncode:
        raise backend.CommandFailed(completed)
    sys.stdout.write(completed.stderr)
