"""A prediction as a reader makes it: with a click or from the keyboard, then measured."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from browsing import Notebook, needs_browser
from nbformat.v4 import new_code_cell, new_notebook
from watched import jupyterlab

CELLS = ("from labkit import check, outcome, predict", 'predict("99.1")', 'outcome("99.1", "83")', "check()")
ANSWERED = "return cell.node.querySelector('.widget-html')?.textContent.includes('Your prediction: {}')"

pytestmark = needs_browser


@pytest.fixture
def notebook(tmp_path: Path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(cell) for cell in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "guess.ipynb")
    with jupyterlab(folder, LABKIT_HOME=str(tmp_path / "home")) as opened:
        yield opened("guess.ipynb")


def button(notebook: Notebook, answer: str):
    return notebook.page.locator(".jp-Cell-outputArea").get_by_role("button", name=answer)


def told(notebook: Notebook, number: int) -> str:
    return notebook.outputs(number)[0]["data"]["text/plain"]


def test_a_click_answers_and_so_does_the_keyboard(notebook):
    notebook.run(0)
    notebook.run(1)
    button(notebook, "about 8").first.click()
    notebook.until_in_cell(1, ANSWERED.format("about 8"))
    button(notebook, "about 80").focus()
    notebook.page.keyboard.press("Enter")
    notebook.until_in_cell(1, ANSWERED.format("about 80"))
    notebook.run(2)
    assert told(notebook, 2).startswith("Measured: about 80. You predicted so.")
    notebook.run(3)
    assert "1 of 1" in told(notebook, 3)
    assert notebook.heard.errors == []


def test_who_goes_on_is_told_what_was_measured(notebook):
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    assert told(notebook, 2).startswith("Measured: about 80.\n")
    notebook.run(3)
    assert "No prediction" in told(notebook, 3)
