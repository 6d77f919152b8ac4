"""%kubectl, %istioctl, %helm and %%shell: commands as the reader would type them in a terminal.

They run in the release's folder, against the course's own cluster; a command that fails fails its cell.
"""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.errors import LabError
from labkit.settings import MANIFESTS, settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def kubectl(line: str) -> None:
    """%kubectl ARGUMENTS"""
    _run(["kubectl", *_words(line)])


def istioctl(line: str) -> None:
    """%istioctl ARGUMENTS"""
    _run(["istioctl", *_words(line)])


def helm(line: str) -> None:
    """%helm ARGUMENTS"""
    _run(["helm", *_words(line)])


def shell(line: str, cell: str) -> None:
    """%%shell: a cell of bash; any command in it that fails, in a pipeline too, fails the cell."""
    _run(["bash", "-euo", "pipefail", "-c", cell])


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`%load_ext labkit`."""
    for magic, its_kind in ((kubectl, "line"), (istioctl, "line"), (helm, "line"), (shell, "cell")):
        ipython.register_magic_function(magic, its_kind)  # type: ignore[arg-type]  # traitlets hides that it is a method


def said() -> str:
    """What the last command of this kernel printed, its error included."""
    return _said


def refuse(error: LabError) -> None:
    """From now on no command is run: of a lab that cannot be done here, nothing is to be half done."""
    global _refused
    _refused = error


_said = ""
_refused: LabError | None = None
_OURS = re.compile(r"\$(?:(LABKIT_\w+)|{(LABKIT_\w+)})")


def _words(line: str) -> list[str]:
    """As a shell reads them, as far as quotes and the course's own two folders go."""
    folders = {"LABKIT_MANIFESTS": str(MANIFESTS), "LABKIT_BIN": str(settings().bin)}
    try:
        return [_OURS.sub(lambda name: folders.get(name[1] or name[2], name[0]), word) for word in shlex.split(line)]
    except ValueError as error:
        raise LabError("The command could not be read.", str(error), "close the quotation marks") from error


def _run(argv: list[str]) -> None:
    global _said
    if _refused:
        raise LabError(*_refused.args)
    completed = backend.run(argv, cwd=session.reader_folder(), check=False)
    _said = completed.stdout + completed.stderr
    sys.stdout.write(completed.stdout)
    if completed.returncode:
        raise backend.CommandFailed(completed)
    sys.stdout.write(completed.stderr)
