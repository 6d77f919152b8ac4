"""From a machine that has everything to one archive."""

from __future__ import annotations

import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import backend
from labkit.cluster import downloads, sources
from labkit.cluster.bundle import contents
from labkit.cluster.source import TOOLS, Source
from labkit.progress import Progress
from labkit.settings import ISTIO, REPOSITORY, settings

TOP = "istio-lab"  # the folder that the archive unpacks to
FOLDER = "bundle"  # in it; the Makefile looks for its wheels there
LOCKS = ("requirements-uv.lock", "requirements.lock")
COURSE = (
    "notebooks", "labkit", "manifests", "tests", "environment.yml", "Makefile", "README.md", "CONTRIBUTING.md",
    "LICENSE", "pyproject.toml", "requirements-hub.lock", "requirements-site.lock", *LOCKS,
)  # fmt: skip
_LEFT_OUT = {"__pycache__", ".ipynb_checkpoints"}


def name() -> str:
    """The archive's, for this machine."""
    return f"{TOP}-{settings().system}-{settings().architecture}.tar"


def write(to: Path, progress: Progress) -> Path:
    """One archive with all that a machine of this system, architecture and Python takes; `to` is a folder or a file.

    It is written under another name, and renamed when it is whole. Raises LabError.
    """
    archive = to / name() if to.is_dir() else to
    fresh = archive.with_name(f".{archive.name}.fresh")
    source = sources.choose()
    with TemporaryDirectory(dir=archive.parent, prefix=".bundle-") as folder:
        into = Path(folder)
        held = _collect(source, into, progress)
        with progress.stage(archive.name) as note:
            _pack(fresh, into, held, note)
    fresh.replace(archive)
    return archive


def _collect(source: Source, into: Path, progress: Progress) -> contents.Contents:
    s = settings()
    for program in TOOLS:
        shutil.copyfile(source.tool(program, progress), into / program)
    release = source.istio_archive(ISTIO, s.system, s.architecture, progress)
    shutil.copyfile(release, into / release.name)
    shutil.copyfile(release.with_name(f"{release.name}.sha256"), into / f"{release.name}.sha256")
    shutil.copyfile(source.gateway_api(progress), into / contents.GATEWAY_API)
    node_image = source.node_image(progress)
    with progress.stage("save the node image"):
        _save(node_image, into / contents.NODE_IMAGE)
    with progress.stage("wheels") as note:
        _wheels(into / contents.WHEELS, note)
    with progress.stage("checksums"):
        files = {str(file.relative_to(into)): downloads.sha256_of(file) for file in _files(into)}
    versions, differences = contents.versions(), tuple(source.differences)
    return contents.Contents(
        contents.FORM, s.system, s.architecture, versions, source.origin, differences, node_image, files
    )


def _save(image: str, to: Path) -> None:
    script = 'docker save "$1" | gzip -1 > "$2"'
    backend.run(["bash", "-o", "pipefail", "-c", script, "save", image, to])


def _wheels(into: Path, note: Callable[[str], None]) -> None:
    """Of the locked versions. pip alone downloads wheels, and the course's own environment need not have it."""
    with TemporaryDirectory() as folder:
        backend.run([sys.executable, "-m", "venv", folder])
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "download", "--only-binary=:all:"]
        for lock in LOCKS:
            wanted = ["--require-hashes", "--requirement", str(REPOSITORY / lock), "--dest", str(into)]
            backend.run([*pip, *wanted], on_line=lambda line: note(line.strip()[:100]))


def _pack(archive: Path, into: Path, held: contents.Contents, note: Callable[[str], None]) -> None:
    (into / contents.FILE).write_text(held.as_json())
    with tarfile.open(archive, "w") as tar:
        for file in _course():
            tar.add(file, f"{TOP}/{file.relative_to(REPOSITORY)}", recursive=False, filter=_anybodys)
        for file in _files(into):
            note(file.name)
            tar.add(file, f"{TOP}/{FOLDER}/{file.relative_to(into)}", recursive=False, filter=_anybodys)


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody need know who wrote it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _course() -> Iterator[Path]:
    for top in (REPOSITORY / each for each in COURSE):
        yield from [top] if top.is_file() else _files(top)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, in their order, without what Python and Jupyter put there."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and not _LEFT_OUT & set(file.parts):
            yield file
