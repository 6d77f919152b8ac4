"""What tests have of a browser: whether there is one, and what a page says and asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page

from labkit.maintain import jupyterlab as opened
from labkit.maintain.jupyterlab import chromium, jupyterlab, new_page, program

__all__ = ["Heard", "Notebook", "chromium", "jupyterlab", "needs_browser", "new_page"]

needs_browser = pytest.mark.skipif(program() is None, reason="no Chromium or Chrome is installed (fix: install one)")


@dataclass(frozen=True)
class Heard:
    """errors: what a page's console said that is one, and exceptions nobody caught. requests: what it asked for."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> Heard:
        """All that comes from now on."""
        heard = cls()
        page.on("console", lambda said: said.type in ("error", "assert") and heard._note(said.text, said.location))
        page.on("pageerror", lambda error: heard.errors.append(error.stack or error.message))
        page.on("request", lambda request: heard.requests.append(request.url))
        return heard

    def _note(self, text: str, location: Any) -> None:
        self.errors.append(f"{text} {location['url']}")


class Notebook(opened.Notebook):
    """A notebook that is open in JupyterLab, and what its page says from the beginning."""

    def __init__(self, page: Page, url: str) -> None:
        self.heard = Heard.of(page)
        super().__init__(page, url)
