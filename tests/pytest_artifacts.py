"""`--artifacts FOLDER`: each notebook as nbval executed it, and what it took: seconds, the node's memory, image bytes.

nbval compares and forgets; whoever looks at a run on another machine wants to see what its cells showed.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from labkit import backend
from labkit.errors import LabError
from labkit.settings import settings

EVERY = 2.0  # seconds between two looks at the node's memory
MIB = {"KiB": 2**-10, "MiB": 1.0, "GiB": 2**10}


@dataclass(frozen=True)
class Figures:
    """What one run of a notebook took. None where there was no node to ask."""

    notebook: str
    seconds: float
    failed_cells: int
    node_peak_mib: float | None
    image_bytes: int | None


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "keep the executed notebooks and what each took in this folder"
    parser.getgroup("live").addoption("--artifacts", type=Path, metavar="FOLDER", help=help)


def pytest_configure(config: pytest.Config) -> None:
    if folder := config.option.artifacts:
        config.pluginmanager.register(Artifacts(folder), "artifacts")


class Artifacts:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = Memory()
        self._figures: list[Figures] = []
        self._seconds = 0.0
        self._failed = 0

    def pytest_sessionstart(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._memory.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
        report = yield
        if isinstance(item, IPyNbCell):
            self._seconds += report.duration
            self._failed += report.failed
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        if isinstance(item, IPyNbCell) and (nextitem is None or nextitem.parent is not item.parent):
            self._keep(item.parent)

    def pytest_sessionfinish(self) -> None:
        self._memory.stop()
        # of groups that run side by side each has a cluster, and a file of its own
        figures = self._folder / f"figures-{settings().cluster}.json"
        figures.write_text(json.dumps([asdict(each) for each in self._figures], indent=2))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("notebooks")
        for each in self._figures:
            terminalreporter.write_line(
                f"{each.notebook}: {each.seconds:.1f} s, node's peak {each.node_peak_mib or 0:.0f} MiB, "
                f"images {(each.image_bytes or 0) / 2**20:.0f} MiB"
            )

    def _keep(self, notebook: IPyNbFile) -> None:
        name = notebook.nodeid.rpartition("/")[2]
        target = self._folder / (name.replace(".ipynb", "").replace(" ", "-") + ".ipynb")
        nbformat.write(executed(notebook), target)
        self._figures.append(Figures(name, round(self._seconds, 2), self._failed, self._memory.peak(), image_bytes()))
        self._seconds, self._failed = 0.0, 0


def executed(notebook: IPyNbFile) -> nbformat.NotebookNode:
    """The notebook with the outputs of this run in place of the stored ones."""
    copied = copy.deepcopy(notebook.nb)
    cells = [cell for cell in copied.cells if cell.cell_type == "code"]
    items = {item.cell_num: item for item in notebook.session.items if item.parent is notebook}
    for number, cell in enumerate(cells):
        outputs = items[number].test_outputs if number in items else None
        cell.outputs = outputs or []
        cell.execution_count = None if outputs is None else number + 1
    return copied


def image_bytes() -> int | None:
    """The size of all images on the cluster's nodes, as the kubelets report it."""
    try:
        nodes = json.loads(backend.kubernetes("GET", "/api/v1/nodes"))["items"]
    except LabError:
        return None
    return sum(image["sizeBytes"] for node in nodes for image in node["status"].get("images", []))


class Memory:
    """Watches the memory that the node holds, file cache aside, as the engine counts it."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._highest: float | None = None
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._watcher.start()

    def stop(self) -> None:
        self._ended.set()
        self._watcher.join()

    def peak(self) -> float | None:
        """The highest in MiB since the last call."""
        highest, self._highest = self._highest, None
        return highest

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            held = node_mib()
            self._highest = max(filter(None, (held, self._highest)), default=None)


def node_mib() -> float | None:
    node = f"{settings().cluster}-control-plane"
    command = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", node]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parsed_mib(answer)


def parsed_mib(usage: str) -> float | None:
    """`1.2GiB / 23.4GiB` in MiB; None where the engine said something else."""
    found = re.match(r"([\d.]+)(KiB|MiB|GiB)", usage.strip())
    return round(float(found[1]) * MIB[found[2]], 1) if found else None
