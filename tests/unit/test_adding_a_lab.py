"""A lab more is a notebook, a lab file, a manifest, tries and a recording; nothing else has to know of it."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from labkit.course import labs
from labkit.recordings import files, state, stored
from labkit.settings import REPOSITORY

OLD = "14"
NEW = f"{int(labs.LABS[-2].number) + 1:02d}"  # the last is to clean up
NAME = f"{NEW}-one-more"
FIGURES = {"image/svg+xml", "application/vnd.plotly.v1+json"}  # whose sizes are no lab's number


def renumbered(text: str) -> str:
    return re.sub(rf"(?<=[\"'/( ;]){OLD}(?=[\"'.,&-])", NEW, text)


def git(folder: Path, *words: str) -> list[str]:
    told = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return [name for name in told.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The repository with one lab more: an older one under another number."""
    folder = tmp_path_factory.mktemp("course")
    for name in git(REPOSITORY, "ls-files", "-z"):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    add_a_lab(folder)
    return folder


def add_a_lab(folder: Path) -> None:
    [notebook] = (folder / "notebooks").glob(f"{OLD}-*.ipynb")
    [lab] = (folder / "labkit" / "course" / "labs").glob(f"lab_{OLD}_*.py")
    new = nbformat.from_dict(in_the_new(json.loads(notebook.read_text())))
    nbformat.write(new, notebook.with_name(f"{NAME}.ipynb"))
    new = nbformat.read(notebook.with_name(f"{NAME}.ipynb"), as_version=4)
    lab.with_name(f"lab_{NEW}_one_more.py").write_text(renumbered(lab.read_text()))
    for manifest in (folder / "manifests").glob(f"{OLD}-*"):
        shutil.copy(manifest, manifest.with_name(manifest.name.replace(OLD, NEW, 1)))
    tries = folder / "tests" / "tries" / f"lab_{OLD}.py"
    tries.with_name(f"lab_{NEW}.py").write_text(renumbered(tries.read_text()))
    record(notebook.stem, new, folder / "notebooks" / "recordings")


def record(old: str, notebook: nbformat.NotebookNode, folder: Path) -> None:
    """What the old notebook was answered, as the new one's."""
    recording = files.Recording(files.of(old))
    outputs = {cell.id: stored.digest(cell) for cell in stored.code(notebook)}
    marks = tuple(
        replace(mark, source=renumbered(mark.source), outputs=outputs.get(mark.cell, mark.outputs))
        for mark in recording.head.cells
    )
    cells = [recording.played(number) for number in range(len(marks))]
    played = [
        replace(cell, calls=tuple(replace(call, request=in_the_new(call.request)) for call in cell.calls))
        for cell in cells
    ]
    files.write(folder / f"{NAME}.jsonl", replace(recording.head, notebook=NAME, cells=marks), played)
    head, _, moments = lzma.decompress(state.of(files.of(old)).read_bytes()).partition(b"\n")
    renamed = head.replace(old.encode(), NAME.encode()) + b"\n" + moments
    state.of(folder / f"{NAME}.jsonl").write_bytes(lzma.compress(renamed, preset=0))


def in_the_new(document: Any) -> Any:
    """What JSON can hold, with the new lab's number in its texts."""
    if isinstance(document, str):
        return renumbered(document)
    if isinstance(document, dict):
        names = {name: re.sub(rf"^{OLD}-", f"{NEW}-", name) for name in document}
        return {names[name]: value if name in FIGURES else in_the_new(value) for name, value in document.items()}
    return [in_the_new(each) for each in document] if isinstance(document, list) else document


def test_it_touches_five_places_and_changes_no_file(copy):
    touched = git(copy, "ls-files", "-z", "--others", "--modified", "--exclude-standard")
    places = {Path(name).parent.as_posix() for name in touched}
    assert places == {"labkit/course/labs", "manifests", "notebooks", "notebooks/recordings", "tests/tries"}
    assert git(copy, "ls-files", "-z", "--modified") == []


def run(copy: Path, *words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(copy)}  # or a notebook's kernel has the labkit that is installed
    command = [sys.executable, *words]
    told = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-1000:]
    return told.stdout


PYTEST = ("-m", "pytest", "--quiet", "-p", "no:cacheprovider")


def test_it_is_a_lab_of_the_course(copy):
    suites = [f"tests/unit/test_{name}.py" for name in ("course", "falsifiable", "recording", "tries")]
    assert " passed" in run(copy, *PYTEST, "-k", f"{NEW} or order or recorded or its_tries", *suites)
    assert "matches" in run(copy, "-m", "labkit.cli", "record", "--check", NEW)


def test_its_notebook_plays(copy):
    plain = ("--nbval", "--nbval-sanitize-with", "tests/sanitize.cfg", f"notebooks/{NAME}.ipynb")
    assert " passed" in run(copy, *PYTEST, *plain)
