"""The relay: HTTPS on 127.0.0.1 with a token of its own, in front of `kubectl proxy`, which holds the credentials.

`kubectl proxy` listens on a socket in a folder that nobody else may enter. It ends with this process, however that
ends. https://kubernetes.io/docs/reference/kubectl/generated/kubectl_proxy/
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import ssl
import threading
from pathlib import Path

import h11

from labkit.api.credentials import HOST
from labkit.api.policy import Asked, why_not
from labkit.backend.concurrency import beside

LARGEST = 4 << 20  # bytes of a request's body; the API server takes 3 MiB
_OURS = {b"authorization", b"connection", b"content-length", b"host", b"keep-alive", b"transfer-encoding"}


class Relay:
    """Serves from `start` to `close`, in a thread of its own.

    upstream: the socket of `kubectl proxy`. namespace: the reader's. identity: certificate and key, a PEM file.
    token: the bearer's of requests. looking_token: of those that may forward a port of any pod, to look into it.
    """

    def __init__(self, upstream: Path, namespace: str, identity: Path) -> None:
        self._path, self._namespace = upstream, namespace
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(identity)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.token, self.looking_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.port = 0

    def start(self) -> None:
        """Listen, on a port that is free."""
        ready = threading.Event()
        self._thread = beside("relay", lambda: self._run(ready))
        ready.wait()

    def close(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, HOST, 0, ssl=self._tls))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  a server's callback runs in one
        self._tasks.add(task)
        client, upstream = _Side(h11.SERVER, reader, writer), _Upstream(self._path)
        try:
            while await self._exchange(client, upstream):
                client.state.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass  # either side went away or speaks no HTTP, or the relay ends: to close is all that is left
        finally:
            self._tasks.discard(task)
            upstream.close()
            writer.close()

    async def _exchange(self, client: _Side, upstream: _Upstream) -> bool:
        """One request and its answer; whether the connection may take another."""
        request = await client.next()
        if not isinstance(request, h11.Request):
            return False
        body = await client.body()
        if refused := self._refusal(request, body):
            await client.send(*refused)
            return client.state.our_state is h11.DONE and body is not None
        try:
            server = await upstream.side()
            await server.send(_handed_on(request, body or b""), h11.Data(body or b""), h11.EndOfMessage())
        except OSError as error:
            why = f"`kubectl proxy`, the course's way to this cluster, does not answer ({error}): restart the kernel"
            await client.send(*_status(503, "ServiceUnavailable", why))
            return False
        return await _answer(client, server)

    def _refusal(self, request: h11.Request, body: bytes | None) -> list[h11.Event]:
        headers = dict(reversed(list(request.headers)))  # of one that stands twice, the first counts
        given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
        looks_into_pods = hmac.compare_digest(given.encode(), self.looking_token.encode())
        if not looks_into_pods and not hmac.compare_digest(given.encode(), self.token.encode()):
            return _status(401, "Unauthorized", "this address is the course's own: its kubeconfig has the token")
        if body is None:
            return _status(413, "RequestEntityTooLarge", f"a request may hold {LARGEST >> 20} MiB")
        content_type = headers.get(b"content-type", b"application/json").decode("latin-1")
        target, method = request.target.decode("latin-1"), request.method.decode("latin-1")
        asked = Asked(method, target, body, content_type, b"upgrade" in headers, looks_into_pods)
        why = why_not(asked, self._namespace)
        return _status(403, "Forbidden", refusal(why, self._namespace)) if why else []


def refusal(why: str, namespace: str) -> str:
    """The reason as a reader is told it."""
    return f"{why}; in this cluster namespace {namespace} is yours, and nothing else"


class _Side:
    """One end of an HTTP/1.1 connection: https://h11.readthedocs.io/en/latest/basic-usage.html"""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], reader: asyncio.StreamReader,
                 writer: asyncio.StreamWriter) -> None:  # fmt: skip
        self.state = h11.Connection(role, max_incomplete_event_size=64 << 10)
        self.reader, self.writer = reader, writer

    async def next(self) -> h11.Event:
        while not isinstance(event := self.state.next_event(), h11.Event):
            if self.state.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.state.receive_data(await self.reader.read(1 << 16))
        return event

    async def send(self, *events: h11.Event) -> None:
        for event in events:
            if data := self.state.send(event):
                self.writer.write(data)
        await self.writer.drain()

    async def body(self) -> bytes | None:
        """A message's body to its end; None for one that is too large."""
        parts: list[bytes] = []
        while isinstance(event := await self.next(), h11.Data):
            parts.append(event.data)
            if sum(map(len, parts)) > LARGEST:
                return None
        return b"".join(parts)

    async def gone(self) -> None:
        """Wait until the other end closes. What it sends meanwhile is kept for its turn."""
        while data := await self.reader.read(1 << 16):
            self.state.receive_data(data)


class _Upstream:
    """The connection to `kubectl proxy`, made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._side: _Side | None = None

    async def side(self) -> _Side:
        if self._side is None:
            self._side = _Side(h11.CLIENT, *await asyncio.open_unix_connection(self._path))
        elif self._side.state.our_state is h11.DONE:
            self._side.state.start_next_cycle()
        return self._side

    def close(self) -> None:
        if self._side:
            self._side.writer.close()


def _handed_on(request: h11.Request, body: bytes) -> h11.Request:
    upgrades = any(name == b"upgrade" for name, _ in request.headers)
    headers = [(name, value) for name, value in request.headers if name not in _OURS]
    headers += [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"upgrade")] if upgrades else []
    return h11.Request(method=request.method, target=request.target, headers=headers)


async def _answer(client: _Side, server: _Side) -> bool:
    going = asyncio.create_task(client.gone())
    try:
        while True:
            coming = asyncio.create_task(server.next())
            await asyncio.wait({coming, going}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                await _ended(coming)
                return False
            event = coming.result()
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                await _ended(going)
                await client.send(event)
                await _join(client, server)
                return False
            if isinstance(event, h11.Response):
                headers = [each for each in event.headers if each[0] not in (b"connection", b"keep-alive")]
                event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
            if isinstance(event, h11.ConnectionClosed):
                return False
            await client.send(event)
            if isinstance(event, h11.EndOfMessage):
                return client.state.our_state is h11.DONE and server.state.our_state is h11.DONE
    finally:
        await _ended(going)


async def _join(client: _Side, server: _Side) -> None:
    """Another protocol from here on: bytes go to and fro until one end is through."""

    async def pump(one: _Side, other: _Side) -> None:
        data = one.state.trailing_data[0]
        while True:
            if data:
                other.writer.write(data)
                await other.writer.drain()
            if not (data := await one.reader.read(1 << 16)):
                return

    ways = {asyncio.create_task(pump(client, server)), asyncio.create_task(pump(server, client))}
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    await _ended(*ways)


async def _ended(*tasks: asyncio.Task[None] | asyncio.Task[h11.Event]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _status(code: int, reason: str, message: str) -> list[h11.Event]:
    """A Status, as an API server refuses: kubectl prints its message."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    body = json.dumps({**status, "message": message, "metadata": {}}).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    return [h11.Response(status_code=code, headers=headers), h11.Data(body), h11.EndOfMessage()]
