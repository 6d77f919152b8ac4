"""The course's site as a reader has it: from a folder, in a browser; and that what is looked for would be found."""

from __future__ import annotations

import html
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest
from accessibility import OF_COLOUR, RULES, faults
from browsing import Heard, needs_browser, new_page
from farend import free_port
from playwright.sync_api import Browser, Page

from labkit.settings import NOTEBOOKS, REPOSITORY
from labkit.show.colours import contrast

PYTHON = REPOSITORY / ".venv-site" / "bin" / "python"
PATHS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
BESIDE = ["notebooks/explore", "notebooks/glossary", "notebooks/trainers"]
PLACES = ["index", "map", *(f"notebooks/{path.stem}" for path in PATHS), *BESIDE]
FIGURE = "application/vnd.plotly.v1+json"
WIDE, NARROW = 1366, 360  # pixels: a laptop, a telephone
LEGIBLE = 4.5  # to 1: https://www.w3.org/TR/WCAG22/#contrast-minimum

pytestmark = needs_browser
built = pytest.mark.skipif(not PYTHON.exists(), reason="the site's environment is not there (fix: make site)")


def labkit_site(repository: Path) -> subprocess.CompletedProcess:
    command = [str(PYTHON), "-m", "labkit.cli", "site"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def front() -> str:
    """The address of the site's first page, as it is told to whoever builds it."""
    made = labkit_site(REPOSITORY)
    assert made.returncode == 0, made.stderr
    return made.stdout.split()[-1]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, wide enough for the contents to be in view."""
    with new_page(browser, WIDE, 900) as opened:
        yield opened


@pytest.fixture
def heard(page: Page) -> Heard:
    """What the page said and asked for."""
    return Heard.of(page)


def open_(page: Page, address: str) -> None:
    """Open a page, and wait until all of it is drawn."""
    page.goto(address)
    page.evaluate("async () => { await document.fonts.ready; await new Promise(requestAnimationFrame) }")


# -- reading through it -------------------------------------------------------------------------
@dataclass(frozen=True)
class Reading:
    """What was met on the way. pages: their addresses. nowhere: links that lead there. elsewhere: other hosts' URLs."""

    pages: list[str]
    nowhere: list[tuple[str, str]]
    errors: list[str]
    elsewhere: list[str]


def read_through(page: Page, heard: Heard, first: str) -> Reading:
    """Follow every link inside the site, from its first page until no page is left unopened."""
    anchors: dict[str, set[str]] = {}
    links: dict[str, list[str]] = {}
    waiting = [first]
    while waiting:
        address = waiting.pop()
        open_(page, address)
        anchors[address] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)"))
        followed = page.evaluate("[...document.links].map(link => link.href)")
        links[address] = [link for link in followed if link.startswith("file:")]
        targets = {urldefrag(link).url for link in links[address]}
        waiting += [each for each in targets if is_page(each) and each not in {*anchors, *waiting}]
    nowhere = [(at, link) for at, found in links.items() for link in found if not leads(link, anchors)]
    elsewhere = [url for url in heard.requests if urlsplit(url).scheme not in ("file", "data", "blob")]
    return Reading(list(anchors), nowhere, list(heard.errors), elsewhere)


def path_of(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def is_page(address: str) -> bool:
    return path_of(address).suffix == ".html" and path_of(address).is_file()


def leads(link: str, anchors: dict[str, set[str]]) -> bool:
    """Whether there is something at a link: a page, its anchor if it names one, a file."""
    address, fragment = urldefrag(link)
    if address in anchors:
        return not fragment or unquote(fragment) in anchors[address]
    return path_of(address).is_file()


@built
def test_every_page_and_every_link_is_good(page, heard, front):
    reading = read_through(page, heard, front)
    assert {path.stem for path in PATHS} <= {path_of(address).stem for address in reading.pages}
    assert reading.nowhere == []
    assert reading.errors == []
    assert reading.elsewhere == []


def a_site(folder: Path, body: str) -> str:
    """Two pages; the second one has `body`."""
    (folder / "one.html").write_text("<!doctype html><a href='two.html'>two</a>")
    (folder / "two.html").write_text(f"<!doctype html><h1 id='top'>2</h1><a href='one.html'>one</a>{body}")
    return (folder / "one.html").as_uri()


@pytest.mark.parametrize("link", ["three.html", "two.html#bottom", "notes.txt", "one.html#top"])
def test_a_link_that_leads_nowhere_is_seen(page, heard, tmp_path, link):
    reading = read_through(page, heard, a_site(tmp_path, f"<a href='{link}'>there</a>"))
    assert reading.nowhere == [((tmp_path / "two.html").as_uri(), (tmp_path / link).as_uri().replace("%23", "#"))]


@pytest.mark.parametrize("link", ["one.html", "two.html#top", "#top", "one.html#"])
def test_a_link_that_leads_somewhere_is_none_of_them(page, heard, tmp_path, link):
    reading = read_through(page, heard, a_site(tmp_path, f"<a href='{link}'>there</a>"))
    assert (len(reading.pages), reading.nowhere, reading.errors, reading.elsewhere) == (2, [], [], [])


@pytest.mark.parametrize("fault", ["<script>console.error('no')</script>", "<script>nothing()</script>",
                                   "<img src='missing.png'>", "<script>fetch('one.html')</script>"])  # fmt: skip
def test_an_error_in_the_console_is_seen(page, heard, tmp_path, fault):
    assert read_through(page, heard, a_site(tmp_path, fault)).errors != []


@pytest.mark.parametrize("asking", ["<img src='{}'>", "<link rel='stylesheet' href='{}'>", "<script src='{}'></script>",
                                    "<style>@import '{}';</style>"])  # fmt: skip
def test_a_request_to_another_host_is_seen(page, heard, tmp_path, asking):
    there = f"http://127.0.0.1:{free_port()}/there"
    assert read_through(page, heard, a_site(tmp_path, asking.format(there))).elsewhere == [there]


@built
def test_a_broken_link_in_a_notebook_makes_no_site(tmp_path):
    for name in ("labkit", "notebooks"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    notebook = tmp_path / "notebooks" / PATHS[0].name
    broken = notebook.read_text().replace(PATHS[1].name, "nowhere.ipynb")
    assert broken != notebook.read_text()
    notebook.write_text(broken)
    made = labkit_site(tmp_path)
    assert made.returncode == 1
    assert "nowhere.ipynb" in made.stderr
    assert not (tmp_path / "build").exists()


# -- searching ----------------------------------------------------------------------------------
FOUND = "[...document.querySelectorAll('#search-results li a')].map(link => link.href)"


def search(page: Page, front: str, word: str) -> list[str]:
    """What the search field of a page finds: the addresses."""
    open_(page, front)
    page.click(".search-button-field")
    page.fill("#pst-search-dialog input", word)
    page.press("#pst-search-dialog input", "Enter")
    page.wait_for_url("**/search.html*")
    page.wait_for_function("document.querySelector('.search-summary')?.textContent")
    page.wait_for_function("!document.querySelector('#search-progress')?.textContent")
    return page.evaluate(FOUND)


@built
def test_a_word_is_found_where_it_stands(page, heard, front):
    found = search(page, front, "sidecars")
    assert "04-inject-sidecars" in [path_of(address).stem for address in found]
    assert heard.errors == []


@built
def test_a_word_that_stands_nowhere_is_not_found(page, front):
    assert search(page, front, "xylophone") == []


# -- figures ------------------------------------------------------------------------------------
def figures(path: Path) -> list[dict]:
    """A notebook's figures, as stored."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    return [output.data[FIGURE] for output in outputs if FIGURE in output.get("data", {})]


def said(figure: dict) -> list[str]:
    """How what a figure says where one points at it may begin, without its line breaks."""
    texts: list[str] = []
    for trace in figure["data"]:
        texts += trace.get("hovertext", [])
        texts += [trace["text"]] if trace.get("hoveron") else []
        texts += [trace["hovertemplate"].partition("%")[0]] if "hovertemplate" in trace else []
    return [html.unescape(text.replace("<br>", "")) for text in texts if text]


LARGEST = """
([figure, id]) => {
    const marks = [...document.querySelectorAll(`${figure} .points path, ${figure} .js-fill`)];
    const area = mark => mark.getBoundingClientRect().width * mark.getBoundingClientRect().height;
    marks.sort((one, other) => area(other) - area(one))[0].id = id;
}
"""


def point_at(page: Page, selector: str) -> None:
    """Bring an element to the middle of the window, and move the mouse to the middle of it."""
    page.locator(selector).first.evaluate("each => each.scrollIntoView({block: 'center'})")
    page.hover(selector, force=True)


@built
@pytest.mark.parametrize("path", [path for path in PATHS if figures(path)], ids=lambda path: path.stem)
def test_every_figure_is_drawn_and_says_what_one_points_at(page, heard, front, path):
    open_(page, front.replace("index.html", f"notebooks/{path.stem}.html"))
    stored = figures(path)
    assert page.locator(".js-plotly-plot").count() == len(stored)
    for number, figure in enumerate(stored, start=1):
        page.evaluate(LARGEST, [f"#figure-{number}", f"mark-{number}"])
        page.mouse.move(0, 0)
        page.wait_for_selector(".hovertext", state="detached")
        point_at(page, f"#mark-{number}")
        text = page.wait_for_selector(".hovertext").text_content()
        assert text.startswith(tuple(said(figure))), said(figure)
    assert heard.errors == []


# -- light and dark -----------------------------------------------------------------------------
TEXTS = "h1, p, p a, th, td, pre, .highlight span, .gtitle, .xtick text, .ytick text"
INKS = """
selector => {
    const parts = colour => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const hex = colour => '#' + parts(colour).slice(0, 3).map(part => part.toString(16).padStart(2, '0')).join('');
    const opaque = style => (parts(style.backgroundColor)[3] ?? 1) === 1;
    function ground(element) {
        while (element.parentElement && !opaque(getComputedStyle(element))) element = element.parentElement;
        return hex(getComputedStyle(element).backgroundColor);
    }
    const texts = [...document.querySelectorAll(`article :is(${selector})`)];
    return texts.filter(each => each.textContent.trim()).map(each => {
        const style = getComputedStyle(each), ink = each.closest('svg') ? style.fill : style.color;
        return [hex(ink), ground(each), each.textContent.trim().slice(0, 40)];
    });
}
"""


def switch_to(page: Page, theme: str) -> None:
    """Choose a theme from the switch's menu."""
    chosen = f".theme-change-button[data-mode={theme}]"
    page.click(".theme-switch-button")
    page.click(chosen)
    # a button's colours change over a while
    page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished)).then(() => null)")
    assert page.evaluate("document.documentElement.dataset.theme") == theme


def illegible(page: Page) -> list[list[str]]:
    """Texts that stand out too little: ink, ground, how they begin."""
    inks = page.evaluate(INKS, TEXTS)
    assert inks
    return [each for each in inks if contrast(each[0], each[1]) < LEGIBLE]


@contextmanager
def narrow(page: Page) -> Iterator[None]:
    """Give the page a narrow window for a while."""
    page.set_viewport_size({"width": NARROW, "height": 900})
    try:
        yield
    finally:
        page.set_viewport_size({"width": WIDE, "height": 900})


def sideways(page: Page) -> float:
    """How far a page can be moved to the side, in pixels."""
    return page.evaluate("() => { window.scrollTo(9999, 0); return window.scrollX }")


@built
@pytest.mark.parametrize("place", PLACES)
def test_a_page_keeps_nobody_out_in_light_and_dark_and_fits_its_window(page, front, place):
    open_(page, front.replace("index.html", f"{place}.html"))
    for theme, rules in (("light", RULES), ("dark", OF_COLOUR)):
        switch_to(page, theme)
        assert illegible(page) == [], theme
        page.mouse.move(0, 0)  # off the switch, whose hint lies over the page
        page.locator(".tooltip").wait_for(state="detached")
        assert faults(page, rules) == [], theme
    assert sideways(page) == 0
    with narrow(page):
        assert sideways(page) == 0


@built
def test_the_switch_changes_the_ground_and_holds_on_the_next_page(page, front):
    grounds = []
    for theme in ("light", "dark"):
        open_(page, front)
        switch_to(page, theme)
        open_(page, front.replace("index.html", f"notebooks/{PATHS[0].stem}.html"))
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(grounds)) == 2


@pytest.mark.parametrize(("ink", "seen"), [("#767676", False), ("#777777", True)])
def test_what_stands_out_too_little_is_seen(page, tmp_path, ink, seen):
    (tmp_path / "pale.html").write_text(
        f"<!doctype html><body style='background: #fff'><article><p style='color: {ink}'>pale</p></article>"
    )
    open_(page, (tmp_path / "pale.html").as_uri())
    assert bool(illegible(page)) == seen


@pytest.mark.parametrize(("rules", "seen"), [(RULES, {"color-contrast", "image-alt"}), (OF_COLOUR, {"color-contrast"})])
def test_what_keeps_somebody_out_is_seen(page, tmp_path, rules, seen):
    (tmp_path / "shut.html").write_text(
        "<!doctype html><html lang='en'><title>shut</title><body style='background: #fff'>"
        "<main><h1>shut</h1><p style='color: #aaa'>pale</p><img src='no.png'></main>"
    )
    open_(page, (tmp_path / "shut.html").as_uri())
    assert {fault.partition(":")[0] for fault in faults(page, rules)} == seen


def test_a_page_that_is_too_wide_is_seen(page, tmp_path):
    (tmp_path / "wide.html").write_text("<!doctype html><div style='width: 400px'>wide</div>")
    open_(page, (tmp_path / "wide.html").as_uri())
    assert sideways(page) == 0
    with narrow(page):
        assert sideways(page) > 0
