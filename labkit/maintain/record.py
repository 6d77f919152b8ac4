"""Run the notebooks as a reader would, and store in one go what they show and what they asked."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labkit import backend
from labkit.backend import places
from labkit.backend.live import Live
from labkit.cluster import kind
from labkit.course import agenda, availability, labs
from labkit.errors import LabError
from labkit.maintain import pictures
from labkit.progress import Progress, Report
from labkit.recordings import files, state
from labkit.recordings.files import Call, Head, Mark, Played
from labkit.recordings.stored import AT_START, NOT_RUN, code, difference, digest
from labkit.settings import NOTEBOOKS

CELL_TIMEOUT = 180  # seconds, unless a cell's tag `timeout=N` asks for more; a cell that hangs must not hang the rest
EXPLORE = NOTEBOOKS / "explore.ipynb"
ASIDE = "aside"  # the tag of cells that no later one builds upon


@dataclass(frozen=True)
class Stale:
    """A notebook whose recording is of other cells, and why."""

    notebook: str
    why: str


def record(numbers: list[str], report: Report) -> None:
    """Execute notebooks in their order on the live mesh; write their outputs into them, and their recordings.

    All of them run on a cluster made anew. A notebook is written only when all of it has run. Raises LabError with the
    first cell that failed.
    """
    progress = Progress(report, backend.now)
    chosen = _chosen(numbers)
    if not numbers:
        pictures.require()
        kind.down(progress)
        files.schemas().unlink(missing_ok=True)
    for path in chosen:
        with progress.stage(path.stem) as note, TemporaryDirectory() as folder:
            if error := availability.obstacle(labs.lab(path.stem[:2])):
                if numbers:
                    raise error
                note(f"left out: {error.why}")
                continue
            if others := _record(path, Path(folder) / "cells"):
                note(f"look at these verdicts, which were others before: {', '.join(others)}")
    with progress.stage(EXPLORE.stem):
        _explore()
    if not numbers:
        with progress.stage("pictures"):
            pictures.take()


def stale(numbers: list[str]) -> list[Stale]:
    """The notebooks whose recordings no longer match their cells or outputs, each with the first difference."""
    chosen = (path for path in _chosen(numbers) if numbers or not is_unrecorded(path))
    found = ((path.stem, _difference(path)) for path in chosen)
    return [Stale(notebook, why) for notebook, why in found if why]


def _difference(notebook: Path) -> str:
    lab = labs.lab(notebook.stem[:2])
    return availability.why_unrecorded(lab) if availability.is_unrecorded(lab) else difference(notebook)


def is_unrecorded(notebook: Path) -> bool:
    """Whether a notebook has no outputs yet, and no recording (see labkit.course.availability)."""
    return availability.is_unrecorded(labs.lab(notebook.stem[:2]))


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


def _explore() -> None:
    """The notebook that looks into what was recorded: its outputs change with the recordings."""
    import nbformat

    notebook = nbformat.read(EXPLORE, as_version=4)
    _execute(notebook, EXPLORE, {"LABKIT_VENUE": "recorded"})
    _tidy(notebook)
    nbformat.write(notebook, EXPLORE)


def _record(path: Path, asked: Path) -> list[str]:
    """The ids of the cells whose verdict is another than it was when they were recorded last."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    before = copy.deepcopy(notebook)
    _check_at_the_start(notebook, path.stem[:2])
    _execute(notebook, path, {"LABKIT_VENUE": os.environ.get("LABKIT_VENUE", "kind"), "LABKIT_RECORDER": str(asked)})
    _tidy(notebook)
    cells = [json.loads(line) for line in asked.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    heading = Head(
        notebook=path.stem,
        recorded=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        mesh=places.live(),
        cells=tuple(_marks(code(notebook), cells)),
    )
    files.write(files.of(path.stem), heading, map(_played, cells))
    moments = [(n, cell["moment"]["at"], cell["moment"]["changes"]) for n, cell in enumerate(cells) if cell["moment"]]
    state.write(state.of(files.of(path.stem)), heading, moments)
    state.keep_schemas(Live(), files.schemas())
    _without_check_at_the_start(notebook)
    agenda.tell(notebook, sum(cell["seconds"] for cell in cells), os.cpu_count() or 1)
    nbformat.write(notebook, path)
    return other_verdicts(before, notebook)


def other_verdicts(before: Any, after: Any) -> list[str]:
    """The ids of the cells of a notebook that say something else than they did, of those that each run compares.

    What is stored is what later runs are compared with, so a wrong verdict must not be.
    """
    said = _verdicts(before)
    return [cell for cell, verdict in _verdicts(after).items() if said.get(cell, verdict) != verdict]


def _verdicts(notebook: Any) -> dict[str, str]:
    """By the cells' ids, without what a check saw, which chance may change; a cell that never ran has none."""
    compared = [cell for cell in code(notebook) if "nbval-check-output" in cell.metadata.get("tags", [])]
    said = {cell.id: "".join(map(_said, cell.outputs)) for cell in compared if cell.outputs}
    return {
        cell: "\n".join(line for line in text.splitlines() if not line.startswith("  seen:"))
        for cell, text in said.items()
    }


def _said(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue", ""))


def _check_at_the_start(notebook: Any, lab: str) -> None:
    """A lab's check where nothing was done yet: so that whoever asks too early sees it fail."""
    from nbformat.v4 import new_code_cell

    begins = next((n for n, cell in enumerate(notebook.cells) if cell.source == f'goto("{lab}")'), 0)
    if lab == "00":  # it begins without a cluster
        begins = notebook.cells.index(code(notebook)[0])
    check = new_code_cell(f'check("{lab}")', id=AT_START, metadata={"tags": [ASIDE]})
    notebook.cells.insert(begins + 1, check)


def _without_check_at_the_start(notebook: Any) -> None:
    """And the cells numbered as they are without it; nor does the notebook say any more that it was not run."""
    notebook.cells = [cell for cell in notebook.cells if cell.id not in (AT_START, NOT_RUN)]
    for number, cell in enumerate(code(notebook), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def _execute(notebook: Any, path: Path, environment: dict[str, str]) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        notebook, timeout_func=_timeout, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False
    )
    try:
        client.execute(env={**os.environ, **environment, "LABKIT_HEADLESS": "1"})
    except CellExecutionError as error:
        raise LabError(
            f"{path.name} failed in a cell.", str(error).strip(), "run that cell in JupyterLab; then record again"
        ) from None


def _timeout(cell: Any) -> int:
    asked = [tag.partition("=")[2] for tag in cell.metadata.get("tags", []) if tag.startswith("timeout=")]
    return int(asked[0]) if asked else CELL_TIMEOUT


def _tidy(notebook: Any) -> None:
    """Leave out what differs from run to run without saying anything."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


# -- what was asked, and by which cell --------------------------------------------------------------
def _marks(cells: list[Any], asked: list[dict[str, Any]]) -> Iterable[Mark]:
    """Raises LabError unless each cell was written down. The first one loads the extension, with which that begins."""
    written = [cells[0].source if number == 0 else each["source"] for number, each in enumerate(asked)]
    if written != [cell.source for cell in cells]:
        raise LabError(
            "The kernel wrote down other cells than those that ran.",
            f"{len(cells)} cells ran, {len(written)} were written down",
            "`%load_ext labkit` must stand in the first cell",
        )
    for cell, each in zip(cells, asked, strict=True):
        yield Mark(
            cell=cell.id,
            source=cell.source,
            aside=ASIDE in cell.metadata.get("tags", []),
            changes=any(call["changes"] for call in each["calls"]),
            enters=each["enters"],
            outputs=digest(cell),
        )


def _played(cell: dict[str, Any]) -> Played:
    calls = tuple(Call(**{**call, "clocks": tuple(call["clocks"])}) for call in cell["calls"])
    return Played(calls, {sequence: tuple(clocks) for sequence, clocks in cell["opening"].items()})
