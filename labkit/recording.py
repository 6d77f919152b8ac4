"""Run the notebooks as a reader would, and store what they show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from labkit import venue
from labkit.errors import LabError
from labkit.progress import Progress, Report
from labkit.settings import NOTEBOOKS

CELL_TIMEOUT = 180  # seconds, unless a cell's tag `timeout=N` asks for more; a cell that hangs must not hang the rest


def record(numbers: list[str], report: Report) -> None:
    """Execute notebooks in their order on the live mesh, and write their outputs into them.

    A notebook is written only when all of it has run. Raises LabError with the first cell that failed.
    """
    progress = Progress(report, venue.now)
    for path in _chosen(numbers):
        with progress.stage(path.stem):
            _execute(path)


def _chosen(numbers: list[str]) -> list[Path]:
    paths = {path.name[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))}
    unknown = [number for number in numbers if number not in paths]
    if unknown:
        raise LabError(
            f"There is no notebook {', '.join(unknown)}.",
            f"the notebooks are {', '.join(paths)}",
            "name them by their two digits: `labkit record 05`",
        )
    return [paths[number] for number in numbers] or list(paths.values())


def _execute(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout_func=_timeout, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False
    )
    try:
        client.execute(env=_kernel_environment())
    except CellExecutionError as error:
        raise LabError(
            f"{path.name} failed in a cell.", str(error).strip(), "run that cell in JupyterLab; then record again"
        ) from None
    _tidy(notebook)
    nbformat.write(notebook, path)


def _timeout(cell: Any) -> int:
    asked = [tag.partition("=")[2] for tag in cell.metadata.get("tags", []) if tag.startswith("timeout=")]
    return int(asked[0]) if asked else CELL_TIMEOUT


def _kernel_environment() -> dict[str, str]:
    """Live views draw their final frame only: that is what can be stored."""
    return {**os.environ, "LABKIT_HEADLESS": "1"}


def _tidy(notebook: Any) -> None:
    """Leave out what differs from run to run without saying anything."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
