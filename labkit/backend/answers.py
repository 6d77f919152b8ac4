"""What is answered, and the errors in an answer's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.errors import LabError

Json = Any  # what JSON can hold: None, bool, int, float, str, and lists and dicts of these


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
