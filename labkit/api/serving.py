"""A recorded cluster's API on 127.0.0.1, over HTTPS and with a token, for the real kubectl and istioctl to look at."""

from __future__ import annotations

import asyncio
import atexit
import hmac
import secrets
import ssl
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from labkit.api import forwarding
from labkit.api.credentials import HOST, identity, written
from labkit.api.recorded import LOOKS, Answer, Asked
from labkit.api.spdy import Malformed
from labkit.backend.concurrency import beside

if TYPE_CHECKING:
    from aiohttp import web

WATCHED = 2.0  # seconds until a watch ends; clients take one that ends in less than a second for a fault


class Served:
    """Serves from its making to `close`, or to this process's end, on a port that is free, in a thread of its own.

    folder: holds `config`, the kubeconfig that leads to it, and nothing else of worth; it ends with it.
    """

    def __init__(self, answer: Callable[[Asked], Answer], shown: forwarding.Shown, context: str) -> None:
        self._answer, self._shown, self._token = answer, shown, secrets.token_urlsafe(32)
        self._left = TemporaryDirectory(prefix="istio-lab-")
        self.folder = Path(self._left.name)
        certificate, own_identity = identity(self.folder)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(own_identity)
        own_identity.unlink()
        self._loop, listening = asyncio.new_event_loop(), Future[int]()
        self._thread = beside("recorded API", lambda: self._run(listening))
        self.port = listening.result()
        config = self.folder / "config"
        config.touch(mode=0o600)
        config.write_text(written(context, "", self.port, certificate, self._token))
        atexit.register(self.close)

    def close(self) -> None:
        """End every connection, and leave nothing behind."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._left.cleanup()

    def _run(self, listening: Future[int]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            runner = self._loop.run_until_complete(self._listening())
        except BaseException as error:  # whoever made it waits for its word
            listening.set_exception(error)
            return
        listening.set_result(runner.addresses[0][1])
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listening(self) -> web.ServerRunner:
        from aiohttp import web

        runner = web.ServerRunner(web.Server(self._handled), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0, ssl_context=self._tls).start()
        return runner

    async def _handled(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return web.json_response({"kind": "Status", "status": "Failure", "code": 401}, status=401)
        if (forward := forwarding.PATH.fullmatch(request.path)) and "Upgrade" in request.headers:
            return await self._forwarded(request, f"{forward['namespace']}/{forward['pod']}")
        query = {name: request.query[name] for name in request.query}
        body = await request.read() if request.method not in LOOKS else b""
        found = self._answer(
            Asked(request.method, request.path, query, request.headers.get("Accept", ""), request.content_type, body)
        )
        headers = {"Warning": f'299 - "{found.warning}"'} if found.warning else {}
        if not found.watch:
            return web.Response(status=found.status, text=found.text, content_type=found.media_type, headers=headers)
        going = web.StreamResponse(headers={"Content-Type": found.media_type, **headers})
        await going.prepare(request)
        await asyncio.sleep(WATCHED)
        return going

    async def _forwarded(self, request: web.BaseRequest, pod: str) -> web.StreamResponse:
        from aiohttp import WSMsgType, web

        socket = web.WebSocketResponse(protocols=[forwarding.PROTOCOL])
        await socket.prepare(request)
        forwarded = forwarding.Forwarded(pod, self._shown)
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            try:
                if answer := forwarded.received(message.data):
                    await socket.send_bytes(answer)
            except Malformed:
                break
        await socket.close()
        return socket
