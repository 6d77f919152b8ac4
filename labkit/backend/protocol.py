"""What a venue can do, and the shapes that cross the seam.

Everything is text or bytes in and out, so that a venue can write it down and play it back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labkit.errors import LabError
from labkit.progress import Report

Json = Any  # what JSON can hold: None, bool, int, float, str, and lists and dicts of these
ANYWHERE = "*"  # the strand of threads that did not say which they follow
_strand: ContextVar[str] = ContextVar("strand")


@contextmanager
def strand(name: str) -> Iterator[None]:
    """What is asked inside the block comes one after the other, whichever threads it runs in.

    The same work has the same name each time, such as that of the proxy it asks: so a recording keeps its order, and
    what the clock said between two answers.
    """
    token = _strand.set(name)
    try:
        yield
    finally:
        _strand.reset(token)


def current_strand() -> str:
    """The strand that is followed here: "" is that of the cell itself."""
    own = "" if threading.current_thread() is threading.main_thread() else ANYWHERE
    return _strand.get(own)


class Background(Protocol):
    """Work that goes on beside the cells."""

    def running(self) -> bool: ...

    def join(self) -> None: ...


@dataclass(frozen=True)
class Completed:
    """A command that has ended. `seconds` is its wall time."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Response:
    """An HTTP answer. `seconds` runs from the request's first byte to the answer's last."""

    status: int
    headers: Mapping[str, str]
    text: str
    seconds: float


class CommandFailed(LabError):
    """A command ended with an exit status other than 0."""

    def __init__(self, completed: Completed, fix: str = "") -> None:
        command = " ".join(completed.argv)
        why = completed.stderr.strip() or completed.stdout.strip() or "it printed nothing"
        super().__init__(
            f"`{command}` ended with exit status {completed.returncode}.",
            why,
            fix or "read the message above; run the command again once its cause is gone",
        )
        self.completed = completed


class KubernetesError(LabError):
    """The API server refused. `status` is the HTTP status, `reason` the API's own word (NotFound …)."""

    def __init__(self, status: int, reason: str, message: str, fix: str) -> None:
        super().__init__(f"The Kubernetes API answered {status} {reason}.", message, fix)
        self.status, self.reason = status, reason


class Unreachable(LabError):
    """No answer came over HTTP: nothing listens there, or it was cut off."""


class NotYours(LabError):
    """What would be changed belongs to somebody else; nothing was sent."""


def kubernetes_error(status: int, reason: str, text: str) -> KubernetesError:
    """From the Status object that the API server answers with, or from whatever stood in its place; 0: no answer."""
    import json

    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    fixes = {
        0: "`labkit status` shows the cluster; `labkit up` brings it back",
        403: "this user may not do that here; ask for the permission, or use the course's own cluster",
        404: "check the name and the namespace; an earlier cell of this notebook may create it",
        409: "somebody else changed the object at the same moment; run the cell again",
    }
    fix = fixes.get(status, "read the message above")
    return KubernetesError(status, answer.get("reason") or reason or "Error", answer.get("message") or text, fix)


class Venue(Protocol):
    """The only way out of the package: processes, sockets, the clock."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed: ...

    def interrupted(self) -> AbstractContextManager[None]: ...

    def work(self, name: str, do: Callable[[Report], Json], report: Report) -> Json: ...

    def background(self, name: str, do: Callable[[], None]) -> Background: ...

    def read_text(self, path: Path) -> str: ...

    def exists(self, path: Path) -> bool: ...

    def reader_folder(self) -> Path: ...

    def enter(self, lab: str) -> None: ...

    def entered(self) -> str | None: ...

    def begin_cell(self, source: str, cell: str | None) -> None: ...

    def end_cell(self) -> None: ...

    def watched(self) -> AbstractContextManager[None]: ...

    def describe(self) -> str: ...

    def which(self, program: str) -> str | None: ...

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str: ...

    def port_forward(self, namespace: str, pod: str, port: int) -> AbstractContextManager[Callable[[str], str]]: ...

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response: ...

    def download(self, url: str, to: Path, on_bytes: Callable[[int, int | None], None]) -> None: ...

    def gateway(self) -> str: ...

    def owns_cluster(self) -> bool: ...

    def port_is_free(self, host: str, port: int) -> bool: ...

    def now(self) -> float: ...

    def unix_time(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...
