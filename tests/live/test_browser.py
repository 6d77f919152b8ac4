"""Notebook 09 as a reader has it: its live cell moves, Stop stops it, and a still figure takes its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from chromium import browser
from watched import jupyterlab, moves_and_stops, still

from labkit.course import verbs
from labkit.settings import NOTEBOOKS

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(browser() is None, reason="no Chromium or Chrome is installed (fix: install one)"),
]


def test_the_live_telemetry_moves_stops_and_stays(tmp_path: Path, request: pytest.FixtureRequest):
    verbs.goto("09", lambda event: None)
    folder = shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    [path] = folder.glob("09-*.ipynb")
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    watching = next(number for number, source in enumerate(sources) if "watch(show." in source)
    with jupyterlab(folder) as opened:
        notebook = opened(path.name)
        for number in range(watching):
            notebook.run(number)
        moves_and_stops(notebook, watching, (request.config.option.artifacts or tmp_path) / "live-telemetry.png")
        assert still(notebook, watching)
        assert notebook.page.errors == []
