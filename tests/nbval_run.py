"""A pytest run inside a test: cells as one notebook, under nbval and the course's guards."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook


def cell(source: str, *tags: str, outputs=(), count: int | None = 1, **metadata) -> nbformat.NotebookNode:
    return new_code_cell(
        source, execution_count=count, outputs=list(outputs), metadata={"tags": list(tags), **metadata}
    )


class Reports:
    """A pytest plugin: how each cell ended, in order."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.outcomes.append(report.outcome)
            self.said.append(str(report.longrepr))


def nbval(
    folder: Path, *cells: nbformat.NotebookNode, options: tuple[str, ...] = (), plugins=(), group: str = "--nbval-lax"
) -> tuple[int, Reports]:
    """Run the cells as one notebook under nbval: pytest's exit status, and how each cell ended."""
    notebook = folder / "lab.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), notebook)
    return nbval_file(notebook, options=options, plugins=plugins, group=group)


def nbval_file(
    notebook: Path, options: tuple[str, ...] = (), plugins=(), group: str = "--nbval-lax"
) -> tuple[int, Reports]:
    """The same for a notebook that is there; nothing of the run around it is taken over."""
    reports = Reports()
    apart = ["-c", "/dev/null", "--rootdir", str(notebook.parent), "-p", "pytest_notebooks", "--color=no"]
    arguments = [str(notebook), *apart, group, "--nbval-current-env", *options]
    return pytest.main(arguments, plugins=[reports, *plugins]), reports
