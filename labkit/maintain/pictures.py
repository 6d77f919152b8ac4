"""The README's pictures: the course in JupyterLab on what was just recorded, taken by the recording run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labkit.errors import LabError
from labkit.settings import NOTEBOOKS, REPOSITORY

RUNNING, LIVE = NOTEBOOKS / "data" / "course-running.png", NOTEBOOKS / "data" / "live-telemetry.png"
WIDTH, HEIGHT = 1280, 860  # pixels
FRAMES = 8  # of a live view, until it shows something


def require() -> None:
    """Raises LabError where there is no Chromium to take them with."""
    from labkit.maintain import jupyterlab

    if jupyterlab.program() is None:
        raise LabError("The README's pictures cannot be taken.", "no Chromium or Chrome is installed", "install one")


def take() -> None:
    """Both pictures, anew. Raises LabError where there is no Chromium."""
    from labkit.maintain import jupyterlab

    require()
    with TemporaryDirectory() as folder:
        notebooks = Path(folder) / "notebooks"
        notebooks.mkdir()
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            shutil.copy(path, notebooks)
        environment = {
            "LABKIT_VENUE": "recorded", "LABKIT_HOME": str(Path(folder) / "home"), "LABKIT_HEADLESS": "",
            "PYTHONPATH": str(REPOSITORY), "LABKIT_RECORDER": "", "PATH": os.environ["PATH"],
        }  # fmt: skip
        with (
            jupyterlab.jupyterlab(Path(folder), Path(folder), **environment) as url,
            jupyterlab.chromium() as browser,
        ):
            _running(jupyterlab.Notebook(jupyterlab.new_page(browser, WIDTH, HEIGHT), url("notebooks/" + _of("05"))))
            _live(jupyterlab.Notebook(jupyterlab.new_page(browser, WIDTH, HEIGHT), url("notebooks/" + _of("09"))))


def _running(notebook: Any) -> None:
    """Lab 05, with the topology that was drawn from what its proxies counted."""
    for part in ("%load_ext", 'goto("05")'):
        notebook.run(_number("05", part))
    drawn = _number("05", "show.topology")
    notebook.in_cell(drawn, "cell.node.scrollIntoView({block: 'center'})")
    notebook.until_in_cell(drawn, "return cell.node.querySelector('.main-svg') !== null")
    notebook.in_cell(drawn, "cell.node.scrollIntoView({block: 'end'})")
    notebook.page.screenshot(path=RUNNING)


def _live(notebook: Any) -> None:
    """Lab 09 while its panel moves."""
    for part in ("%load_ext", 'goto("09")', "kubectl apply -f samples/addons"):
        notebook.run(_number("09", part))
    panel = _number("09", "watch(show.red_panel")
    notebook.start(panel)
    notebook.until_in_cell(panel, "return cell.node.querySelector('.widget-html svg') !== null")
    notebook.do("application:toggle-left-area")
    notebook.in_cell(panel, "cell.node.scrollIntoView()")
    notebook.in_cell(
        panel,
        "window.frames_seen = 0; new MutationObserver(() => { frames_seen += 1 })"
        ".observe(cell.node.querySelector('.widget-html-content'), {childList: true});",
    )
    notebook.page.wait_for_function(f"frames_seen > {FRAMES}")
    notebook.page.screenshot(path=LIVE)


def _of(lab: str) -> str:
    return next(NOTEBOOKS.glob(f"{lab}-*.ipynb")).name


def _number(lab: str, part: str) -> int:
    import nbformat

    cells = nbformat.read(NOTEBOOKS / _of(lab), as_version=4).cells
    return next(number for number, cell in enumerate(cells) if part in cell.source)
