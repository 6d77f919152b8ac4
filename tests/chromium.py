"""A real JupyterLab in a real browser: Chromium without a window, told what to do over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
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
import websocket
from farend import free_port

PROGRAMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PATIENCE = 60.0  # seconds, for what should be there at once
LONGEST = 300.0  # seconds, for one cell


def browser() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next((path for program in PROGRAMS if (path := shutil.which(program))), None)


class Page:
    """A page of the browser.

    errors: what its console said that is an error, and exceptions nobody caught. requests: each URL it asked for.
    """

    def __init__(self, address: str) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._socket = websocket.create_connection(address, timeout=LONGEST, suppress_origin=True)
        self._asked = 0
        for domain in ("Runtime", "Log", "Page", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setFocusEmulationEnabled", enabled=True)  # JupyterLab asks which of its parts has it

    def open(self, url: str) -> None:
        self._ask("Page.navigate", url=url)

    def evaluate(self, script: str, *values: object) -> Any:
        """What the body of an async JavaScript function returns; it knows `values` as `arguments`."""
        call = f"(async function() {{ {script} }})(...{json.dumps(values)})"
        answer = self._ask("Runtime.evaluate", expression=call, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, script: str, *values: object) -> Any:
        """Evaluate until it is true."""
        return until(lambda: self.evaluate(script, *values), f"{script} {values}; the console said {self.errors}")

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def point_at(self, selector: str) -> None:
        """Bring an element into view, and move the mouse to the middle of it."""
        self.evaluate("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        x, y = self._middle(selector)
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def resize(self, width: int, height: int) -> None:
        """Give the page another window."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, to: Path) -> None:
        """What is to be seen, as PNG."""
        to.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        x, y = self.evaluate(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2];",
            selector,
        )
        return x, y

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._asked:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(each.get("value", each.get("description"))) for each in said["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])


class Notebook:
    """A notebook that is open in JupyterLab."""

    PANEL = "const panel = jupyterapp.shell.currentWidget;"
    CELL = f"{PANEL} const cell = panel.content.widgets[arguments[0]];"

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.open(url)
        page.until("return window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
        page.evaluate(self.PANEL + "await panel.sessionContext.session.kernel.info")

    def run(self, number: int) -> None:
        """Run a cell to its end."""
        self._start(number, "await")

    def start(self, number: int) -> None:
        """Have a cell begin to run."""
        self._start(number, "void")

    def in_cell(self, number: int, script: str) -> Any:
        """Evaluate a script that knows the `cell`."""
        return self.page.evaluate(self.CELL + script, number)

    def until_in_cell(self, number: int, script: str) -> Any:
        """Evaluate a script that knows the `cell` until it is true."""
        return self.page.until(self.CELL + script, number)

    def outputs(self, number: int) -> list[dict[str, Any]]:
        """A cell's outputs, as they would be stored."""
        return self.in_cell(number, "return cell.model.outputs.toJSON()")

    def do(self, command: str) -> None:
        """A command of JupyterLab's, as its menus have it."""
        self.page.evaluate("await jupyterapp.commands.execute(arguments[0])", command)

    def _start(self, number: int, word: str) -> None:
        show = "panel.content.activeCellIndex = arguments[0]; await panel.content.scrollToItem(arguments[0], 'start');"
        self.page.evaluate(f"{self.PANEL} {show} {word} jupyterapp.commands.execute('notebook:run-cell')", number)


@contextmanager
def page(folder: Path, width: int = 1100, height: int = 900) -> Iterator[Page]:
    """A browser of its own with an empty page; its profile is kept in `folder`."""
    profile = folder / "browser"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--window-size={width},{height}", f"--user-data-dir={profile}",
               "--remote-debugging-port=0"]  # fmt: skip
    with _running([browser(), *options, "about:blank"], folder / "browser.log"):
        port = until(lambda: _text(profile / "DevToolsActivePort").partition("\n")[0], "the browser's port")
        targets = until(lambda: _json(f"http://127.0.0.1:{port}/json/list"), "the browser's page")
        yield Page(next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page"))


@contextmanager
def jupyterlab(notebooks: Path, folder: Path, **environment: str) -> Iterator[Callable[[str], str]]:
    """A server of its own, with settings of its own in `folder`; yields what makes a notebook's name its URL."""
    port, token, own = free_port(), secrets.token_hex(8), folder / "jupyter"
    places = {f"JUPYTER_{what}_DIR": str(own / what) for what in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{what}_DIR": str(own / what) for what in ("SETTINGS", "WORKSPACES")}
    news = own / "SETTINGS" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={notebooks}", "--ServerApp.port_retries=0",
               "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with _running(command, folder / "jupyterlab.log", {**places, "IPYTHONDIR": str(own / "IPYTHON"), **environment}):
        until(lambda: _json(f"http://127.0.0.1:{port}/api/status?token={token}"), "JupyterLab")
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token={token}&reset"


def until(look: Callable[[], Any], what: str) -> Any:
    """What is seen, once it is true."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if seen := look():
            return seen
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s")


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _json(url: str) -> Any:
    try:
        return httpx.get(url, timeout=5, trust_env=False).json()
    except httpx.HTTPError:
        return None
