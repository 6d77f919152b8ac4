"""A hub for a class: which version of the course it holds, its image, and the chart's values (manifests/hub)."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from labkit import backend
from labkit.errors import LabError
from labkit.settings import HUB as VERSIONS
from labkit.settings import MANIFESTS, REPOSITORY

HUB = MANIFESTS / "hub"
STAGE = REPOSITORY / "build" / "hub"
COURSE = ".course"  # the file that says which version an image holds
PARTS = ("labkit", "manifests", "notebooks")
BESIDE = ("LICENSE", "README.md", "environment.yml", "pyproject.toml", "requirements-hub.lock", "requirements.lock")
_NOT_THE_COURSE = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


def version() -> str:
    """Twelve digits for what a participant gets: notebooks, package and manifests."""
    digest = hashlib.sha256()
    for path in _files():
        name, content = str(path.relative_to(REPOSITORY)).encode(), path.read_bytes()
        digest.update(b"%d %b %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()[:12]


def stage(folder: Path) -> Path:
    """Put what repo2docker makes the image of into a folder: the course, and its own conventions' files beside it.

    They cannot lie at the top of the repository, where Binder would take them, too.
    https://repo2docker.readthedocs.io/en/latest/configuration/
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, folder / part, ignore=_NOT_THE_COURSE)
    for name in BESIDE:
        shutil.copy2(REPOSITORY / name, folder / name)
    for name in ("apt.txt", "postBuild", "start"):
        shutil.copy2(HUB / "image" / name, folder / name)
    (folder / COURSE).write_text(f"{version()}\n")
    return folder


def image(name: str, report: Callable[[str], None]) -> str:
    """Build the image with repo2docker, and tag it with the version of the course. Raises LabError."""
    if not backend.which("repo2docker"):
        raise LabError(
            "The image is made by repo2docker, which is not there.",
            "no `repo2docker` is on the PATH",
            "`pip install jupyter-repo2docker`, in an environment of its own, and a container engine",
        )
    whole = f"{name}:{version()}"
    options = ["--no-run", "--user-id", "1000", "--user-name", "jovyan", "--image-name", whole]
    backend.run(["repo2docker", *options, str(stage(STAGE))], on_line=report)
    return whole


def values(name: str) -> str:
    """The chart's values for an image of this name and the course as it lies here."""
    text = (HUB / "values.yaml").read_text()
    meant = {"COURSE": version(), "ENGINE": VERSIONS["engine"], "IMAGE": name}
    return re.sub(rf"(?<![A-Z_])(?:{'|'.join(meant)})\b", lambda word: meant[word[0]], text)


def _files() -> Iterator[Path]:
    for part in PARTS:
        for path in sorted((REPOSITORY / part).rglob("*")):
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
                yield path
