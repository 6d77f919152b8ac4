"""One build step: a folder that is whole, or not there at all, and is not built twice from the same inputs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import backend
from labkit.cluster.images import disk_full
from labkit.errors import LabError
from labkit.settings import settings

STAMP = ".inputs"
LAST_LINES = 15

Note = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """`fill` puts the results into an empty folder.

    folder: where they belong, relative to the builds' cache. inputs: all that decides what comes out: words
    (versions, flags, other steps' keys) and files or folders, which count with their names and bytes.
    """

    folder: str
    inputs: tuple[str | Path, ...]
    fill: Callable[[Path, Note], None]

    @property
    def key(self) -> str:
        return fingerprint(self.folder, *self.inputs)

    @property
    def path(self) -> Path:
        return builds() / self.folder


def builds() -> Path:
    """Where all that was built lies; safe to delete, slow to fill again."""
    return settings().cache / "packages"


def fingerprint(*inputs: str | Path) -> str:
    """SHA-256 over words and files, hexadecimal. Word boundaries count."""
    digest = hashlib.sha256()
    for part in inputs:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()


def _pieces(part: str | Path) -> Iterator[bytes]:
    if isinstance(part, str):
        yield part.encode()
        return
    for file in sorted(part.rglob("*")) if part.is_dir() else [part]:
        if file.is_file():
            yield str(file.relative_to(part.parent)).encode()
            yield file.read_bytes()


def make(step: Step, note: Note) -> Path:
    """The step's folder, built unless its stamp says that these inputs made it.

    The folder is filled under another name and renamed when it is whole: an interrupt leaves the old one or none.
    """
    stamp = step.path / STAMP
    if stamp.exists() and stamp.read_text() == step.key:
        return step.path
    fresh, before = (step.path.with_name(f"{step.path.name}.{word}") for word in ("fresh", "before"))
    remove(fresh, before)
    fresh.mkdir(parents=True)
    step.fill(fresh, note)
    (fresh / STAMP).write_text(step.key)
    if step.path.exists():
        step.path.rename(before)
    fresh.rename(step.path)
    remove(before)
    return step.path


def remove(*folders: Path) -> None:
    """Delete folders that may or may not be there."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


def run(
    argv: Sequence[str | Path],
    log: str,
    note: Note = lambda _: None,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a build's command, its output in the file `log`; what it printed on stdout.

    Raises LabError with the output's last lines and the file's path; one that says so where the disk is full.
    """
    file = builds() / "logs" / f"{log}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lines:

        def on_line(line: str) -> None:
            lines.write(line + "\n")
            note(line.strip()[:100])

        completed = backend.run(argv, cwd=cwd, env=env, on_line=on_line, check=False)
    if completed.returncode:
        raise _failed(log, completed.returncode, file)
    return completed.stdout


def _failed(log: str, status: int, file: Path) -> LabError:
    last = file.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
    if full := disk_full("\n".join(last)):
        return full
    return LabError(
        f"The build of {log} failed.",
        "\n".join([f"exit status {status}; the last lines of {file}:", *last]),
        "run it again: what is already built is kept; the whole output is in that file",
    )
