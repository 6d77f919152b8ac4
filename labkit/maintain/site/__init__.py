"""The course as a static site, made by Sphinx and MyST-NB from the outputs that the notebooks hold: nothing is run."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit.course import notes
from labkit.errors import LabError
from labkit.maintain.site.accessible import accessible
from labkit.maintain.site.front import front_page, map_page
from labkit.progress import Progress
from labkit.settings import NOTEBOOKS, REPOSITORY

CONFIGURATION = Path(__file__).parent
PAGES = (NOTEBOOKS / "explore.ipynb", NOTEBOOKS / "glossary.md", NOTEBOOKS / "trainers.md")


def build(to: Path, progress: Progress) -> Path:
    """Put the site in the folder `to`, in place of what was there; its first page.

    Raises LabError where Sphinx is not installed, and where it has something to say against a page.
    """
    try:
        from sphinx.cmd.build import build_main
    except ModuleNotFoundError as missing:
        raise LabError(
            "The site cannot be built in this environment.",
            f"{missing.name} is not installed in it: the site takes other packages than the course",
            "make site",
        ) from None
    with progress.stage("the site"), TemporaryDirectory() as folder:
        sources, pages = Path(folder, "sources"), Path(folder, "pages")
        _gather(sources)
        if build_main(["--quiet", "--fail-on-warning", f"--conf-dir={CONFIGURATION}", str(sources), str(pages)]):
            raise LabError(
                "The site was not built.",
                "Sphinx warned of something; its words are above",
                "mend what it names; then build again",
            )
        for page in pages.rglob("*.html"):
            page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
        _lead_on(pages / "notebooks")
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(pages, to, ignore=shutil.ignore_patterns(".*"))
    return to / "index.html"


def _lead_on(pages: Path) -> None:
    """Have a notebook's earlier address lead to the one it has now."""
    for old, new in notes.MOVED.items():
        (pages / f"{old}.html").write_text(_MOVED.format(new=f"{new}.html"), encoding="utf-8")


_MOVED = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>This page has moved</title>
<meta http-equiv="refresh" content="0; url={new}"><p>This notebook is now <a href="{new}">{new}</a>.</p></html>
"""


def _gather(sources: Path) -> None:
    """What the site is made from: the course's notebooks, the files they and the README show, the front page."""
    notebooks = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    for folder in ("data", "pictures"):
        shutil.copytree(NOTEBOOKS / folder, sources / "notebooks" / folder)
    for path in notebooks:
        shutil.copy(path, sources / "notebooks")
    for path in PAGES:
        shutil.copy(path, sources / "notebooks")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (sources / "index.md").write_text(front_page(readme, notebooks), encoding="utf-8")
    (sources / "map.md").write_text(map_page(notebooks), encoding="utf-8")
