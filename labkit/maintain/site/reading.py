"""How MyST-NB reads a notebook of the course: its figures become HTML, its shell cells are highlighted as such."""

from __future__ import annotations

import re
from itertools import count
from typing import ClassVar

import nbformat
import plotly.io
from ipython_pygments_lexers import IPython3Lexer
from pygments.lexer import bygroups, using
from pygments.lexers import BashLexer
from pygments.token import Keyword, Operator, Text

FIGURE = "application/vnd.plotly.v1+json"
FOLDED = "jp-MarkdownHeadingCollapsed"  # JupyterLab's own mark of a heading whose cells it hides
PLOTLY = "../_static/plotly.min.js"  # from a notebook's page


def read(text: str) -> nbformat.NotebookNode:
    """A notebook whose figures are HTML that draws itself with the plotly.js that lies in the site.

    What JupyterLab folds is folded here too. https://myst-nb.readthedocs.io/en/latest/authoring/custom-formats.html
    """
    notebook = nbformat.reads(text, as_version=4)
    for cell in folded(notebook):
        if cell.cell_type == "code":
            cell.metadata.setdefault("tags", []).append("hide-cell")
        else:
            cell.source = _hidden(cell.source)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    numbers = count(1)
    for output in outputs:
        if FIGURE in output.get("data", {}):
            output.data = nbformat.from_dict({"text/html": _drawn(output.data[FIGURE], next(numbers))})
    return notebook


def folded(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that JupyterLab hides, with their heading's: to the next one of its level, or of a higher one."""
    found, level = [], 0
    for cell in notebook.cells:
        heading = re.match(r"(#+) ", cell.source) if cell.cell_type == "markdown" else None
        if heading and (cell.metadata.get(FOLDED) or len(heading[1]) <= level):
            level = len(heading[1]) if cell.metadata.get(FOLDED) else 0
        if level:
            found.append(cell)
    return found


def _hidden(text: str) -> str:
    """A text that shows when it is asked for; its heading stays."""
    heading, rest = re.fullmatch(r"(?s)(#+ [^\n]*\n*)?(.*)", text).groups("")  # type: ignore[union-attr]
    return f"{heading}<details>\n<summary>Show text</summary>\n\n{rest}\n\n</details>" if rest.strip() else text


def _drawn(figure: dict, number: int) -> str:
    """plotly's HTML for the page's figure of this number; the first one brings plotly.js."""
    return plotly.io.to_html(
        {"data": figure["data"], "layout": figure["layout"]},
        config=figure["config"],
        include_plotlyjs=PLOTLY if number == 1 else False,
        full_html=False,
        div_id=f"figure-{number}",
    )


class CourseLexer(IPython3Lexer):
    """IPython with the course's magics: after %%shell, %kubectl, %istioctl and %helm stands what a shell would read."""

    name = "IPython with the course's magics"
    aliases = ("course",)
    tokens: ClassVar = {
        **IPython3Lexer.tokens,
        "root": [
            (r"(?s)(\s*)(%%)(shell)(.*)", bygroups(Text, Operator, Keyword, using(BashLexer))),
            (r"(%)(kubectl|istioctl|helm)(.*\n)", bygroups(Operator, Keyword, using(BashLexer))),
            *IPython3Lexer.tokens["root"],
        ],
    }
