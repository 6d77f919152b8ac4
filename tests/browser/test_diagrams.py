"""The notebooks' diagrams can be read, in light and dark, wherever a browser draws them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from browsing import needs_browser, new_page
from playwright.sync_api import Browser, Page

from labkit.settings import NOTEBOOKS
from labkit.show.colours import contrast

PICTURES = sorted((NOTEBOOKS / "pictures").glob("*.svg"))
LEGIBLE = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum
HIGHEST = 360  # pixels, that a slide has beside its heading
SHOWN = re.compile(r"!\[([^]]*)\]\(pictures/([\w.-]+)\)")

# what stands where, in the picture's own pixels
SEEN = """
() => {
    const root = document.documentElement;
    const hex = c => '#' + c.match(/\\d+/g).slice(0, 3).map(n => (+n).toString(16).padStart(2, '0')).join('');
    const box = each => { const b = each.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
    const all = selector => [...root.querySelectorAll(selector)];
    const along = path => Array.from({length: Math.ceil(path.getTotalLength() / 2) + 1},
        (_, n) => { const at = path.getPointAtLength(2 * n); return [at.x, at.y]; });
    return {
        size: [root.viewBox.baseVal.width, root.viewBox.baseVal.height],
        texts: all('text').map(t => [t.textContent, box(t), hex(getComputedStyle(t).fill)]),
        boxes: all('rect').map(r => [box(r), hex(getComputedStyle(r).fill)]),
        lines: all('svg > path, g > path').map(along),
    };
}
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page."""
    with new_page(browser, 800, 600) as opened:
        yield opened


Place = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Text:
    """A piece of text, where it stands, and its colour."""

    said: str
    place: Place
    ink: str


def inside(inner: Place, outer: Place) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def touch(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def faults(page: Page, path: Path) -> Iterator[str]:
    """What keeps somebody from reading a picture."""
    page.goto(path.as_uri())
    seen = page.evaluate(SEEN)
    texts = [Text(said, tuple(place), ink) for said, place, ink in seen["texts"]]
    boxes: list[tuple[Place, str]] = [(tuple(place), fill) for place, fill in seen["boxes"]]
    for number, text in enumerate(texts):
        if not inside(text.place, (0, 0, *seen["size"])):
            yield f"{text.said} is cut"
        yield from (f"{text.said} on {other.said}" for other in texts[:number] if touch(text.place, other.place))
        below = [number for number, (place, _) in enumerate(boxes) if inside(text.place, place)]
        if not below or contrast(text.ink, boxes[below[-1]][1]) < LEGIBLE:
            yield f"{text.said} stands out too little"
        above = boxes[below[-1] + 1 :] if below else boxes
        if any(touch(text.place, place) for place, _ in above):
            yield f"{text.said} leaves its box"
        left, top, right, bottom = text.place
        if any(left < x < right and top < y < bottom for line in seen["lines"] for x, y in line):
            yield f"{text.said} is struck through"


@needs_browser
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_nothing_overlaps_is_cut_or_pale_in_light_and_dark(page, path):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert list(faults(page, path)) == []
        assert page.evaluate(SEEN)["size"][1] <= HIGHEST


GOOD = '<rect width="100" height="90" fill="#fff"/>'


@needs_browser
@pytest.mark.parametrize(
    ("drawn", "fault"),
    [
        (GOOD + '<text x="80" y="20">too long</text>', "is cut"),
        (GOOD + '<text x="5" y="20">one</text><text x="10" y="24">two</text>', "two on one"),
        (GOOD + '<rect x="5" y="5" width="20" height="30" fill="#eee"/><text x="8" y="20">wide</text>', "leaves"),
        (GOOD + '<text x="5" y="20" fill="#999">pale</text>', "too little"),
        (GOOD + '<text x="5" y="20">through</text><path d="M0,16 H90" stroke="#000"/>', "struck through"),
        (GOOD + '<text x="5" y="20">good</text><path d="M0,60 H90" stroke="#000"/>', ""),
    ],
)
def test_what_cannot_be_read_is_seen(page, tmp_path, drawn, fault):
    path = tmp_path / "picture.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 90" width="100">{drawn}</svg>')
    found = list(faults(page, path))
    assert any(fault in each for each in found) if fault else found == []


def test_each_picture_is_shown_by_its_own_notebook_and_says_what_it_shows():
    shown = {
        (path.name[:2], name, bool(said))
        for path in NOTEBOOKS.glob("[0-9]*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for said, name in SHOWN.findall(cell.source)
    }
    assert shown == {(path.name[:2], path.name, True) for path in PICTURES}
    assert all('<title id="title">' in path.read_text(encoding="utf-8") for path in PICTURES)
