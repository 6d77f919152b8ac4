"""The seam. Everything the package does to the world goes through the functions here.

`install(venue)` puts another venue in its place, `use(venue)` for a block: a recorded one, or a test's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from labkit.backend import waiting
from labkit.backend.live import Live
from labkit.backend.protocol import (
    Background,
    CommandFailed,
    Completed,
    Json,
    KubernetesError,
    NotYours,
    Response,
    Unreachable,
    Venue,
    strand,
)
from labkit.progress import Report

__all__ = [
    "Background", "CommandFailed", "Completed", "Json", "KubernetesError", "NotYours", "Response", "Unreachable",
    "Venue", "background", "begin_cell", "describe", "download", "end_cell", "enter", "entered", "exists", "gateway",
    "http", "install", "kubernetes", "now", "owns_cluster", "port_forward", "port_is_free", "read_text",
    "reader_folder", "run", "sleep", "strand", "threads", "unix_time", "use", "wait", "watched", "which", "work",
]  # fmt: skip

T = TypeVar("T")
_current: Venue = Live()


def install(venue: Venue) -> None:
    """From now on everything goes through `venue`."""
    global _current
    _current = venue


@contextmanager
def use(venue: Venue) -> Iterator[Venue]:
    """Everything inside the block goes through `venue`."""
    global _current
    before, _current = _current, venue
    try:
        yield venue
    finally:
        _current = before


def run(
    argv: Sequence[str],
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
    argv = [str(word) for word in argv]
    completed = _current.run(argv, stdin=stdin, cwd=cwd, env=env or {}, timeout=timeout, on_line=on_line)
    if check and completed.returncode:
        raise CommandFailed(completed)
    return completed


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for what can go on at the same time; the block ends when all of them have.

    An error or an interrupt in the block ends the commands and the waits that they are in.
    """
    with ThreadPoolExecutor() as pool:
        try:
            yield pool
        except BaseException:
            with _current.interrupted():
                pool.shutdown(cancel_futures=True)
            raise


def work(name: str, do: Callable[[Report], Json], report: Report = lambda _: None) -> Json:
    """Something done on this machine alone, with files, archives or the engine, and told by its outcome.

    `do` gets the function that its progress is to be reported to, and returns what JSON can hold. A recording keeps
    what came of it, or the LabError that it raised, and plays back that and its progress, without doing it.
    """
    return _current.work(name, do, report)


def background(name: str, do: Callable[[], None]) -> Background:
    """Let `do` run in a thread beside the cells. What it asks is not recorded: tell its outcome by `work`."""
    return _current.background(name, do)


def read_text(path: Path) -> str:
    """A text file of the release's, or of this repository. Raises OSError."""
    return _current.read_text(path)


def exists(path: Path) -> bool:
    """Whether a file or folder of the course's is there."""
    return _current.exists(path)


def reader_folder() -> Path:
    """Where the reader's own commands run: the release that they unpacked, else the course's own copy of it."""
    return _current.reader_folder()


def enter(lab: str) -> None:
    """Remember that the cluster stands at the start of this lab."""
    _current.enter(lab)


def entered() -> str | None:
    """The lab that was entered last, in this kernel or an earlier one."""
    return _current.entered()


def begin_cell(source: str, cell: str | None) -> None:
    """A notebook's cell begins; `cell` is its id, where the frontend tells it."""
    _current.begin_cell(source, cell)


def end_cell() -> None:
    """The cell that began is over, however it ended."""
    _current.end_cell()


def watched() -> AbstractContextManager[None]:
    """Inside the block somebody watches: what is played back takes its time."""
    return _current.watched()


def describe() -> str:
    """Which mesh answers, and since when: one line."""
    return _current.describe()


def which(program: str) -> str | None:
    """The program's path, the course's own binaries first; None if it is not there."""
    return _current.which(program)


def kubernetes(
    method: str,
    path: str,
    body: object = None,
    query: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> str:
    """One request to the course's API server; the answer's text. Raises KubernetesError."""
    return _current.kubernetes(method, path, body, query or {}, content_type)


def port_forward(namespace: str, pod: str, port: int) -> AbstractContextManager[Callable[[str], str]]:
    """HTTP to a port that the pod opens on its own 127.0.0.1, over one connection; `with` it, get(path) returns text.

    Raises KubernetesError where the API server refuses (403 without the permission `create pods/portforward`, 404
    where there is no such pod); get raises Unreachable where the pod vanished, or its answer is no 200.
    """
    return _current.port_forward(namespace, pod, port)


def http(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    timeout: float = 10.0,
) -> Response:
    """One HTTP request; any status is an answer. Raises Unreachable where none came."""
    return _current.http(method, url, headers or {}, body, timeout)


def download(url: str, to: Path, on_bytes: Callable[[int, int | None], None] = lambda have, total: None) -> None:
    """Fetch a file, going on where an earlier try was cut. Raises LabError."""
    _current.download(url, to, on_bytes)


def gateway() -> str:
    """The address of the mesh's front door, without a path: `http://127.0.0.1:8080`. Raises LabError."""
    return _current.gateway()


def owns_cluster() -> bool:
    """Whether the whole cluster is the course's, Istio with it; else one namespace is, and the rest is found."""
    return _current.owns_cluster()


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    return _current.port_is_free(host, port)


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
