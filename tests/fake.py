"""The backend of tests: a world of which a test says only what it is about.

A test's own world is a subclass that answers what it is asked by `run`, `kubernetes`, `http` and so on; to be asked
for anything else fails the test. Its clock is the machine's.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from labkit.backend import requests
from labkit.backend.answers import Completed, Response
from labkit.backend.live import Live
from labkit.backend.requests import Answer, Forward, PodGet, Request


class Fake:
    """Files are this machine's, work is done at once; commands, pods and servers are there where a test adds them."""

    def perform(self, request: Request[Answer]) -> Answer:
        answer: Any = None
        match request:
            case requests.Command():
                how = {name: getattr(request, name) for name in ("stdin", "cwd", "env", "timeout", "on_line")}
                answer = self.run(list(request.argv), **how)
            case requests.Kubernetes():
                answer = self.kubernetes(
                    request.method, request.path, request.body, request.query, request.content_type
                )
            case requests.Http():
                answer = self.http(request.method, request.url, request.headers, request.body, request.timeout)
            case requests.Gateway():
                answer = self.gateway() or request.do(request.report)
            case requests.Work():
                answer = request.do(request.report)
            case requests.Beside():
                answer = Live().perform(request)
            case requests.Text():
                answer = request.path.read_text()
            case requests.Exists():
                answer = request.path.exists()
            case requests.Which():
                answer = self.which(request.program)
            case requests.PortIsFree():
                answer = self.port_is_free(request.host, request.port)
            case requests.Download():
                self.download(request.url, request.to, request.on_bytes)
            case requests.Notice():
                self.notice(request)
        return answer

    @contextmanager
    def connected(self, forward: Forward) -> Iterator[Callable[[PodGet], str]]:
        with self.port_forward(forward.namespace, forward.pod, forward.port) as get:
            yield lambda request: get(request.path)

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    # -- what a test's own world answers -----------------------------------------------------------
    def run(
        self,
        argv: list[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        _nobody_answers(argv)

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str:
        _nobody_answers([method, path])

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response:
        _nobody_answers([method, url])

    def port_forward(self, namespace: str, pod: str, port: int) -> AbstractContextManager[Callable[[str], str]]:
        _nobody_answers([namespace, pod])

    def gateway(self) -> str | None:
        """None: what the session finds out."""

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=os.environ["PATH"])

    def port_is_free(self, host: str, port: int) -> bool:
        _nobody_answers([host, str(port)])

    def download(self, url: str, to: Path, on_bytes: Callable[[int, int | None], None]) -> None:
        _nobody_answers([url])

    def notice(self, notice: requests.Notice) -> None:
        """Nothing here depends on where in the course the reader is."""


def _nobody_answers(asked: Sequence[str]) -> NoReturn:
    raise AssertionError(f"this test says nothing about {' '.join(asked)}")
