"""A real JupyterLab in a real browser: the system's own Chromium, without a window, driven by Playwright."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from labkit.backend.live.network import free_port
from labkit.settings import GATEWAY_HOST

PROGRAMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
OPTIONS = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--no-first-run", "--disable-quic"]  # fmt: skip
PATIENCE = 60.0  # seconds, for what should be there at once


def program() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, which is gone afterwards."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program(), args=OPTIONS) as browser,
    ):
        yield browser


def new_page(browser: Browser, width: int, height: int) -> Page:
    """An empty page, in a window of so many pixels."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE * 1000)
    return page


class Notebook:
    """A notebook that is open in JupyterLab."""

    CELL = "const panel = jupyterapp.shell.currentWidget; const cell = panel.content.widgets[number];"

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.goto(url)
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
        page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.info }")

    def run(self, number: int) -> None:
        """Run a cell to its end."""
        self._start(number, "await")

    def start(self, number: int) -> None:
        """Have a cell begin to run."""
        self._start(number, "void")

    def in_cell(self, number: int, script: str) -> Any:
        """Evaluate the body of a function that knows the `cell`."""
        return self.page.evaluate(f"number => {{ {self.CELL} {script} }}", number)

    def until_in_cell(self, number: int, script: str) -> None:
        """Evaluate the body of a function that knows the `cell` until it returns what is true."""
        self.page.wait_for_function(f"number => {{ {self.CELL} {script} }}", arg=number)

    def outputs(self, number: int) -> list[dict[str, Any]]:
        """A cell's outputs, as they would be stored."""
        return self.in_cell(number, "return cell.model.outputs.toJSON()")

    def do(self, command: str) -> None:
        """A command of JupyterLab's, as its menus have it."""
        self.page.evaluate("async command => { await jupyterapp.commands.execute(command) }", command)

    def _start(self, number: int, word: str) -> None:
        show = "panel.content.activeCellIndex = number; await panel.content.scrollToItem(number, 'start');"
        run = f"{word} jupyterapp.commands.execute('notebook:run-cell')"
        self.page.evaluate(f"async number => {{ {self.CELL} {show} {run} }}", number)


@contextmanager
def jupyterlab(notebooks: Path, folder: Path, **environment: str) -> Iterator[Callable[[str], str]]:
    """A server of its own, with settings of its own in `folder`; yields what makes a notebook's name its URL."""
    port, token, own = free_port(), secrets.token_hex(8), folder / "jupyter"
    places = {f"JUPYTER_{what}_DIR": str(own / what) for what in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{what}_DIR": str(own / what) for what in ("SETTINGS", "WORKSPACES")}
    news = own / "SETTINGS" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ip={GATEWAY_HOST}",
               f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={notebooks}",
               "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with _running(command, folder / "jupyterlab.log", {**places, "IPYTHONDIR": str(own / "IPYTHON"), **environment}):
        _await_answer(f"http://{GATEWAY_HOST}:{port}/api/status?token={token}")
        yield lambda name: f"http://{GATEWAY_HOST}:{port}/lab/tree/{name}?token={token}&reset"


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_answer(url: str) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            httpx.get(url, timeout=5, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(f"{url}: no answer within {PATIENCE:.0f} s")
