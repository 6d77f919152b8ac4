"""A notebook's stored outputs beside its recording: whether both are of one run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.recordings import files

AT_START = "check-at-the-start"  # the id of a cell that runs where a lab begins, and stands in no notebook

NOT_RUN = "not-run-yet"  # the id of a cell that says why there is no output, and goes as the notebook is recorded


def code(notebook: Any) -> list[Any]:
    """Its cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(cell: Any) -> str:
    """Of what a cell shows, whatever number it ran under."""
    shown = [{**output, "execution_count": None} for output in cell.outputs]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def difference(path: Path) -> str:
    """The first thing in which a notebook and its recording differ; "" where they agree.

    What cannot be read, be it notebook or recording, is a difference too.
    """
    try:
        cells, recorded = code(_read(path)), files.Recording(files.of(path.stem)).head.cells
    except LabError as error:
        return f"{error.what} {error.why}"
    marks = [mark for mark in recorded if mark.cell != AT_START]
    for number, (cell, mark) in enumerate(zip(cells, marks, strict=False), start=1):
        if cell.source != mark.source:
            return f"cell {number} ({cell.id}) is another than the one recorded"
        if digest(cell) != mark.outputs:
            return f"the stored output of cell {number} ({cell.id}) is not of the recorded run"
    return "" if len(cells) == len(marks) else f"it has {len(cells)} code cells, {len(marks)} were recorded"


def _read(path: Path) -> Any:
    import nbformat
    from nbformat.validator import NotebookValidationError

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotebookValidationError) as error:
        raise LabError(
            f"{path.name} cannot be read.",
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            f"`git checkout notebooks/{path.name}` brings it back",
        ) from None
    return notebook
