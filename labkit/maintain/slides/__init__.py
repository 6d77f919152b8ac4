"""A talk from each notebook, by the slide types of its cells: nbconvert and reveal.js; nothing is run or fetched.

The types are Jupyter's own, set in the property inspector of JupyterLab:
https://nbconvert.readthedocs.io/en/latest/usage.html#reveal-js-html-slideshow
"""

from __future__ import annotations

import re
import shutil
from html import escape
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from labkit.course import labs
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import NOTEBOOKS

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT = 1280, 720  # of a slide, in pixels; a browser scales it to its window
_NOTEBOOK = re.compile(r"\]\((\d\d-[\w-]+)\.ipynb")


def build(to: Path, progress: Progress) -> Path:
    """Put the talks in the folder `to`, in place of what was there; the page that lists them.

    Raises LabError where the packages for it are not installed.
    """
    try:
        from nbconvert import SlidesExporter

        reveal = Path(str(files("sphinx_revealjs"))) / "_static" / "revealjs"
    except ModuleNotFoundError as missing:
        raise LabError(
            "The slides cannot be made in this environment.",
            f"{missing.name} is not installed in it: slides take other packages than the course",
            "make slides",
        ) from None
    exporter = SlidesExporter(
        template_name="talk",
        extra_template_basedirs=[str(TEMPLATES)],
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        reveal_transition="none",
        reveal_number="c/t",
        reveal_width=str(WIDTH),
        reveal_height=str(HEIGHT),
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    with progress.stage("the slides") as note, TemporaryDirectory() as folder:
        pages = Path(folder, "pages")
        for part in ("dist", "plugin/notes"):
            shutil.copytree(reveal / part, pages / "reveal.js" / part)
        for path in paths:
            note(path.stem)
            resources = {"metadata": {"path": str(NOTEBOOKS), "name": path.stem}}
            (pages / f"{path.stem}.html").write_text(exporter.from_notebook_node(_talk(path), resources)[0], "utf-8")
        (pages / "index.html").write_text(_index(paths), "utf-8")
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(pages, to)
    return to / "index.html"


def _talk(path: Path) -> nbformat.NotebookNode:
    """A notebook with its title, whose links lead to the other talks."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["title"] = _title(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _NOTEBOOK.sub(r"](\1.html", cell.source)
    return notebook


def _title(path: Path) -> str:
    return labs.lab(path.stem[:2]).title


def _index(paths: list[Path]) -> str:
    items = "\n".join(
        f'<li>{path.stem[:2]} <a href="{path.stem}.html">{escape(_title(path))}</a></li>' for path in paths
    )
    return _INDEX.format(items=items)


_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Istio, live: slides</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 1.2rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
</style></head>
<body><main><h1>Istio, live: slides</h1>
<p>Arrow keys turn the pages, <kbd>Esc</kbd> shows all of them, and <kbd>S</kbd> opens the speaker's view: the
notebook's own text beside the slide.</p>
<ul>
{items}
</ul></main></body></html>
"""
