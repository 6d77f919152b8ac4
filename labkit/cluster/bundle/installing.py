"""From an unpacked bundle to a machine that needs no network."""

from __future__ import annotations

import shutil
from pathlib import Path

from labkit import backend
from labkit.cluster import bundle, images, sources
from labkit.cluster.bundle import contents
from labkit.cluster.source import TOOLS, ensure_release
from labkit.progress import Progress
from labkit.settings import settings


def install(folder: Path, progress: Progress) -> None:
    """Verify the bundle in a folder, load its node image into the engine, lay its files into the cache.

    What was installed before stays until all is well, and `labkit up` needs no network afterwards. Raises LabError
    where the bundle is cut, changed, for another machine or of another course.
    """
    held = contents.read(folder)
    with progress.stage("verify the bundle") as note:
        contents.verify(folder, held, note)
    with progress.stage("load the node image") as note:
        if not images.exists(held.node_image):
            backend.run(["docker", "load", "--input", folder / contents.NODE_IMAGE], on_line=note)
        note(held.node_image)
    with progress.stage("files"):
        _lay(folder, held)
    source = sources.choose()
    for program in TOOLS:
        source.tool(program, progress)
    ensure_release(source, progress)


def _lay(folder: Path, held: contents.Contents) -> None:
    """What `make` and the engine have taken, wheels and images, stays where it is."""
    fresh, kept = settings().cache / "bundle.fresh", bundle.installed()
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in held.files:
        if "/" not in name and name != contents.NODE_IMAGE:
            shutil.copyfile(folder / name, fresh / name)
    (fresh / contents.FILE).write_text(held.as_json())
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)
