"""The talks as a room sees them: each slide fits, and all of it lies in the folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Heard, needs_browser, new_page
from playwright.sync_api import Browser, Page

from labkit.maintain.slides import HEIGHT, WIDTH
from labkit.settings import NOTEBOOKS, REPOSITORY, SLIDES

PYTHON = REPOSITORY / ".venv-site" / "bin" / "python"
PATHS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))

pytestmark = needs_browser
built = pytest.mark.skipif(not PYTHON.exists(), reason="the slides' environment is not there (fix: make slides)")

# What does not fit on the slide in view: its own height, and whatever is wider than what holds it.
TOO_LARGE = """() => {
  const slide = Reveal.getCurrentSlide(), {width, height} = Reveal.getConfig();
  const inner = [...slide.querySelectorAll(":not(aside, aside *)")].filter(
    each => each.clientWidth && !each.closest("svg") && each.scrollWidth > each.clientWidth + 1);
  const found = inner.map(each => each.tagName + " " + each.scrollWidth + " > " + each.clientWidth);
  if (slide.scrollHeight > height) found.push("height " + slide.scrollHeight);
  if (slide.scrollWidth > width) found.push("width " + slide.scrollWidth);
  return found;
}"""
IDS = """() => [...Reveal.getCurrentSlide().querySelectorAll(".jp-Cell:not(aside .jp-Cell)")]
  .map(each => each.id.replace("cell-id=", ""))"""


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the slides are, made as a trainer makes them."""
    command = [str(PYTHON), "-m", "labkit.cli", "slides"]
    made = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return SLIDES


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of a projector's proportions."""
    with new_page(browser, WIDTH, HEIGHT) as opened:
        yield opened


def open_(page: Page, talk: Path) -> None:
    page.goto(talk.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.evaluate("document.fonts.ready")


def too_large(page: Page) -> dict[str, list[str]]:
    """What does not fit, by the ids of the cells on its slide; each slide is looked at."""
    found = {}
    for _ in range(page.evaluate("Reveal.getTotalSlides()")):
        if faults := page.evaluate(TOO_LARGE):
            found[" ".join(page.evaluate(IDS))] = faults
        page.evaluate("Reveal.next()")
    assert page.evaluate("Reveal.isLastSlide()")
    return found


@built
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_slide_fits_and_comes_from_the_folder(folder, page, path):
    heard = Heard.of(page)
    open_(page, folder / f"{path.stem}.html")
    assert too_large(page) == {}
    assert heard.errors == []
    assert [url for url in heard.requests if not url.startswith((folder.as_uri(), "data:"))] == []


@built
def test_a_slide_that_is_too_large_is_told(folder, page):
    open_(page, *folder.glob("11-*.html"))
    page.add_style_tag(content=":root { --jp-content-font-size1: 90px !important }")
    assert any("height" in " ".join(faults) for faults in too_large(page).values())


@built
def test_the_speakers_view_has_the_notebooks_text(folder, page):
    open_(page, *folder.glob("11-*.html"))
    said = page.evaluate("Reveal.getSlides().map(slide => Reveal.getSlideNotes(slide) || '')")
    assert any("In each row" in each for each in said)


@built
def test_the_first_page_leads_to_each_talk(folder, page):
    page.goto((folder / "index.html").as_uri())
    links = page.eval_on_selector_all("a", "all => all.map(each => each.href)")
    assert links == [(folder / f"{path.stem}.html").as_uri() for path in PATHS]
