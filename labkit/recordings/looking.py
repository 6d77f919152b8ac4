"""Looking at a recorded mesh beyond what was asked of it then: any question that reads is answered from its state.

The course's own questions are answered here, commands by the real kubectl and istioctl, which are led to the recorded
API on 127.0.0.1.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit import commands
from labkit.api import recorded
from labkit.api.recorded import Answer, Asked
from labkit.api.serving import Served
from labkit.backend.answers import Completed, kubernetes_error
from labkit.backend.live import environment, processes
from labkit.backend.requests import Command, Kubernetes, Request
from labkit.recordings import state
from labkit.recordings.files import Recording
from labkit.settings import settings

# What asks the API server for objects, tables and logs, and nothing else
LOOKS: Mapping[str, set[tuple[str, ...]]] = {
    "kubectl": {
        ("get",), ("describe",), ("logs",), ("events",), ("wait",), ("version",), ("api-resources",), ("api-versions",),
        ("cluster-info",), ("rollout", "history"), ("rollout", "status"), ("config", "current-context"),
        ("config", "get-contexts"), ("config", "view"),
    },
    "istioctl": {("analyze",), ("validate",), ("tag", "list")},
}  # fmt: skip
PATIENCE = 30.0  # seconds that a command may take


class Looking:
    """One kernel's way to look. `at` says which moment it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: Path | None = None
        self._moments: state.Moments | None = None
        self._now: tuple[recorded.State, float] = {}, 0.0

    def at(self, recording: Recording, cell: int) -> None:
        """It is the moment after this cell of this recording. Raises LabError where its states are damaged."""
        with self._lock:
            if self._of != recording.path:
                path = state.of(recording.path)
                self._moments = state.Moments(path, recording.head) if path.exists() else None
                self._of = recording.path
            self._now = self._moments.at(cell) if self._moments else ({}, 0.0)

    def answer(self, request: Request[Any]) -> Any:
        """What is seen; None where it cannot be told from the state. Raises what a live mesh would raise."""
        if not self._now[0]:
            return None
        if isinstance(request, Kubernetes):
            return self._object(request)
        return self._command(request) if isinstance(request, Command) else None

    def _object(self, request: Kubernetes) -> str | None:
        asked = Asked(request.method, request.path, request.query, request.accept)
        if not recorded.knows(self._now[0], asked):
            return None
        answer = self._served_answer(asked)
        if answer.status >= 400:
            raise kubernetes_error(answer.status, "", answer.text)
        return answer.text

    def _command(self, command: Command) -> Completed | None:
        program = command.argv[0].rpartition("/")[2]
        if program not in commands.PROGRAMS:
            return None
        said = commands.read(command.argv)
        if said.changes or not any(said.verb[: len(verb)] == verb for verb in LOOKS[program]):
            return None
        if shutil.which(program, path=environment({})["PATH"]) is None:
            return None
        own = {"KUBECONFIG": str(self._api.folder / "config"), "KUBECACHEDIR": str(self._api.folder / "cache")}
        return processes.run(replace(command, timeout=PATIENCE), environment(own))

    @cached_property
    def _api(self) -> Served:
        return Served(self._served_answer, f"kind-{settings().cluster}")

    def _served_answer(self, asked: Asked) -> Answer:
        return recorded.answer(*self._now, asked)
