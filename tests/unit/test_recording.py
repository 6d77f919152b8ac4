"""Outputs, recordings and cells belong together: whatever was changed alone is named."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nbformat
import pytest

from labkit.errors import LabError
from labkit.maintain import record
from labkit.recordings import files
from labkit.settings import NOTEBOOKS, REPOSITORY

NAME = "02-download-istio"


def test_the_courses_recordings_match_its_notebooks():
    assert record.stale([]) == []


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """A notebook and its recording, to be changed."""
    for path in (NOTEBOOKS / f"{NAME}.ipynb", files.of(NAME), files.of(NAME).with_suffix(".xz")):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(record, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(files, "RECORDINGS", tmp_path)
    return tmp_path / f"{NAME}.ipynb"


def changed(path, change) -> str:
    notebook = nbformat.read(path, as_version=4)
    change([cell for cell in notebook.cells if cell.cell_type == "code"], notebook)
    nbformat.write(notebook, path)
    [stale] = record.stale([])
    assert stale.notebook == NAME
    return stale.why


def test_an_unchanged_copy_is_not_stale(copied):
    assert record.stale([]) == []


def test_a_changed_cell_is_named(copied):
    def change(cells, notebook):
        cells[3].source += "\n"

    assert "cell 4" in changed(copied, change)


def test_a_changed_output_is_named(copied):
    def change(cells, notebook):
        shown = next(cell for cell in cells if cell.outputs and "text" in cell.outputs[0])
        shown.outputs[0].text += "more"

    assert "output" in changed(copied, change)


@pytest.mark.parametrize("more", [True, False])
def test_a_cell_more_or_less_is_told(copied, more):
    def change(cells, notebook):
        if more:
            notebook.cells.append(nbformat.v4.new_code_cell("1"))
        else:
            notebook.cells.remove(cells[-1])

    assert "were recorded" in changed(copied, change)


def test_prose_may_change(copied):
    notebook = nbformat.read(copied, as_version=4)
    next(cell for cell in notebook.cells if cell.cell_type == "markdown").source += " More."
    nbformat.write(notebook, copied)
    assert record.stale([]) == []


def test_a_recording_that_is_missing_is_told(copied):
    copied.with_suffix(".jsonl").unlink()
    [stale] = record.stale([])
    assert f"{NAME}.jsonl" in stale.why


def test_an_unknown_notebook_is_refused():
    with pytest.raises(LabError, match="42"):
        record.stale(["42"])


def test_a_kernel_that_wrote_down_other_cells_than_those_that_ran_is_refused():
    with pytest.raises(LabError, match="other cells"):
        list(record._marks([nbformat.v4.new_code_cell("a")], []))


def test_the_command_says_so_and_exits_with_it():
    ran = subprocess.run(
        [sys.executable, "-m", "labkit.cli", "record", "--check", "02"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, "matches" in ran.stdout) == (0, True), ran.stdout + ran.stderr


def compared(*texts: str, tag: str = "nbval-check-output"):
    """A notebook of cells whose outputs say this."""
    cells = [nbformat.v4.new_code_cell("x", id=f"c{n}", metadata={"tags": [tag]}) for n, _ in enumerate(texts)]
    for cell, text in zip(cells, texts, strict=True):
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=1)]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_verdict_that_is_another_than_before_is_told():
    before = compared("True", "✗ a\n  seen: 3\n0/1", "1/1")
    assert record.other_verdicts(before, compared("False", "✗ a\n  seen: 4\n0/1", "1/1")) == ["c0"]
    assert record.other_verdicts(before, compared("True", "✓ a\n1/1", "1/1")) == ["c1"]
    assert record.other_verdicts(before, compared("False", "✓ a", "2/2", tag="aside")) == []


def test_what_never_ran_is_no_other_verdict():
    empty = compared("", "")
    for cell in empty.cells:
        cell.outputs = []
    assert record.other_verdicts(empty, compared("True", "False")) == []
