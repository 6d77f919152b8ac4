"""The seam. Everything the package does to the world goes through the functions here.

`use(other)` puts another venue in place for a block: a recorded one, or a test's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from labkit.venue import waiting
from labkit.venue.live import Live
from labkit.venue.seam import CommandFailed, Completed, KubernetesError, Response, Unreachable, Venue

__all__ = [
    "CommandFailed", "Completed", "KubernetesError", "Response", "Unreachable", "Venue",
    "download", "gateway", "http", "kubernetes", "now", "port_is_free", "run", "sleep", "unix_time", "use", "wait",
    "which",
]  # fmt: skip

T = TypeVar("T")
_current: Venue = Live()


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
    """Let time pass."""
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
    """Observe until `done`; see labkit.venue.waiting."""
    return waiting.wait(
        what, observe, done, timeout=timeout, now=now, sleep=sleep, state=state, report=report, every=every
    )
