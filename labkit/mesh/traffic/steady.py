"""A little traffic through the gateway, for as long as there is something to watch."""

from __future__ import annotations

import atexit
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from labkit import backend, session
from labkit.errors import LabError
from labkit.mesh.bookinfo import PAGE

MOST = 20.0  # requests a second: it is to be seen, not to be felt
LONGEST = 3600.0  # seconds
NO_ANSWER = 0
_TIMEOUT = 5.0  # seconds for an answer; a stop waits no longer than that


@dataclass(frozen=True)
class Sent:
    """What was sent: requests, HTTP status → how many answers had it (0: none came), seconds from first to last."""

    requests: int
    statuses: Mapping[int, int]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second that came about: fewer than were asked for where answers took longer than that."""
        return self.requests / self.seconds if self.seconds else 0.0


class Steady:
    """Traffic that goes on by itself, until `stop()`, the end of a `with` block, its own end or the kernel's."""

    def __init__(self, url: str, rate: float, seconds: float) -> None:
        """Send the first request, so that a missing gateway is the caller's to hear of; then go on in a thread."""
        self.url, self.rate, self.seconds = url, rate, seconds
        self._over = threading.Event()
        self._began = self._asked = backend.now()
        self._statuses = Counter([backend.http("GET", url, timeout=_TIMEOUT).status])
        self._thread = backend.background("steady traffic", self._go_on)

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self._thread.is_alive()

    @property
    def sent(self) -> Sent:
        """What was sent so far."""
        statuses, seconds = backend.work("steady traffic, what was sent", lambda _: self._so_far())
        return Sent(sum(statuses.values()), {int(status): count for status, count in statuses.items()}, seconds)

    def stop(self) -> Sent:
        """End it, and wait until the last answer is in."""
        self.end()
        return self.sent

    def end(self) -> None:
        """End it, whatever was sent."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Steady:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"{self.rate:g} requests a second" if self.running else "stopped"
        answers = ", ".join(f"{status or 'no answer'}: {number}" for status, number in self.sent.statuses.items())
        return f"{self.url}, {state} ({answers})"

    def _so_far(self) -> tuple[dict[str, int], float]:
        return {str(status): count for status, count in sorted(self._statuses.items())}, self._asked - self._began

    def _go_on(self) -> None:
        """One request after the other: where answers are slow there are fewer, and no crowd of them to wait for.

        Each has a moment of its own, so that what one wait takes too long, the next makes up for.
        """
        due = self._began
        for _ in range(int(self.rate * self.seconds)):
            due = max(due + 1 / self.rate, backend.now())
            if self._over.wait(min(1 / self.rate, due - backend.now())):  # a clock that was set back is not waited for
                return
            self._asked = backend.now()
            if self._asked - self._began >= self.seconds:
                return
            self._statuses[self._status()] += 1

    def _status(self) -> int:
        try:
            return backend.http("GET", self.url, timeout=_TIMEOUT).status
        except LabError:
            return NO_ANSWER


_current: Steady | None = None


def start(rate: float = 5.0, seconds: float = 300.0, path: str = PAGE) -> Steady:
    """Send `rate` requests a second for `path` through the gateway, for `seconds` at most, while other cells run.

    `with start(): …` ends it with the block, also where that is interrupted. There is one at a time: what ran before
    is ended. Raises LabError where rate or time are out of bounds or there is no cluster, and backend.Unreachable where
    the gateway gives no answer.
    """
    global _current
    if not (0 < rate <= MOST and 0 < seconds <= LONGEST):
        raise LabError(
            f"{rate:g} requests a second for {seconds:g} s is not steady traffic.",
            f"it is gentle: up to {MOST:g} a second, for up to {LONGEST:g} s",
            "`mesh.traffic.load(...)` sends a burst",
        )
    stop()
    _current = Steady(session.gateway() + path, rate, seconds)
    return _current


def stop() -> Sent | None:
    """End the steady traffic: what was sent, None where none was ever started."""
    return _current.stop() if _current else None


def _end() -> None:
    if _current:
        _current.end()


atexit.register(_end)
