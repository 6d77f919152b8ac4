"""The course without a cluster: from a fresh clone to its first cell, all notebooks played back, a kernel's needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import backend
from labkit.maintain.benchmark.around import NOT_TIMED, Figures
from labkit.progress import Progress
from labkit.recordings import files
from labkit.settings import NOTEBOOKS, RECORDINGS, REPOSITORY

# What a kernel runs last: its own peak in MiB. On Linux getrusage(2) would also count what started the kernel.
_PEAK = """import re, resource, pathlib
status = pathlib.Path("/proc/self/status")
linux = status.exists() and int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) // 2**10
print(linux or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20)"""
_NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
_FIRST_CELL = """
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read("notebooks/00-start-here.ipynb", as_version=4)
first = next(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
notebook.cells = notebook.cells[: first + 1]
NotebookClient(notebook).execute()
"""


def measure(progress: Progress) -> Figures:
    """Seconds to a fresh clone's first cell and of all notebooks; MiB of a kernel and of all recordings.

    The first clone downloads all that it needs, the second one finds it in the caches of the first.
    """
    with TemporaryDirectory(prefix="istio-lab-clone-") as folder:
        first = [_first_cell(progress, Path(folder), name) for name in ("without a cache", "with a cache")]
    return {
        "first_cell_seconds": round(first[0], 1),
        "first_cell_cached_seconds": round(first[1], 1),
        "course_recorded_seconds": round(_course(progress), 1),
        "kernel_peak_mib": _peak(progress),
        "recordings_mib": round(sum(path.stat().st_size for path in RECORDINGS.iterdir()) / 2**20, 1),
    }


def _first_cell(progress: Progress, folder: Path, name: str) -> float:
    with progress.stage(f"a fresh clone's first cell, {name}") as note:
        clone = folder / name.replace(" ", "-")
        caches = {"PIP_CACHE_DIR": f"{folder}/pip", "UV_CACHE_DIR": f"{folder}/uv"}
        env = {**_NO_ENGINE, **caches, "LABKIT_HOME": f"{folder}/home"}
        started = backend.now()
        backend.run(["git", "clone", "--quiet", REPOSITORY, clone], on_line=note)
        backend.run(["make", ".venv/.ready"], cwd=clone, env=env, on_line=note, timeout=NOT_TIMED)
        backend.run([clone / ".venv" / "bin" / "python", "-c", _FIRST_CELL], cwd=clone, env=env, on_line=note)
        return backend.now() - started


def _course(progress: Progress) -> float:
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with=tests/sanitize.cfg", "notebooks"]
    with progress.stage("all notebooks, recorded") as note:
        started = backend.now()
        backend.run(command, cwd=REPOSITORY, on_line=note, timeout=NOT_TIMED)
        return backend.now() - started


def _peak(progress: Progress) -> int:
    with progress.stage("a kernel's memory") as note, TemporaryDirectory(prefix="istio-lab-") as home:
        peaks = {}
        for name in (path.stem for path in files.recordings()):
            peaks[name] = peak_mib(NOTEBOOKS / f"{name}.ipynb", {"LABKIT_HOME": home})
            note(f"{name}: {peaks[name]} MiB")
        return max(peaks.values())


def peak_mib(path: Path, env: dict[str, str]) -> int:
    """The highest memory in MiB that a kernel holds which plays a notebook back, from its first cell to its last."""
    import nbformat
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_code_cell(_PEAK))
    client = NotebookClient(notebook, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False)
    client.execute(env={**os.environ, "LABKIT_VENUE": "recorded", "LABKIT_HEADLESS": "1", **env})
    return int(notebook.cells[-1].outputs[0].text)
