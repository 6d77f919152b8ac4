"""What every backend can do, and the sequences in which threads ask it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from labkit.backend.requests import Answer, Forward, PodGet, Request

ANYWHERE = "*"  # the sequence of threads that did not say which they follow
_sequence: ContextVar[str] = ContextVar("sequence")


@contextmanager
def sequence(name: str) -> Iterator[None]:
    """What is asked inside the block comes one after the other, whichever threads it runs in.

    The same work has the same name each time, such as that of the proxy it asks: so a recording keeps its order, and
    what the clock said between two answers.
    """
    token = _sequence.set(name)
    try:
        yield
    finally:
        _sequence.reset(token)


def current_sequence() -> str:
    """The sequence that is followed here: "" is that of the cell itself."""
    own = "" if threading.current_thread() is threading.main_thread() else ANYWHERE
    return _sequence.get(own)


class Backend(Protocol):
    """The only way out of the package: processes, sockets, files, the clock."""

    def perform(self, request: Request[Answer]) -> Answer:
        """Do what is asked. Raises LabError."""

    def connected(self, forward: Forward) -> AbstractContextManager[Callable[[PodGet], str]]:
        """Hold a connection to a pod open inside the block."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def unix_time(self) -> float:
        """Seconds since 1970 by this machine's clock, which may jump."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class Wrapper:
    """A backend around another one, which hands on all that it does not take up itself."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    def perform(self, request: Request[Answer]) -> Answer:
        return self._inner.perform(request)

    def connected(self, forward: Forward) -> AbstractContextManager[Callable[[PodGet], str]]:
        return self._inner.connected(forward)

    def now(self) -> float:
        return self._inner.now()

    def unix_time(self) -> float:
        return self._inner.unix_time()

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
