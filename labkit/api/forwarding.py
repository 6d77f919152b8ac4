"""A port-forward into a recorded pod: what the pod showed over HTTP on that port is what it answers.

https://kubernetes.io/docs/reference/kubectl/generated/kubectl_port-forward/
"""

from __future__ import annotations

import re
from collections.abc import Callable

from labkit.api.spdy import Connection, Data, Malformed

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<pod>[^/]+)/portforward")
LARGEST = 1 << 16  # bytes of a request's head
_REQUEST = re.compile(rb"(?:GET|POST) (\S+) HTTP/1\.[01]\r\n")

Shown = Callable[[str, str], str | None]  # (NAMESPACE/POD:PORT, path) → what stands there


class Forwarded:
    """One port-forward's connection, without its I/O."""

    def __init__(self, pod: str, shown: Shown) -> None:
        self._pod, self._shown = pod, shown
        self._connection = Connection()
        self._errors: dict[str, int] = {}  # by a request's number, the stream that tells of what goes wrong
        self._data: dict[int, tuple[str, str]] = {}  # by its stream, a request's port and number
        self._heads: dict[int, bytes] = {}

    def received(self, content: bytes) -> bytes:
        """What to send for what came. Raises Malformed."""
        for event in self._connection.received(content):
            if isinstance(event, Data):
                self._heard(event)
                continue
            number = event.headers.get("requestid", "")
            if event.headers.get("streamtype") == "error":
                self._errors[number] = event.stream
            else:
                self._data[event.stream] = event.headers.get("port", ""), number
        return self._connection.to_send()

    def _heard(self, data: Data) -> None:
        if data.stream not in self._data:
            return  # the end of a stream of errors, on which a client says nothing
        head = self._heads.pop(data.stream, b"") + data.content
        if len(head) > LARGEST:
            raise Malformed("a request whose head has no end")
        if b"\r\n\r\n" not in head:
            self._heads[data.stream] = head
            return
        port, number = self._data.pop(data.stream)
        self._connection.say(data.stream, self._answer(port, head))
        if number in self._errors:
            self._connection.say(self._errors.pop(number), b"")

    def _answer(self, port: str, head: bytes) -> bytes:
        asked = _REQUEST.match(head)
        text = self._shown(f"{self._pod}:{port}", asked[1].decode("latin-1")) if asked else None
        status = "404 Not Found" if text is None else "200 OK"
        body = b"the mesh is a recorded one, and this was not written down\n" if text is None else text.encode()
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
