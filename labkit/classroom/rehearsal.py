"""A class of simulated participants against a board on this machine: what it takes, and what it withstands."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from labkit.backend.live.network import free_port
from labkit.classroom.messages import Failing, Told
from labkit.classroom.server import COOKIE
from labkit.classroom.store import Store
from labkit.settings import GATEWAY_HOST

STARTS = 20.0  # seconds for the board to answer
_MIB = 1 << 20


@dataclass(frozen=True)
class Plan:
    """participants; events a second, of all together; seconds; how often the board is killed meanwhile."""

    participants: int = 40
    rate: float = 10.0
    seconds: float = 60.0
    kills: int = 3


@dataclass(frozen=True)
class Rehearsed:
    """How it went. p50, p95: seconds from telling to the board. peak: MiB of memory. lost: what never arrived."""

    participants: int
    events: int
    p50: float
    p95: float
    peak: float
    kills: int
    lost: int

    def __repr__(self) -> str:
        return (
            f"{self.participants} participants, {self.events} events, {self.kills} kills of the board.\n"
            f"From a participant to the board: half within {self.p50 * 1000:.0f} ms, 95 % within "
            f"{self.p95 * 1000:.0f} ms.\nMemory of the board: {self.peak:.0f} MiB at most. Events lost: {self.lost}."
        )


def rehearse(plan: Plan, say: Callable[[str], None]) -> Rehearsed:
    """Run a class on a board of its own, on 127.0.0.1, and leave nothing behind. Raises LabError."""
    with TemporaryDirectory(prefix="istio-lab-class-") as folder:
        return asyncio.run(_Rehearsal(plan, Path(folder) / "class.sqlite", say).run())


@dataclass
class _Rehearsal:
    plan: Plan
    path: Path
    say: Callable[[str], None]
    sent: dict[tuple[str, int], float] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    peak: float = 0.0

    async def run(self) -> Rehearsed:
        store = Store(self.path)
        key, (code, _) = store.key(), store.code(time.time(), 1)
        store.close()
        self.port = free_port()
        board = await self._served()
        chance = random.Random(1)  # noqa: S311
        ends = time.monotonic() + self.plan.seconds
        try:
            async with _client(self._url) as client:
                tokens = {name: await _joined(client, code, name) for name in self._names()}
                watching = asyncio.create_task(self._watch(key))
                kills = sorted(chance.uniform(0.2, 0.8) * self.plan.seconds for _ in range(self.plan.kills))
                telling = [asyncio.create_task(self._tell(client, name, token, ends)) for name, token in tokens.items()]
                for at in kills:
                    await asyncio.sleep(max(0.0, ends - self.plan.seconds + at - time.monotonic()))
                    board.kill()
                    await board.wait()
                    self.say(f"the board was killed after {at:.0f} s, and is started again")
                    board = await self._served()
                events = sum(await asyncio.gather(*telling))
                await asyncio.sleep(1)
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
        finally:
            with suppress(ProcessLookupError):
                board.kill()
            await board.wait()
        return self._told(events)

    def _told(self, events: int) -> Rehearsed:
        store = Store(self.path)
        passed = {each.nickname: each.told.passed for each in store.everyone()}
        store.close()
        lost = events - sum(passed.values())
        cuts = statistics.quantiles(self.delays, n=20) if len(self.delays) > 1 else [0.0] * 19
        return Rehearsed(self.plan.participants, events, cuts[9], cuts[18], self.peak, self.plan.kills, lost)

    def _names(self) -> list[str]:
        return [f"participant {number + 1}" for number in range(self.plan.participants)]

    @property
    def _url(self) -> str:
        return f"http://{GATEWAY_HOST}:{self.port}"

    async def _served(self) -> asyncio.subprocess.Process:
        board = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "labkit.cli", "class", "serve", "--store", self.path, "--port", str(self.port),
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._process = psutil.Process(board.pid)
        async with asyncio.timeout(STARTS), _client(self._url) as client:
            while True:
                with suppress(httpx.TransportError):
                    await client.get("/board")
                    return board
                await asyncio.sleep(0.05)

    async def _tell(self, client: httpx.AsyncClient, name: str, token: str, ends: float) -> int:
        """One participant: an event after the other, each told until the board has it."""
        chance = random.Random(name)  # noqa: S311
        every = self.plan.participants / self.plan.rate
        n = 0
        await asyncio.sleep(chance.uniform(0, every))
        while time.monotonic() < ends:
            n += 1
            self.sent[name, n] = time.monotonic()
            failing = Failing("05.1", "The page shows stars", "no stars") if n % 3 else None
            told = Told(n, f"{n % 16:02}", n, 0.0, failing, {"05.1": "stars" if n % 2 else "none"}, n // 5, n // 7)
            while not await _took(client, token, told):
                self.sent.pop((name, n), None)  # how long a board is down is not how long one takes
                await asyncio.sleep(0.2)
            await asyncio.sleep(chance.uniform(0.5, 1.5) * every)
        return n

    async def _watch(self, key: str) -> None:
        while True:
            with suppress(httpx.HTTPError):
                await self._watch_once(key)
            await asyncio.sleep(0.1)

    async def _watch_once(self, key: str) -> None:
        async with (
            _client(self._url, cookies={COOKIE: key}) as client,
            client.stream("GET", "/board/now", timeout=None) as stream,
        ):
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    self._drawn(json.loads(line[6:]))

    def _drawn(self, board: dict[str, list[dict[str, object]]]) -> None:
        now = time.monotonic()
        with suppress(psutil.Error):
            self.peak = max(self.peak, self._process.memory_info().rss / _MIB)
        for row in board["rows"]:
            name, passed = str(row["nickname"]), int(str(row["passed"]))
            for n in range(self.seen.get(name, 0) + 1, passed + 1):
                if (sent := self.sent.pop((name, n), None)) is not None:
                    self.delays.append(now - sent)
            self.seen[name] = max(passed, self.seen.get(name, 0))


@asynccontextmanager
async def _client(url: str, cookies: dict[str, str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=5, cookies=cookies) as client:
        yield client


async def _joined(client: httpx.AsyncClient, code: str, name: str) -> str:
    answer = await client.post("/join", json={"code": code, "nickname": name})
    answer.raise_for_status()
    token: str = answer.json()["token"]
    return token


async def _took(client: httpx.AsyncClient, token: str, told: Told) -> bool:
    try:
        answer = await client.post("/tell", json=told.as_json(), headers={"Authorization": f"Bearer {token}"})
    except httpx.TransportError:
        return False
    return answer.status_code == 204
