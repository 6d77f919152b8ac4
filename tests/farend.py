"""The far end of a download, on loopback: a folder or another server, with the faults that networks have."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What goes back. Of the body that is announced, only `sent` bytes arrive, if that is given."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: int | None = None


Fault = Callable[[Answer], Answer]


def busy(status: int = 429, retry_after: str = "0") -> Fault:
    """The server asks for patience."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}'
    headers = {"Retry-After": retry_after, "Content-Type": "application/json"}
    return lambda answer: Answer(status, headers, body)


def cut(after: int) -> Fault:
    """The connection ends `after` bytes into the body that was announced."""
    return lambda answer: replace(answer, sent=after)


def tampered(answer: Answer) -> Answer:
    """The right length, and one byte that is not what was published."""
    return replace(answer, body=answer.body[:-1] + bytes(byte ^ 1 for byte in answer.body[-1:]))


@dataclass
class FarEnd:
    """`address` serves `root`, or forwards to `upstream`; `requests` lists what was asked: (path, Range header)."""

    root: Path | None = None
    upstream: str = ""
    address: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    _faults: list[tuple[str, Iterator[Fault]]] = field(default_factory=list)

    def fail(self, pattern: str, fault: Fault, times: int = 1) -> None:
        """The next `times` requests whose path matches meet `fault`."""
        self._faults.append((pattern, iter([fault] * times)))

    def heal(self) -> None:
        """No faults any more, and what was asked is forgotten."""
        self._faults.clear()
        self.requests.clear()

    def answer(self, command: str, path: str, headers: Mapping[str, str]) -> Answer:
        self.requests.append((path, headers.get("Range", "")))
        answer = self._forwarded(command, path, headers) if self.upstream else self._served(path, headers)
        hits = (next(faults, None) for pattern, faults in self._faults if re.search(pattern, path))
        fault = next((fault for fault in hits if fault), None)
        return fault(answer) if fault else answer

    def _served(self, path: str, headers: Mapping[str, str]) -> Answer:
        file = self.root / path.lstrip("/")
        if not file.is_file():
            return Answer(404, {}, b"")
        body = file.read_bytes()
        tag = {"ETag": f'"{zlib.crc32(body):08x}"'}
        begins = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        start = int(begins[1]) if begins and headers.get("If-Range", tag["ETag"]) == tag["ETag"] else 0
        if start and start >= len(body):
            return Answer(416, {}, b"")
        part = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        return Answer(206 if start else 200, tag | part, body[start:])

    def _forwarded(self, command: str, path: str, headers: Mapping[str, str]) -> Answer:
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        request = urllib.request.Request(self.upstream + path, headers=kept, method=command)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as got:  # noqa: S310
                return Answer(got.status, dict(got.headers), got.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())


@contextmanager
def far_end(root: Path | None = None, upstream: str = "", tls: ssl.SSLContext | None = None) -> Iterator[FarEnd]:
    """A FarEnd that listens on a port of its own for as long as the block lasts."""
    end = FarEnd(root=root, upstream=upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = end.answer(self.command, self.path, self.headers)
            self.send_response(answer.status)
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
            skipped = ("connection", "date", "server", "transfer-encoding", "content-length")
            for name, value in answer.headers.items():
                if name.lower() not in skipped:
                    self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(answer.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.body[: answer.sent])
            self.close_connection = answer.sent is not None

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that hangs up is what these tests are about
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    end.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield end
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    """A port of 127.0.0.1 where nothing listens, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
