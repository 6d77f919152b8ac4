"""What stands around a measurement: a cluster of its own, and somebody who watches its memory."""

from __future__ import annotations

import os
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from labkit import backend
from labkit.progress import Progress
from labkit.settings import settings

RUNS = 3
NOT_TIMED = 1800  # seconds; bounds every command of a run

Figures = dict[str, object]


def cluster(name: str) -> str:
    """The cluster that a measurement of this name has for itself."""
    return f"istio-lab-bench-{name}"


def quantile(values: list[float], percent: int) -> float:
    """The value that so many percent of the values are at most, between two of them where need be."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@contextmanager
def apart(name: str) -> Iterator[dict[str, str]]:
    """An environment with a home and a cluster of its own; both are gone afterwards."""
    s = settings()
    with TemporaryDirectory(prefix=f"{cluster(name)}-") as home:
        env = {"LABKIT_HOME": home, "LABKIT_CACHE": str(s.cache), "LABKIT_CLUSTER": cluster(name)}
        env["KUBECONFIG"] = f"{home}/kubeconfig"
        try:
            yield env
        finally:
            backend.run(["docker", "rm", "--force", "--volumes", f"{cluster(name)}-control-plane"], check=False)


@contextmanager
def mesh(name: str, progress: Progress) -> Iterator[None]:
    """Bookinfo in a mesh of its own, which is the one that `labkit.mesh` sees in the block."""
    with apart(name) as env:
        with progress.stage(f"a mesh to measure {name} in") as note:
            backend.run([sys.executable, "-m", "labkit.cli", "up"], env=env, on_line=note, timeout=NOT_TIMED)
        before = dict(os.environ)
        os.environ.update(env)
        settings.cache_clear()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            settings.cache_clear()


@contextmanager
def memory(of: str) -> Iterator[Callable[[], float]]:
    """The peak of a cluster's node's memory (without page cache, as `docker stats` counts it), in MiB."""
    seen, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(_memory_now(f"{of}-control-plane"))
            over.wait(1)

    thread = backend.background("memory", watch)
    try:
        yield lambda: max(seen)
    finally:
        over.set()
        thread.join()


def _memory_now(container: str) -> float:
    command = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container]
    used = backend.run(command, check=False).stdout.partition("/")[0].strip()
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return float(used[:-3]) * units[used[-3:]] if used[-3:] in units else 0.0
