"""What a venue can do, and the shapes that cross the seam.

Everything is text or bytes in and out, so that a venue can write it down and play it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labkit.errors import LabError


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

    def which(self, program: str) -> str | None: ...

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str: ...

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response: ...

    def download(self, url: str, to: Path, on_bytes: Callable[[int, int | None], None]) -> None: ...

    def gateway(self) -> str: ...

    def port_is_free(self, host: str, port: int) -> bool: ...

    def now(self) -> float: ...

    def unix_time(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...
