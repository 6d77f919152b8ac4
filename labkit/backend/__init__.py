"""The way out: everything that the package does to the world goes through the functions here.

Each builds a request, which is data, and has the current backend perform it. `install(backend)` puts another one in
its place, `use(backend)` for a block: one that plays a recording, or a test's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from labkit.backend import requests, waiting
from labkit.backend.answers import (
    CommandFailed,
    Completed,
    Json,
    KubernetesError,
    NotYours,
    Response,
    Unreachable,
)
from labkit.backend.concurrency import Thread, Threads, threads, together
from labkit.backend.live import Live
from labkit.backend.protocol import Backend, sequence
from labkit.backend.requests import Answer, Request
from labkit.progress import Report

__all__ = [
    "Backend", "CommandFailed", "Completed", "Json", "KubernetesError", "NotYours", "Response", "Threads",
    "Unreachable", "background", "download", "exists", "http", "install", "kubernetes", "now", "perform",
    "port_forward", "port_is_free", "read_text", "run", "sequence", "sleep", "threads", "together", "unix_time",
    "use", "wait", "which", "work",
]  # fmt: skip

T = TypeVar("T")
_current: Backend = Live()


def install(backend: Backend) -> None:
    """From now on everything goes through `backend`."""
    global _current
    _current = backend


@contextmanager
def use(backend: Backend) -> Iterator[Backend]:
    """Everything inside the block goes through `backend`."""
    global _current
    before, _current = _current, backend
    try:
        yield backend
    finally:
        _current = before


def perform(request: Request[Answer]) -> Answer:
    """Do what is asked. Raises LabError."""
    return _current.perform(request)


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
) -> Completed:
    """Run a command to its end. Raises CommandFailed on an exit status other than 0, unless `check` is off.

    `on_line` sees each line of its output as it comes.
    """
    completed = perform(requests.Command(tuple(map(str, argv)), stdin, cwd, env or {}, timeout, on_line))
    if check and completed.returncode:
        raise CommandFailed(completed)
    return completed


def work(name: str, do: Callable[[Report], Json], report: Report = lambda _: None, *, changes: bool = False) -> Json:
    """Something done on this machine alone, with files, archives or the engine, and told by its outcome.

    `do` gets the function that its progress is to be reported to, and returns what JSON can hold. A recording keeps
    what came of it, or the LabError that it raised, and plays back that and its progress, without doing it. Say with
    `changes` that something is another after it: what comes later in a recorded lab then waits for it.
    """
    return perform(requests.Work(name, do, report, changes))


def background(name: str, do: Callable[[], None]) -> Thread:
    """Let `do` run in a thread beside the cells. What it asks is not recorded: tell its outcome by `work`."""
    return perform(requests.Beside(name, do))


def read_text(path: Path) -> str:
    """A text file of the release's, or of this repository. Raises OSError."""
    return perform(requests.Text(path))


def exists(path: Path) -> bool:
    """Whether a file or folder of the course's is there."""
    return perform(requests.Exists(path))


def which(program: str) -> str | None:
    """The program's path, the course's own binaries first; None if it is not there."""
    return perform(requests.Which(program))


def kubernetes(
    method: str,
    path: str,
    body: object = None,
    query: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> str:
    """One request to the course's API server; the answer's text. Raises KubernetesError."""
    return perform(requests.Kubernetes(method, path, body, query or {}, content_type))


@contextmanager
def port_forward(namespace: str, pod: str, port: int) -> Iterator[Callable[[str], str]]:
    """HTTP to a port that the pod opens on its own 127.0.0.1, over one connection; `with` it, get(path) returns text.

    Raises KubernetesError where the API server refuses (403 without the permission `create pods/portforward`, 404
    where there is no such pod); get raises Unreachable where the pod vanished, or its answer is no 200.
    """
    forward = requests.Forward(namespace, pod, port)
    with _current.connected(forward) as get:
        yield lambda path: get(requests.PodGet(forward, path))


def http(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    timeout: float = 10.0,
) -> Response:
    """One HTTP request; any status is an answer. Raises Unreachable where none came."""
    return perform(requests.Http(method, url, headers or {}, body, timeout))


def download(
    url: str,
    to: Path,
    on_bytes: Callable[[int, int | None], None] = lambda have, total: None,
    *,
    largest: int = 1 << 30,
) -> None:
    """Fetch a file of at most `largest` bytes, going on where an earlier try was cut. Raises LabError."""
    perform(requests.Download(url, to, on_bytes, largest))


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    return perform(requests.PortIsFree(host, port))


def now() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return _current.now()


def unix_time() -> float:
    """Seconds since 1970 by this machine's clock, which may jump: to compare with a time that somebody else noted."""
    return _current.unix_time()


def sleep(seconds: float) -> None:
    """Let time pass; what is played back does not wait, unless it is watched."""
    _current.sleep(seconds)


def wait(
    what: str,
    observe: Callable[[], T],
    done: Callable[[T], bool],
    *,
    timeout: float,
    state: Callable[[T], str] = str,
    report: Callable[[str], None] = lambda _: None,
    every: float = 0.2,
) -> T:
    """Observe until `done`; see labkit.backend.waiting."""
    return waiting.wait(
        what, observe, done, timeout=timeout, now=now, sleep=sleep, state=state, report=report, every=every
    )
