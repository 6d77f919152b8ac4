"""Looking at a recorded mesh beyond what was asked of it then: any question that reads is answered from its state.

The course's own questions are answered here, commands by the real kubectl and istioctl, which are led to the recorded
API on 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit import commands
from labkit.api import getting, recorded, views
from labkit.api.proxy_status import proxy_status
from labkit.api.recorded import RECORDED, Answer, Asked
from labkit.api.serving import Served
from labkit.api.trying import tried
from labkit.backend.answers import Completed, kubernetes_error
from labkit.backend.live import environment, processes
from labkit.backend.requests import Command, Forward, Kubernetes, PodGet, Request
from labkit.recordings import files, state
from labkit.recordings.files import Recording
from labkit.settings import ADMIN_PORT, NAMESPACE, settings

# What asks the API server for objects, tables and logs, or a proxy for its views, and nothing else. helm asks for
# Secrets, which no recording holds.
LOOKS: Mapping[str, set[tuple[str, ...]]] = {
    "kubectl": {
        ("get",), ("describe",), ("logs",), ("events",), ("wait",), ("version",), ("api-resources",), ("api-versions",),
        ("cluster-info",), ("explain",), ("rollout", "history"), ("rollout", "status"), ("config", "current-context"),
        ("config", "get-contexts"), ("config", "view"), ("diff",),
    },
    "istioctl": {
        ("analyze",), ("validate",), ("tag", "list"), ("experimental", "describe"), ("experimental", "authz"),
        ("experimental", "check-inject"),
        *(("proxy-config", view) for view in (
            "all", "bootstrap", "cluster", "ecds", "endpoint", "listener", "route", "secret",
        )),
    },
}  # fmt: skip
# What kubectl can try on the API server without its being kept
TRIED = ("apply", "create", "delete", "replace")
# What a reader's pipeline may hold beside them: it reads what they print
FILTERS = {
    "awk", "base64", "cat", "column", "cut", "diff", "echo", "grep", "head", "jq", "nl", "printf", "sed", "sort",
    "tail", "tr", "uniq", "wc",
}  # fmt: skip
# What a reader's curl may be told when it asks a proxy's admin port, and answers with nothing but the page
_QUIET = {"-s", "-S", "-f", "-sS", "-fsS", "-sSf", "-fs", "-sf", "--silent", "--show-error", "--fail"}
_ADMIN = re.compile(r"(?:http://)?(?:localhost|127\.0\.0\.1):(\d+)(/\S*)")
# What kubectl asks when version 3 knows no such kind, and the empty document says no more: https://github.com/google/gnostic
OPENAPI_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_SHOWN = (views.VIEW, views.DUMP)
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
            self.see(*(self._moments.at(cell) if self._moments else ({}, 0.0)))

    def see(self, seen: recorded.State, at: float) -> None:
        """This is what there is to see; at: when, in seconds since 1970."""
        self._now = seen, at

    def answer(self, request: Request[Any]) -> Any:
        """What is seen; None where it cannot be told from the state. Raises what a live mesh would raise."""
        if not self._now[0]:
            return None
        match request:
            case Kubernetes():
                return self._object(request)
            case Forward():
                place = _place(request)
                return True if any(what in _SHOWN and name.startswith(place) for what, name in self._now[0]) else None
            case PodGet(forward=forward, path=path):
                return views.shown(self._now[0], _place(forward), path)
            case Command():
                return self._command(request)
        return None

    def refused(self, command: Command) -> Completed | None:
        """What the API server or Istio would have said against a change; None where neither would, or who knows."""
        said = commands.read(command.argv) if _program(command.argv) == "kubectl" else None
        if not said or said.first not in TRIED or not self._now[0] or not _is_there(command.argv) or _elsewhere(said):
            return None
        done = self._run(replace(command, argv=(*command.argv, "--dry-run=server"), on_line=None))
        if RECORDED in done.stderr:  # which a live one would not have said
            return None
        if not done.returncode and _is_there(["istioctl"]):
            files_ = [word for each in said.flags.get("filename", ()) for word in ("--filename", each)]
            done = self._run(replace(command, argv=("istioctl", "validate", *files_), on_line=None)) if files_ else done
        return replace(done, argv=command.argv) if done.returncode else None

    def missing(self, request: Request[Any]) -> str:
        """The program that would answer if it were here; "" where that would not help."""
        if not isinstance(request, Command) or request.changes or not self._now[0]:
            return ""
        asked = _asked(request.argv)
        absent = (_program(each) for each in asked if _program(each) in LOOKS and not _is_there(each))
        return next(absent, "")

    def _object(self, request: Kubernetes) -> str | None:
        asked = Asked(request.method, request.path, request.query, request.accept)
        if (counted := views.proxied(self._now[0], asked.path, asked.query)) is not None:
            return counted
        if not recorded.knows(self._now[0], asked):
            return None
        answer = self._served_answer(asked)
        if answer.status >= 400:
            raise kubernetes_error(answer.status, "", answer.text)
        return answer.text

    def _command(self, command: Command) -> Completed | None:
        said = commands.read(command.argv) if _program(command.argv) in commands.PROGRAMS else None
        if said and said.verb == ("exec",):
            return self._of_a_proxy(command, said)
        if said and said.verb == ("proxy-status",):
            return _printed(command, proxy_status(*self._now, said))
        if said and said.program == "kubectl" and not _is_there(command.argv):
            return _printed(command, getting.get(*self._now, said))
        asked = _asked(command.argv)
        return self._run(command) if asked and all(map(_looks, asked)) else None

    def _of_a_proxy(self, command: Command, said: commands.Words) -> Completed | None:
        """A view, for whoever asks for it from within the pod."""
        asked = _view_asked(said.inner)
        pod = self._pod(said.arguments[0], said.flags.get("namespace", [NAMESPACE])[-1]) if said.arguments else None
        view = views.shown(self._now[0], f"{pod}:{asked[0]}", asked[1]) if pod and asked else None
        return None if view is None else Completed(command.argv, 0, view, "", 0.0)

    def _pod(self, named: str, namespace: str) -> str | None:
        """NAMESPACE/POD that `POD`, `pod/POD` or `deploy/NAME` means."""
        kind, _, name = named.rpartition("/")
        workload = kind not in ("", "po", "pod", "pods")
        there = sorted(each for what, each in self._now[0] if what == "/api/v1/pods")
        wanted = f"{namespace}/{name}"
        return next((each for each in there if each == wanted or (workload and _is_of(each, wanted))), None)

    def _run(self, command: Command) -> Completed:
        own = {"KUBECONFIG": str(self._api.folder / "config"), "KUBECACHEDIR": str(self._api.folder / "cache")}
        return processes.run(replace(command, timeout=PATIENCE), environment({**own, "PATH": _path()}))

    @cached_property
    def _api(self) -> Served:
        return Served(self._served_answer, self._shown, f"kind-{settings().cluster}")

    def _shown(self, place: str, path: str) -> str | None:
        return views.shown(self._now[0], place, path)

    @cached_property
    def _schemas(self) -> recorded.State:
        return state.schemas(files.schemas())

    def _served_answer(self, asked: Asked) -> Answer:
        seen, at = self._now
        if asked.method not in recorded.LOOKS:
            return tried(seen, self._schemas, at, asked)
        if (counted := views.proxied(seen, asked.path, asked.query)) is not None:
            return Answer(200, counted, "text/plain")
        if asked.path == state.OLD_SCHEMAS:
            return Answer(200, "", OPENAPI_V2)
        return recorded.answer(self._schemas if asked.path.startswith(state.SCHEMAS) else seen, at, asked)


def _printed(command: Command, told: getting.Said | None) -> Completed | None:
    return Completed(command.argv, told.status, told.stdout, told.stderr, 0.0) if told else None


def _looks(argv: Sequence[str]) -> bool:
    """Whether a command asks the API server alone, by a program that is here; in a script, filters may do the rest."""
    program = _program(argv)
    if program not in commands.PROGRAMS:
        return program in FILTERS
    said = commands.read(argv)
    dry = program == "kubectl" and said.flags.get("dry-run", [""])[-1] in ("client", "server")
    asks = dry or any(said.verb[: len(verb)] == verb for verb in LOOKS.get(program, ()))
    return asks and not said.changes and not _elsewhere(said) and _is_there(argv)


def _elsewhere(said: commands.Words) -> bool:
    """Whether a command names a cluster of its own: nothing of the course's reaches another one."""
    return bool(said.flags.keys() & {"kubeconfig", "server", "cluster", "kube-apiserver", "kube-context"})


def _view_asked(inner: Sequence[str]) -> tuple[str, str] | None:
    """The port and the path that a command in a pod asks its own address for, if that is all it does."""
    match inner:
        case ("pilot-agent", "request", "GET", path):
            return str(ADMIN_PORT), f"/{path.removeprefix('/')}"
        case ("curl", *words):
            addresses = [word for word in words if word not in _QUIET]
            found = _ADMIN.fullmatch(addresses[0]) if len(addresses) == 1 else None
            return (found[1], found[2]) if found else None
    return None


def _asked(argv: Sequence[str]) -> list[list[str]]:
    """The command itself, or those of a script; none of one that may lead them to another cluster."""
    if _program(argv) != "bash":
        return [list(argv)]
    return [] if "KUBECONFIG" in argv[-1] else commands.commands_of(argv[-1])


def _program(argv: Sequence[str]) -> str:
    return argv[0].rpartition("/")[2]


def _is_there(argv: Sequence[str]) -> bool:
    return shutil.which(_program(argv), path=_path()) is not None


def _path() -> str:
    """Where commands are, and last the release that was downloaded: lab 02 may not have put its istioctl there yet."""
    return os.pathsep.join((environment({})["PATH"], str(settings().release_folder / "bin")))


def _place(forward: Forward) -> str:
    return f"{forward.namespace}/{forward.pod}:{forward.port}"


def _is_of(pod: str, workload: str) -> bool:
    """A Deployment's pod has two words after its name, of the ReplicaSet's and of its own."""
    return pod.rsplit("-", 2)[0] == workload
