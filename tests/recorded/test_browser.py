"""Notebook 09 in a real JupyterLab without a cluster: its view replays as it was, and cells may be run in any order."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import nbformat
import pytest
from browsing import needs_browser
from watched import jupyterlab, still

from labkit.settings import NOTEBOOKS

pytestmark = needs_browser

PATH = next(NOTEBOOKS.glob("09-*.ipynb"))
SECONDS = 12  # that the panel was watched for when it was recorded


def number_of(part: str) -> int:
    return next(n for n, cell in enumerate(nbformat.read(PATH, as_version=4).cells) if part in cell.source)


def text(outputs) -> str:
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.fixture
def notebook(tmp_path: Path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(PATH, folder)
    home = str(tmp_path / "home")
    with jupyterlab(folder, LABKIT_VENUE="recorded", LABKIT_HOME=home, DOCKER_HOST="unix:///nowhere") as opened:
        yield opened(PATH.name)


def test_a_view_replays_at_the_pace_at_which_it_was_recorded(notebook):
    first, panel, addon = (
        number_of("%load_ext"),
        number_of("watch(show.red_panel"),
        number_of("kubectl apply -f samples/addons"),
    )
    notebook.run(first)
    assert "Recorded mesh" in text(notebook.outputs(first))
    notebook.run(number_of('goto("09")'))

    notebook.run(panel)
    assert "makes no sense yet" in str(notebook.outputs(panel))

    notebook.run(addon)
    notebook.start(panel)
    began = time.monotonic()
    notebook.until_in_cell(panel, "return cell.node.querySelector('.widget-html svg') !== null")
    assert still(notebook, panel)
    assert SECONDS * 0.8 < time.monotonic() - began < SECONDS * 2
    assert notebook.heard.errors == []
