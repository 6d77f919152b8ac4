"""Notebook 09 as a reader has it: its live cell moves, Stop stops it, and a still figure takes its place.

With `--artifacts FOLDER` the picture of it is kept there.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from browsing import needs_browser
from watched import jupyterlab, moves_and_stops, still

from labkit.settings import NOTEBOOKS

pytestmark = [
    pytest.mark.live,
    needs_browser,
]

PATH = next(NOTEBOOKS.glob("09-*.ipynb"))
PANEL = "watch(show.red_panel"
LONG = "seconds=300"  # so that nothing but Stop ends it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What JupyterLab shows: notebook 09, without outputs, and with a view that goes on for long."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.source = cell.source.replace("seconds=12", LONG) if PANEL in cell.source else cell.source
    nbformat.write(notebook, folder / PATH.name)
    return folder


def test_the_live_panel_moves_stops_and_stays(folder: Path, bookinfo_in_the_mesh, request: pytest.FixtureRequest):
    sources = [cell.source for cell in nbformat.read(folder / PATH.name, as_version=4).cells]
    importing = next(number for number, source in enumerate(sources) if source.startswith("%load_ext labkit"))
    watching = next(number for number, source in enumerate(sources) if PANEL in source)
    assert LONG in sources[watching]
    with jupyterlab(folder) as opened:
        notebook = opened(PATH.name)
        notebook.run(importing)
        pictures = request.config.option.artifacts or folder.parent
        moves_and_stops(notebook, watching, pictures / "live-telemetry.png")
        assert still(notebook, watching)
        assert notebook.heard.errors == []
