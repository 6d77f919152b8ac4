"""A live view as a reader has it: it moves, Stop stops it, and a still figure takes its place, without an error."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from browsing import Notebook, needs_browser
from nbformat.v4 import new_code_cell, new_notebook
from watched import STILL, jupyterlab, moves_and_stops, still

RUN = """
    from itertools import count
    import pandas as pd
    from labkit import show, backend, watch
    closed = []
    def rates():
        try:
            for second in count():
                yield pd.DataFrame([
                    {"time": float(second), "destination_service_name": service, "destination_version": version,
                     "requests_per_second": 5.0 + second % 3, "error_share": 0.1, "p50_milliseconds": 8.0,
                     "p95_milliseconds": 30.0} for service, version in [("productpage", "v1"), ("reviews", "v2")]])
                backend.sleep(0.05)
        finally:
            closed.append(True)
"""
WATCH = "seen = watch(show.red_panel, rates(), seconds=600)"
SEE = "len(seen) > 0, closed"

pytestmark = needs_browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What JupyterLab shows; logs and the browser's profile lie beside it."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(folder: Path) -> Iterator[Callable[[str], Notebook]]:
    """Opens a notebook of the folder."""
    with jupyterlab(folder) as open_:
        yield open_


@pytest.fixture
def view(folder: Path) -> str:
    """The name of a notebook that needs no mesh."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(textwrap.dedent(cell)) for cell in (RUN, WATCH, SEE)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "view.ipynb")
    return "view.ipynb"


def test_the_panel_moves_stops_and_stays(opened, view, folder, tmp_path):
    notebook = opened(view)
    notebook.run(0)
    moves_and_stops(notebook, 1, tmp_path / "live.png")
    assert still(notebook, 1)
    notebook.run(2)
    assert notebook.outputs(2)[0]["data"]["text/plain"] == "(True, [True])"

    notebook.do("docmanager:save")
    stored = nbformat.read(folder / view, as_version=4)
    [output] = stored.cells[1].outputs
    assert output.data.keys() >= STILL
    assert "widget" not in json.dumps(stored)
    assert notebook.heard.errors == []


def test_an_interrupt_of_the_kernel_leaves_the_figure_and_no_error(opened, view):
    notebook = opened(view)
    notebook.run(0)
    notebook.start(1)
    notebook.until_in_cell(1, "return cell.node.querySelector('.widget-html svg') !== null")
    notebook.do("notebook:interrupt-kernel")
    assert still(notebook, 1)
    notebook.run(2)
    assert notebook.outputs(2)[0]["data"]["text/plain"] == "(True, [True])"
    assert notebook.heard.errors == []


def test_an_error_in_the_console_is_seen(opened, view):
    notebook = opened(view)
    page, errors = notebook.page, notebook.heard.errors
    page.evaluate("console.error('a')")
    with page.expect_event("pageerror"):
        page.evaluate("() => { setTimeout(() => { throw Error('b') }, 0) }")
    with page.expect_console_message():
        page.evaluate("async () => { await fetch('/api/nowhere') }")
    assert ["a" in errors[0], "Error: b" in errors[1], "404" in errors[2]] == [True] * 3
