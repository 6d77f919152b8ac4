"""How MyST-NB reads a notebook of the course: its figures become HTML, its shell cells are highlighted as such."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

import nbformat
import plotly.io
from ipython_pygments_lexers import IPython3Lexer
from pygments.lexer import bygroups, using
from pygments.lexers import BashLexer
from pygments.token import Keyword, Operator, Text

FIGURE = "application/vnd.plotly.v1+json"
PLOTLY = "../_static/plotly.min.js"  # from a notebook's page


def read(text: str) -> nbformat.NotebookNode:
    """A notebook whose figures are HTML that draws itself with the plotly.js that lies in the site.

    https://myst-nb.readthedocs.io/en/latest/authoring/custom-formats.html
    """
    notebook = nbformat.reads(text, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    numbers = count(1)
    for output in outputs:
        if FIGURE in output.get("data", {}):
            output.data = nbformat.from_dict({"text/html": _drawn(output.data[FIGURE], next(numbers))})
    return notebook


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
    """IPython with the course's magics: after %%shell, %kubectl and %istioctl stands what a shell would read."""

    name = "IPython with the course's magics"
    aliases = ("course",)
    tokens: ClassVar = {
        **IPython3Lexer.tokens,
        "root": [
            (r"(?s)(\s*)(%%)(shell)(.*)", bygroups(Text, Operator, Keyword, using(BashLexer))),
            (r"(%)(kubectl|istioctl)(.*\n)", bygroups(Operator, Keyword, using(BashLexer))),
            *IPython3Lexer.tokens["root"],
        ],
    }
