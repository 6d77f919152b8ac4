"""The board over HTTP: participants tell, the trainer's browser watches.

https://starlette.dev · https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from labkit.classroom.board import board
from labkit.classroom.messages import LARGEST, Refused, nickname, parsed
from labkit.classroom.store import Store
from labkit.errors import LabError

PAGE = Path(__file__).with_name("board.html")
COOKIE = "board"
OFTEN = 0.05  # seconds between two pictures of the board
ALIVE = 10.0  # seconds after which it is told again, though nothing changed: waiting times go on
TELLS = (5.0, 20)  # messages a second, and at once, of one participant
JOINS = (0.2, 60)  # of one address: a room may be behind a single one
GUESSES = (0.1, 10)  # wrong codes of one address
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Rates:
    """So many a second, and some at once: https://en.wikipedia.org/wiki/Token_bucket."""

    def __init__(self, limit: tuple[float, int]) -> None:
        self._rate, self._most = limit
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str, now: float) -> None:
        """Count one. Raises Refused where that is too many."""
        left, at = self._left.get(who, (float(self._most), now))
        left = min(float(self._most), left + (now - at) * self._rate)
        if left < 1:
            raise Refused(429, "too many; wait a little")
        self._left[who] = left - 1, now
        if len(self._left) > 10_000:  # addresses that stopped long ago
            self._left = {each: held for each, held in self._left.items() if now - held[1] < 600}


class Room:
    """One class as it is served. hours: how long a join code holds."""

    def __init__(self, store: Store, hours: float) -> None:
        self._store, self._hours = store, hours
        self._tells, self._joins, self._guesses = Rates(TELLS), Rates(JOINS), Rates(GUESSES)
        self._changed = asyncio.Condition()
        self._changes = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[
            Route("/join", _answering(self._join), methods=["POST"]),
            Route("/tell", _answering(self._tell), methods=["POST"]),
            Route("/leave", _answering(self._leave), methods=["POST"]),
            Route("/board", _answering(self._page)),
            Route("/board/now", _answering(self._watch)),
            Route("/board/answer", _answering(self._answer), methods=["POST"]),
        ])  # fmt: skip

    # -- participants ---------------------------------------------------------------------------------
    async def _join(self, request: Request) -> Response:
        now, address = time.time(), request.client.host if request.client else ""
        self._joins.take(address, now)
        asked = _object(await _body(request))
        code, _ = self._store.code(now, self._hours)
        if not hmac.compare_digest(str(asked.get("code", "")).upper().encode(), code.encode()):
            self._guesses.take(address, now)
            raise Refused(
                403, "the join code is another one, or has expired: the trainer's terminal shows the one that holds"
            )
        token = self._store.join(nickname(asked.get("nickname")), now)
        await self._tell_watchers()
        return JSONResponse({"token": token})

    async def _tell(self, request: Request) -> Response:
        participant = self._participant(request)
        self._tells.take(str(participant), time.time())
        if self._store.tell(participant, parsed(await _body(request)), time.time()):
            await self._tell_watchers()
        return Response(status_code=204)

    async def _leave(self, request: Request) -> Response:
        self._store.leave(self._participant(request))
        await self._tell_watchers()
        return Response(status_code=204)

    def _participant(self, request: Request) -> int:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        participant = self._store.find(token) if token else None
        if participant is None:
            raise Refused(401, "the board does not know you (any more): join again")
        return participant

    # -- the trainer ----------------------------------------------------------------------------------
    async def _page(self, request: Request) -> Response:
        key = request.query_params.get("key", "")
        if key and hmac.compare_digest(key.encode(), self._store.key().encode()):
            opened = RedirectResponse("/board", status_code=303)  # the key stays in no address bar
            opened.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=request.url.scheme == "https")
            return opened
        self._trainer(request)
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    async def _watch(self, request: Request) -> Response:
        self._trainer(request)
        return StreamingResponse(self._boards(), media_type="text/event-stream")

    async def _answer(self, request: Request) -> Response:
        self._trainer(request)
        participant = _object(await _body(request)).get("participant")
        self._store.answer(participant if isinstance(participant, int) else -1)
        await self._tell_watchers()
        return Response(status_code=204)

    def _trainer(self, request: Request) -> None:
        if not hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._store.key().encode()):
            raise Refused(403, "this is the trainer's: open the address that `labkit class serve` printed")

    async def _boards(self) -> AsyncIterator[str]:
        while True:
            seen = self._changes
            yield f"data: {json.dumps(asdict(board(self._store.everyone(), time.time())))}\n\n"
            await asyncio.sleep(OFTEN)
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait_for(lambda: self._changes != seen), ALIVE)  # noqa: B023
                except TimeoutError:
                    continue

    async def _tell_watchers(self) -> None:
        async with self._changed:
            self._changes += 1
            self._changed.notify_all()


def _answering(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        try:
            response = await answer(request)
        except Refused as refused:
            response = JSONResponse({"error": str(refused)}, status_code=refused.status)
        response.headers.update(_HEADERS)
        return response

    return answered


async def _body(request: Request) -> bytes:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST:
            raise Refused(413, f"a message has {LARGEST} bytes at most")
    return content


def _object(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(422, "the message is no JSON object")
    return found


@dataclass(frozen=True)
class Place:
    """Where a board is served. certificate, key: PEM files for TLS; without them there is none."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """What participants join, and under which the trainer's page lies."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}"


def serve(store: Store, place: Place, hours: float, say: Callable[[str], None]) -> None:
    """Serve a class until it is interrupted. Raises LabError where the place cannot be had."""
    import uvicorn

    listening = _listening(place)
    code, until = store.code(time.time(), hours)
    for line in _greeting(place, store.key(), code, until):
        say(line)
    config = uvicorn.Config(
        Room(store, hours).app(), log_level="warning", access_log=False, timeout_graceful_shutdown=1,
        ssl_certfile=place.certificate, ssl_keyfile=place.key, server_header=False, lifespan="off",
    )  # fmt: skip
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    store.close()


def _listening(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        return socket.create_server((place.host, place.port), family=family, backlog=256)
    except OSError as error:
        raise LabError(
            f"The board cannot listen on {place.host}, port {place.port}.",
            error.strerror or str(error),
            "name another one with --port, or an address of this machine with --host",
        ) from error


def _greeting(place: Place, key: str, code: str, until: float) -> list[str]:
    at = datetime.fromtimestamp(until).astimezone()
    lines = [
        f"Board (for you alone):  {place.url}/board?key={key}",
        f"Participants:           labkit class join {place.url} --code {code}",
        f"The code holds until {at:%H:%M on %d %B}. Ctrl+C ends the board; the same command opens it again.",
    ]
    if not place.certificate and not is_loopback(place.host):
        lines.append("Not encrypted: whoever is on this network can read what participants send, and the board's "
                     "address. --certificate and --key change that.")  # fmt: skip
    return lines


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    return host in ("localhost", "::1") or host.startswith("127.")
