"""`python -m labkit.backend.context.guarded kubectl ARGUMENTS`: runs a command of a shell's, if the guard lets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from labkit.backend.answers import NotYours
from labkit.backend.context import guard, shell
from labkit.settings import NAMESPACE, settings


def main(argv: list[str]) -> int:
    """The command's exit status; 1 where it was refused, with the reason on stderr."""
    program, *words = argv
    stdin = sys.stdin.read() if guard.reads_stdin(words) else None
    try:
        guard.check_command([program, *words], stdin, None, NAMESPACE)
    except NotYours as refused:
        print(refused, file=sys.stderr)
        return 1
    beyond = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if each != str(shell.folder()))
    real = shutil.which(program, path=beyond)
    if real is None:
        print(f"{program}: not found; `labkit doctor` says where it comes from", file=sys.stderr)
        return 127
    environment = {**os.environ, "KUBECONFIG": str(settings().kubeconfig)}
    if stdin is None:
        os.execve(real, [program, *words], environment)  # noqa: S606  the reader's own words, no shell
    return subprocess.run([real, *words], input=stdin, text=True, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
