"""The live venue, written down: every answer that a notebook's cells get, scrubbed before it reaches a disk."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from labkit.backend.live import Live, Thread
from labkit.backend.protocol import ANYWHERE, Completed, Json, KubernetesError, Response, current_strand
from labkit.errors import LabError
from labkit.progress import Event, Report
from labkit.recordings import keys
from labkit.recordings.files import Call
from labkit.recordings.scrub import each_text, scrubbed
from labkit.settings import MANIFESTS

T = TypeVar("T")
DIGITS = 6  # of a second: what is written down is what the notebook was told
_UNTOLD_HEADERS = {"cookie", "authorization", "date", "server"}


class Recording(Live):
    """Live, and every answer written down in a file: one line of JSON for each cell as it ends."""

    def __init__(self, tape: Path) -> None:
        super().__init__()
        self._tape, self._zero = tape, super().now()
        self._lock = threading.RLock()
        self._unrecorded = 0
        self._beside = threading.local()
        self._begin("", None)

    def begin_cell(self, source: str, cell: str | None) -> None:
        self._begin(source, cell)

    def end_cell(self) -> None:
        with self._lock, self._tape.open("a", encoding="utf-8") as file:
            calls = [asdict(replace(call, clocks=tuple(clocks))) for call, clocks in self._calls]
            cell = {"source": self._source, "enters": self._enters, "opening": self._opening, "calls": calls}
            file.write(json.dumps(cell, ensure_ascii=False) + "\n")

    def _begin(self, source: str, cell: str | None) -> None:
        with self._lock:
            self._source, self._enters = source, False
            self._calls: list[tuple[Call, list[float]]] = []
            self._opening: dict[str, list[float]] = defaultdict(list)
            self._last: dict[str, list[float]] = {}

    # -- what is asked --------------------------------------------------------------------------
    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        def do() -> Completed:
            done = super(Recording, self).run(argv, stdin=stdin, cwd=cwd, env=env, timeout=timeout, on_line=on_line)
            return replace(done, seconds=round(done.seconds, DIGITS))

        return self._written(
            "run",
            keys.command(argv, stdin),
            do,
            lambda done: {
                "returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr, "seconds": done.seconds
            },
        )  # fmt: skip

    def which(self, program: str) -> str | None:
        return self._written("which", {"program": program}, lambda: super(Recording, self).which(program))

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str:
        return self._written(
            "kubernetes",
            keys.kubernetes(method, path, body, query),
            lambda: super(Recording, self).kubernetes(method, path, body, query, content_type),
        )

    @contextmanager
    def port_forward(self, namespace: str, pod: str, port: int) -> Iterator[Callable[[str], str]]:
        where = {"pod": f"{namespace}/{pod}", "port": port}
        forward = super().port_forward(namespace, pod, port)
        get = self._written("forward", where, forward.__enter__, lambda _: None)
        try:
            yield lambda path: self._written("get", {**where, "path": path}, lambda: get(path))
        finally:
            forward.__exit__(None, None, None)

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response:
        def do() -> Response:
            answer = super(Recording, self).http(method, url, headers, body, timeout)
            return replace(answer, seconds=round(answer.seconds, DIGITS))

        return self._written(
            "http",
            keys.http(method, url, headers, body),
            do,
            lambda answer: {
                "status": answer.status,
                "headers": _telling(answer.headers),
                "text": answer.text,
                "seconds": answer.seconds,
            },
        )

    def gateway(self) -> str:
        return self._written("gateway", {}, super().gateway)

    def exists(self, path: Path) -> bool:
        return self._written("exists", {"path": scrubbed(str(path))}, lambda: super(Recording, self).exists(path))

    def read_text(self, path: Path) -> str:
        """What lies in the repository is read there when it is played back, too."""
        if path.resolve().is_relative_to(MANIFESTS):
            return super().read_text(path)
        return self._written("text", {"path": scrubbed(str(path))}, lambda: super(Recording, self).read_text(path))

    def work(self, name: str, do: Callable[[Report], Json], report: Report) -> Json:
        told: list[Event] = []

        def tell(event: Event) -> None:
            told.append(event)
            report(event)

        def silently() -> Json:
            with self._silence():
                return do(tell)

        def answer(value: Json) -> dict[str, Any]:
            return {"value": value, "told": [asdict(event) for event in told]}

        return self._written("work", {"name": scrubbed(name)}, silently, answer)

    def background(self, name: str, do: Callable[[], None]) -> Thread:
        def beside() -> None:
            self._beside.silent = True
            do()

        return super().background(name, beside)

    def enter(self, lab: str) -> None:
        self._enters = True
        super().enter(lab)

    # -- the clocks -----------------------------------------------------------------------------
    def now(self) -> float:
        return self._noted(round(super().now() - self._zero, DIGITS))

    def unix_time(self) -> float:
        return self._noted(round(super().unix_time(), DIGITS))

    def _noted(self, time: float) -> float:
        strand = current_strand()
        if not self._is_silent() and strand != ANYWHERE:
            with self._lock:
                (self._last[strand] if strand in self._last else self._opening[strand]).append(time)
        return time

    # -- writing down -----------------------------------------------------------------------------
    def _written(
        self,
        kind: str,
        request: dict[str, Any],
        do: Callable[[], T],
        answer: Callable[[T], Any] = lambda value: {"value": value},
    ) -> T:
        if self._is_silent():
            return do()
        start, strand = super().now() - self._zero, current_strand()
        try:
            value = do()
        except LabError as error:
            self._keep(strand, kind, request, {"error": _error(error)}, start)
            raise
        self._keep(strand, kind, request, answer(value) or {}, start)
        return value

    def _keep(self, strand: str, kind: str, request: dict[str, Any], answer: dict[str, Any], start: float) -> None:
        seconds = super().now() - self._zero - start
        times = round(start, DIGITS), round(seconds, DIGITS)
        call = Call(strand, kind, request, each_text(answer, scrubbed), *times)
        clocks: list[float] = []
        with self._lock:
            self._calls.append((call, clocks))
            self._last[strand] = clocks

    @contextmanager
    def _silence(self) -> Iterator[None]:
        self._unrecorded += 1
        try:
            yield
        finally:
            self._unrecorded -= 1

    def _is_silent(self) -> bool:
        return self._unrecorded > 0 or getattr(self._beside, "silent", False)


def _error(error: LabError) -> dict[str, Any]:
    told = {"type": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
    if isinstance(error, KubernetesError):
        told |= {"status": error.status, "reason": error.reason}
    return told


def _telling(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _UNTOLD_HEADERS}
