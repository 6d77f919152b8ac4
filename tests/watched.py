"""A live view in a real JupyterLab: that it moves, that Stop stops it, and that a still figure takes its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import browsing
from browsing import Notebook

from labkit.settings import REPOSITORY
from labkit.show.figure import PLOTLY

STILL = {PLOTLY, "image/svg+xml", "text/plain"}


@contextmanager
def jupyterlab(notebooks: Path, **environment: str) -> Iterator[Callable[[str], Notebook]]:
    """Yields what opens a notebook of this folder. Its kernel has this course, and draws live views."""
    beside = notebooks.parent
    with (
        browsing.jupyterlab(notebooks, beside, LABKIT_HEADLESS="", PYTHONPATH=str(REPOSITORY), **environment) as url,
        browsing.chromium() as browser,
    ):
        yield lambda name: Notebook(browsing.new_page(browser, 1200, 960), url(name))


def moves_and_stops(notebook: Notebook, number: int, picture: Path) -> None:
    """Run a cell that watches; look at it for a while, then press its Stop button."""
    notebook.start(number)
    notebook.until_in_cell(number, "return cell.node.querySelector('.widget-html svg') !== null")
    notebook.in_cell(
        number,
        "window.frames_seen = [];"
        "new MutationObserver(() => frames_seen.push(performance.now()))"
        ".observe(cell.node.querySelector('.widget-html-content'), {childList: true});",
    )
    frames = notebook.page.wait_for_function("frames_seen.length > 10 && frames_seen").json_value()
    assert (len(frames) - 1) / (frames[-1] - frames[0]) * 1000 <= 5.5  # frames a second, as they arrive
    notebook.do("application:toggle-left-area")
    notebook.in_cell(number, "cell.node.scrollIntoView()")
    notebook.page.screenshot(path=picture)
    notebook.page.click(".jp-Notebook .jupyter-button")


def still(notebook: Notebook, number: int) -> bool:
    """Whether, once the cell has ended, its one output is the figure, and the figure is drawn."""
    notebook.until_in_cell(number, "return cell.model.executionState === 'idle'")
    notebook.until_in_cell(number, "return cell.node.querySelector('.jp-RenderedPlotly .main-svg') !== null")
    [output] = notebook.outputs(number)
    widgets = notebook.in_cell(number, "return cell.node.querySelectorAll('.jupyter-widgets').length")
    return output["data"].keys() >= STILL and widgets == 0
