"""What can be asked of the world, as data: a backend performs it, a recording keeps it, a guard judges it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from labkit import commands
from labkit.backend.answers import Completed, Json, Response
from labkit.backend.concurrency import Thread
from labkit.progress import Report

Answer = TypeVar("Answer")
_UNTOLD_HEADERS = {"cookie", "authorization", "date", "server"}


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """Something that can be asked. `kind` is its name in recordings."""

    kind: ClassVar[str]

    @property
    def changes(self) -> bool:
        """Whether something is another after it."""
        return False

    @property
    def key(self) -> str:
        """What makes two requests the same."""
        return key(self.kind, self.asked())

    def asked(self) -> dict[str, Any]:
        """What is asked, as JSON."""
        raise NotImplementedError

    def written(self, answer: Answer) -> dict[str, Any]:
        """An answer, as JSON."""
        return {"value": answer}

    def read(self, written: Mapping[str, Any]) -> Answer:
        """The answer that was written."""
        return written["value"]

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        """What was asked, in a reader's words."""
        return " ".join([cls.kind, *map(str, asked.values())])


def key(kind: str, asked: Mapping[str, Any]) -> str:
    """What makes two requests the same, in one line."""
    return f"{kind} {json.dumps(asked, sort_keys=True, ensure_ascii=False)}"


@dataclass(frozen=True)
class Command(Request[Completed]):
    """A command, run to its end. `on_line` sees each line of its output as it comes. timeout: seconds."""

    kind: ClassVar[str] = "run"
    argv: tuple[str, ...]
    stdin: str | None = None
    cwd: Path | None = field(default=None, compare=False)
    env: Mapping[str, str] = field(default_factory=dict, compare=False)
    timeout: float | None = field(default=None, compare=False)
    on_line: Callable[[str], None] | None = field(default=None, compare=False)

    @property
    def changes(self) -> bool:
        return commands.changes(self.argv)

    def asked(self) -> dict[str, Any]:
        return {"argv": list(self.argv)} | ({} if self.stdin is None else {"stdin": self.stdin})

    def written(self, answer: Completed) -> dict[str, Any]:
        return {name: getattr(answer, name) for name in ("returncode", "stdout", "stderr", "seconds")}

    def read(self, written: Mapping[str, Any]) -> Completed:
        told = self.on_line or (lambda line: None)
        for line in (written["stdout"] + written["stderr"]).splitlines():
            told(line)
        return Completed(self.argv, **written)

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        program, *rest = asked["argv"]
        return rest[-1].strip() if program == "bash" else " ".join([program.rpartition("/")[2], *rest])


@dataclass(frozen=True)
class Kubernetes(Request[str]):
    """A request to the course's API server; its answer is the text. `body` is what JSON can hold.

    accept: the media type of the answer where it is another than the object itself.
    """

    kind: ClassVar[str] = "kubernetes"
    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = field(default="application/json", compare=False)
    accept: str = field(default="", compare=False)

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")

    def asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"method": self.method, "path": self.path}
        asked |= {"query": dict(self.query)} if self.query else {}
        return asked | ({} if self.body is None else {"body": json.dumps(self.body, sort_keys=True)})

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        return f"{asked['method']} {asked['path']}"


@dataclass(frozen=True)
class Http(Request[Response]):
    """A request over HTTP. Of its headers only the names tell it from another: cookies and tokens are values."""

    kind: ClassVar[str] = "http"
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    timeout: float = field(default=10.0, compare=False)

    def asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"method": self.method, "url": self.url}
        asked |= {"headers": sorted(name.lower() for name in self.headers)} if self.headers else {}
        return asked | ({} if self.body is None else {"body": self.body})

    def written(self, answer: Response) -> dict[str, Any]:
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _UNTOLD_HEADERS}
        return {"status": answer.status, "headers": headers, "text": answer.text, "seconds": answer.seconds}

    def read(self, written: Mapping[str, Any]) -> Response:
        return Response(**written)

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        return f"{asked['method']} {asked['url']}"


@dataclass(frozen=True)
class Forward(Request[None]):
    """A connection to a port that a pod opens on its own 127.0.0.1."""

    kind: ClassVar[str] = "forward"
    namespace: str
    pod: str
    port: int

    def asked(self) -> dict[str, Any]:
        return {"pod": f"{self.namespace}/{self.pod}", "port": self.port}

    def written(self, answer: None) -> dict[str, Any]:
        return {}

    def read(self, written: Mapping[str, Any]) -> None:
        return None

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        return f"GET {asked['pod']}:{asked['port']}{asked.get('path', '')}"


@dataclass(frozen=True)
class PodGet(Request[str]):
    """A GET over such a connection; its answer is the text."""

    kind: ClassVar[str] = "get"
    forward: Forward
    path: str

    def asked(self) -> dict[str, Any]:
        return {**self.forward.asked(), "path": self.path}

    @classmethod
    def words(cls, asked: Mapping[str, Any]) -> str:
        return Forward.words(asked)


@dataclass(frozen=True)
class Which(Request["str | None"]):
    """A program's path, the course's own binaries first; None where it is not there."""

    kind: ClassVar[str] = "which"
    program: str

    def asked(self) -> dict[str, Any]:
        return {"program": self.program}


@dataclass(frozen=True)
class Exists(Request[bool]):
    """Whether a file or a folder is there."""

    kind: ClassVar[str] = "exists"
    path: Path

    def asked(self) -> dict[str, Any]:
        return {"path": str(self.path)}


@dataclass(frozen=True)
class Text(Request[str]):
    """The content of a text file."""

    kind: ClassVar[str] = "text"
    path: Path

    def asked(self) -> dict[str, Any]:
        return {"path": str(self.path)}


@dataclass(frozen=True)
class PortIsFree(Request[bool]):
    """Whether a server could listen there."""

    kind: ClassVar[str] = "port"
    host: str
    port: int

    def asked(self) -> dict[str, Any]:
        return {"port": f"{self.host}:{self.port}"}


@dataclass(frozen=True)
class Download(Request[None]):
    """A file, fetched from where an earlier try was cut. `on_bytes` gets how many are there, and of how many.

    largest: bytes that it may have.
    """

    kind: ClassVar[str] = "download"
    url: str
    to: Path = field(compare=False)
    on_bytes: Callable[[int, int | None], None] = field(compare=False)
    largest: int = field(default=1 << 30, compare=False)

    def asked(self) -> dict[str, Any]:
        return {"url": self.url}


@dataclass(frozen=True)
class Work(Request[Json]):
    """Something done on this machine alone, with files, archives or the engine, and known by its name.

    `do` gets the function that its progress is to be reported to. `alters`: whether something is another after it.
    """

    kind: ClassVar[str] = "work"
    name: str
    do: Callable[[Report], Json] = field(compare=False)
    report: Report = field(compare=False)
    alters: bool = field(default=False, compare=False)

    @property
    def changes(self) -> bool:
        return self.alters

    def asked(self) -> dict[str, Any]:
        return {"name": self.name}


@dataclass(frozen=True)
class Gateway(Work):
    """The address of the mesh's ingress gateway, found out by `do`."""

    kind: ClassVar[str] = "gateway"

    def asked(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Beside(Request[Thread]):
    """Work that goes on in a thread beside the cells. What it asks is not recorded."""

    name: str
    do: Callable[[], None] = field(compare=False)


@dataclass(frozen=True)
class Notice(Request[None]):
    """Something that the course tells: nothing is asked, and no recording holds it."""


@dataclass(frozen=True)
class CellBegins(Notice):
    """A notebook's cell begins; `cell` is its id, where the frontend tells it."""

    source: str
    cell: str | None = None


@dataclass(frozen=True)
class CellEnds(Notice):
    """The cell that began is over, however it ended."""


@dataclass(frozen=True)
class Entered(Notice):
    """The mesh is being brought to the start of this lab."""

    lab: str


@dataclass(frozen=True)
class Watched(Notice):
    """Somebody begins to watch, or no longer does: what is played back takes its time meanwhile."""

    begins: bool


KINDS: Mapping[str, type[Request]] = {
    each.kind: each
    for each in (Command, Kubernetes, Http, Forward, PodGet, Which, Exists, Text, PortIsFree, Download, Work, Gateway)
}  # fmt: skip
