"""The live backend: real processes, real sockets, the real clock."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from labkit.backend import requests
from labkit.backend.answers import Completed, Response, Unreachable, kubernetes_error
from labkit.backend.live import network
from labkit.backend.requests import Answer, Request
from labkit.errors import LabError
from labkit.settings import MANIFESTS, settings


class Live:
    """Commands see the course's own kubeconfig and binaries, never the reader's."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, float], object] = {}
        self._running: set[subprocess.Popen] = set()
        self._interrupted = threading.Event()

    def perform(self, request: Request[Answer]) -> Answer:
        answer: Any = None  # that of a notice
        match request:
            case requests.Command():
                answer = self._run(request)
            case requests.Kubernetes():
                answer = self._kubernetes(request)
            case requests.Http():
                answer = self._http(request)
            case requests.Work(do=do, report=report):
                answer = do(report)
            case requests.Beside(name=name, do=do):
                answer = _beside(name, do)
            case requests.Text(path=path):
                answer = path.read_text()
            case requests.Exists(path=path):
                answer = path.exists()
            case requests.Which(program=program):
                answer = shutil.which(program, path=_environment({})["PATH"])
            case requests.PortIsFree(host=host, port=port):
                answer = _port_is_free(host, port)
            case requests.Download():
                answer = self._download(request)
        return answer

    def connected(self, forward: requests.Forward) -> AbstractContextManager[Callable[[requests.PodGet], str]]:
        from labkit.backend.live.forwarding import connected

        return connected(self._client(), forward)

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self._interrupted.wait(seconds)
        self._raise_if_interrupted()

    def _run(self, request: requests.Command) -> Completed:
        argv, stdin = request.argv, request.stdin
        started = self.now()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=request.cwd,
                env=_environment(request.env),
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise LabError(
                f"`{argv[0]}` could not be started.",
                f"no such program or folder: {error.filename}",
                "`labkit doctor` says which tools are missing and where they come from",
            ) from error
        except OSError as error:
            raise LabError(
                f"`{argv[0]}` could not be started.",
                str(error),
                "make the file a program that this machine can execute, or remove it",
            ) from error
        self._running.add(process)
        try:
            with _ends_with_us(process):
                self._raise_if_interrupted()
                stdout, stderr = _collect(process, stdin, request.timeout, request.on_line, argv)
        finally:
            self._running.discard(process)
        self._raise_if_interrupted()
        return Completed(argv, process.returncode, stdout, stderr, self.now() - started)

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        self._interrupted.set()
        try:
            for process in list(self._running):
                _end(process)
            yield
        finally:
            self._interrupted.clear()

    def _raise_if_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise KeyboardInterrupt

    def _kubernetes(self, request: requests.Kubernetes) -> str:
        from urllib3.exceptions import HTTPError

        client = self._client()
        call = client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": _accepted(request.method, request.path), "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = client.call_api(*call, _request_timeout=(5, 60))
            text = answer.read().decode("utf-8", "replace")
        except HTTPError as error:
            raise kubernetes_error(0, "Unreachable", str(error)) from None
        if answer.status >= 400:
            raise kubernetes_error(answer.status, answer.reason, text)
        return text

    def _http(self, request: requests.Http) -> Response:
        import httpx

        from labkit.backend.live import clients

        started = self.now()
        try:
            with clients.http(request.timeout) as client:
                answer = client.request(
                    request.method, request.url, headers=dict(request.headers), content=request.body
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"{request.method} {network.shown(request.url)} got no answer.",
                f"{type(error).__name__}: {error}",
                "`labkit status` says what is up; `labkit up` brings up what is missing",
            ) from error
        return Response(answer.status_code, dict(answer.headers), answer.text, self.now() - started)

    def _download(self, request: requests.Download) -> None:
        from labkit.backend.live.downloading import download

        download(request.url, request.to, request.on_bytes, self.sleep)

    def _client(self) -> Any:
        """One client for each kubeconfig as it stands on disk; a new cluster means a new client."""
        from labkit.backend.live import clients

        path = settings().kubeconfig
        if not path.exists():
            raise LabError(
                "There is no cluster of the course's yet.",
                f"{path} does not exist",
                "run `labkit up --until cluster`, or notebook 00",
            )
        key = (str(path), path.stat().st_mtime)
        if key not in self._clients:
            self._clients = {key: clients.kubernetes(path)}
        return self._clients[key]


@dataclass(frozen=True)
class Thread:
    """Work in a thread of its own, which ends with the kernel."""

    _thread: threading.Thread

    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()


def _accepted(method: str, path: str) -> str:
    """The media type of an answer: of Secrets only metadata, for nothing here needs what they hold.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
    """
    found = re.fullmatch(r"/api/v1(?:/namespaces/[^/]+)?/secrets(/.*)?", path)
    if not found:
        return "application/json, */*"
    kind = "PartialObjectMetadata" if found[1] or method != "GET" else "PartialObjectMetadataList"
    return f"application/json;as={kind};g=meta.k8s.io;v=v1"


def _beside(name: str, do: Callable[[], None]) -> Thread:
    thread = threading.Thread(target=do, name=name, daemon=True)
    thread.start()
    return Thread(thread)


def _port_is_free(host: str, port: int) -> bool:
    """By connecting first: macOS lets a second server bind to a port on which another listens on all addresses."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    s = settings()
    path = os.pathsep.join([str(s.bin), os.environ.get("PATH", os.defpath)])
    ours = {"KUBECONFIG": str(s.kubeconfig), "LABKIT_BIN": str(s.bin), "LABKIT_MANIFESTS": str(MANIFESTS)}
    return {**network.environment(os.environ), "PATH": path, **ours, **extra}


@contextlib.contextmanager
def _ends_with_us(process: subprocess.Popen):
    """An interrupt ends the command and its children too; nothing goes on behind the reader's back."""
    try:
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


def _collect(process, stdin, timeout, on_line, argv) -> tuple[str, str]:
    try:
        if on_line is None:
            return process.communicate(stdin, timeout)
        return _by_line(process, stdin, timeout, on_line)
    except subprocess.TimeoutExpired:
        raise LabError(
            f"`{' '.join(map(str, argv))}` did not end within {timeout:.0f} s.",
            "it was ended; nothing says whether it would have finished",
            "look at `labkit status`, then run it again",
        ) from None


def _by_line(process, stdin, timeout, on_line) -> tuple[str, str]:
    lines: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def pump(name: str) -> None:
        for line in getattr(process, name):
            lines[name].append(line)
            on_line(line.rstrip("\n"))

    pumps = [threading.Thread(target=pump, args=(name,), daemon=True) for name in lines]
    for thread in pumps:
        thread.start()
    if stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    process.wait(timeout)
    for thread in pumps:
        thread.join()
    return "".join(lines["stdout"]), "".join(lines["stderr"])
