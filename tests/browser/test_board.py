"""The trainer's board in a real browser: what it shows, by keyboard alone, light and dark."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager

import httpx
import pytest
from accessibility import faults
from boards import serving
from browsing import Heard, chromium, needs_browser, new_page
from farend import free_port

from labkit.classroom.messages import Failing, Told
from labkit.classroom.store import Store

pytestmark = needs_browser
ADA = Told(1, "05", 3, 200.0, Failing("05", "The page shows stars", "no <b>stars</b>"), {"05.1": "stars"}, raised=1)
BOB = Told(1, "06", 5, 3.0, None, {"05.1": "none"})
LONG = Told(1, "15", 40, None, Failing("14.2", "x" * 200, "y" * 300), {"05.1": "z" * 80})


@contextmanager
def served(path, port: int):
    """Yields the address that the trainer opens."""
    with serving(path, port) as said:
        yield re.search(r"http\S+", said[0])[0]


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "class.sqlite")
    for name, told in (("Ada <i>", ADA), ("Bob", BOB), ("Wolfeschlegelsteinhausen", LONG)):
        opened.tell(opened.find(opened.join(name, time.time())), told, time.time())
    yield opened
    opened.close()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def page():
    with chromium() as browser:
        yield new_page(browser, 1200, 800)


def names(page) -> list[str]:
    return page.locator("tbody th").all_text_contents()


def test_it_shows_the_class_as_it_changes_and_markup_as_text(page, store, port):
    heard = Heard.of(page)
    with served(store.path, port) as url:
        page.goto(url)
        page.wait_for_selector("tbody tr")
        assert page.url.endswith("/board")
        assert names(page) == ["Ada <i>", "Bob", "Wolfeschlegelsteinhausen"]
        assert page.locator("#claims li").first.text_content().startswith("1")
        assert "last seen: no <b>stars</b>" in page.locator("#claims").text_content()
        assert page.locator("#predictions .bar").count() == 3
        code, _ = store.code(time.time(), 12)
        httpx.post(f"http://127.0.0.1:{port}/join", json={"code": code, "nickname": "Eve"}, trust_env=False)
        page.locator("tbody tr").nth(3).wait_for()
    assert heard.errors == []
    assert {re.sub(r":\d+/.*", "", each) for each in heard.requests} == {"http://127.0.0.1"}


def test_a_hand_is_lowered_by_keyboard_alone(page, store, port):
    with served(store.path, port) as url:
        page.goto(url)
        page.wait_for_selector("tr.up")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Lower the hand of Ada <i>"
        page.keyboard.press("Enter")
        page.wait_for_selector("tr.up", state="detached")


def test_it_comes_back_with_the_board(page, store, port):
    with served(store.path, port) as url:
        page.goto(url)
        page.wait_for_selector("tbody tr")
    page.locator("#state", has_text="Not connected").wait_for()
    with served(store.path, port):
        page.locator("#state:empty").wait_for(state="attached")
        assert len(names(page)) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_nobody_is_kept_out_and_nothing_runs_out_of_the_window(page, store, port, scheme, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    with served(store.path, port) as url:
        page.goto(url)
        page.wait_for_selector("tbody tr")
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
