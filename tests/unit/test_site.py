"""What the site is made from: its front page, how it reads notebooks, where it is built."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pygments.token import Error, Keyword, Name, Operator

from labkit.maintain import site
from labkit.maintain.site.accessible import accessible
from labkit.maintain.site.front import front_page
from labkit.maintain.site.reading import FIGURE, FOLDED, PLOTLY, CourseLexer, read
from labkit.settings import NOTEBOOKS, REPOSITORY
from labkit.show.colours import INK, rgb

PATHS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


# -- the front page -----------------------------------------------------------------------------
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_front_page_leads_to_each_notebook(path):
    page = front_page(README, PATHS)
    assert f"](notebooks/{path.name}) |" in page
    assert f"<notebooks/{path.stem}>" in page


def test_the_front_page_says_how_to_run_the_course():
    assert "make lab" in front_page(README, PATHS)


def test_a_readme_without_the_table_makes_no_front_page():
    with pytest.raises(KeyError):
        front_page(README.replace("## What is in it", "## Contents"), PATHS)


# -- what is folded -------------------------------------------------------------------------------
def test_what_jupyterlab_folds_is_folded_prose_and_code():
    fold = {FOLDED: True}
    cells = [
        new_markdown_cell("## Exercise\n\nTry."), new_code_cell("hint()"),
        new_markdown_cell("### A near miss\n\n**Nearly** right.", metadata=fold), new_code_cell("wrong()"),
        new_markdown_cell("And again:"), new_markdown_cell("## Summary\n\nAll."), new_code_cell("1"),
    ]  # fmt: skip
    found = read(nbformat.writes(new_notebook(cells=cells))).cells
    hidden = "<details>\n<summary>Show text</summary>\n\n{}\n\n</details>"
    assert [cell.source for cell in found if cell.cell_type == "markdown"] == [
        "## Exercise\n\nTry.", "### A near miss\n\n" + hidden.format("**Nearly** right."),
        hidden.format("And again:"), "## Summary\n\nAll.",
    ]  # fmt: skip
    assert ["hide-cell" in cell.metadata.get("tags", []) for cell in found if cell.cell_type == "code"] == [
        False, True, False,
    ]  # fmt: skip


def test_a_folded_heading_without_a_text_stays_as_it_is():
    alone = new_notebook(cells=[new_markdown_cell("### A near miss", metadata={FOLDED: True})])
    assert read(nbformat.writes(alone)).cells[0].source == "### A near miss"


# -- figures ------------------------------------------------------------------------------------
def with_figures(number: int) -> str:
    figure = {"data": [{"type": "scatter", "x": [1], "y": [2]}], "layout": {"width": 760, "height": 200}, "config": {}}
    outputs = [new_output("display_data", {FIGURE: figure, "text/plain": "a figure"}) for _ in range(number)]
    return nbformat.writes(new_notebook(cells=[new_code_cell("draw()", outputs=[output]) for output in outputs]))


def test_figures_draw_themselves_with_one_script_from_the_site():
    drawn = [cell.outputs[0].data["text/html"] for cell in read(with_figures(3)).cells]
    assert [f'src="{PLOTLY}"' in html for html in drawn] == [True, False, False]
    assert [f'id="figure-{number}"' in html for number, html in enumerate(drawn, start=1)] == [True] * 3
    assert "://" not in "".join(drawn)


def test_what_is_no_figure_stays_as_it_is_stored():
    stored = new_notebook(cells=[new_code_cell("1", outputs=[new_output("stream", text="1\n")])])
    assert read(nbformat.writes(stored)) == stored


def test_the_figures_text_is_recoloured_by_the_colour_it_has():
    style = (REPOSITORY / "labkit" / "maintain" / "site" / "static" / "course.css").read_text()
    assert f'text[style*="rgb{rgb(INK)}"]' in style


# -- highlighting -------------------------------------------------------------------------------
def kinds(source: str) -> list[tuple]:
    return [(kind, value) for kind, value in CourseLexer().get_tokens(source) if value.strip()]


@pytest.mark.parametrize("source", ['%%shell\necho "$HOME"', '%kubectl get "$HOME"', '%istioctl analyze "$HOME"'])
def test_what_a_shell_reads_is_highlighted_as_such(source):
    found = kinds(source)
    assert found[0][0] is Operator
    assert found[1][0] is Keyword
    assert (Name.Variable, "$HOME") in [(kind, value.strip('"')) for kind, value in found]


def test_python_stays_python():
    assert (Keyword, "return") in kinds("def f():\n    return 1")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_cell_can_be_highlighted(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [source for source in cells if Error in [kind for kind, _ in kinds(source)]] == []


# -- where it is built --------------------------------------------------------------------------
@pytest.mark.parametrize(("command", "package"), [("site", "sphinx"), ("slides", "sphinx_revealjs")])
def test_without_its_packages_one_is_told_what_to_do(command, package):
    code = f"import sys; sys.modules[{package!r}] = None; from labkit.cli import main; main()"
    told = [sys.executable, "-c", code, command]
    result = subprocess.run(told, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"fix: make {command}" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_earlier_address_leads_to_the_present_one(tmp_path):
    site._lead_on(tmp_path)
    [page] = tmp_path.iterdir()
    assert page.name == "15-clean-up.html"
    assert 'url=99-clean-up.html"' in page.read_text()
    assert (NOTEBOOKS / "99-clean-up.ipynb").exists()


@pytest.mark.parametrize(("made", "mended"), [
    ("<th></th>", "<td></td>"),
    ('<th class="blank level0">&nbsp;</th>', '<td class="blank level0"></td>'),
    ('<th class="head"><p></p></th>', '<td class="head"></td>'),
    ("<th>lab</th>", "<th>lab</th>"),
    ("<thead></thead>", "<thead></thead>"),
    ('<summary aria-label="Toggle hidden content">\n<p>Show</p>', "<summary>\n<p>Show</p>"),
    (
        '<button class="btn search-button-field pst-js-only" title="Search" aria-label="Search" data-x="y">',
        '<button class="btn search-button-field pst-js-only" title="Search" data-x="y">',
    ),
    ('<button class="search-button" aria-label="Search">', '<button class="search-button" aria-label="Search">'),
    ('<div id="pst-primary-sidebar">', '<div id="pst-primary-sidebar" role="navigation" aria-label="Site">'),
])  # fmt: skip
def test_what_the_theme_leaves_out_is_put_right_and_nothing_else(made, mended):
    assert accessible(made) == mended
