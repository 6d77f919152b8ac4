"""Work side by side: a block of threads ends together, and with it the commands and the waits that they are in.

An interrupt of one block leaves the others, and what runs beside the cells, as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


class Scope:
    """What is to end together, with all that is inside of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ends: list[Callable[[], None]] = []

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End it; from now on nothing new begins in it."""
        with self._lock:
            self._stopped.set()
            ends = list(self._ends)
        for end in ends:
            end()

    def wait(self, seconds: float) -> None:
        """Let time pass, unless it is told to end."""
        self._stopped.wait(seconds)

    @contextmanager
    def holding(self, end: Callable[[], None]) -> Iterator[None]:
        """Inside the block, `end` is what a stop calls; at once, where it was stopped before."""
        with self._lock:
            self._ends.append(end)
            late = self._stopped.is_set()
        try:
            if late:
                end()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


_scope: ContextVar[Scope] = ContextVar("scope")
_everything_else = Scope()  # nobody stops it


def scope() -> Scope:
    """That of the thread that asks."""
    return _scope.get(_everything_else)


def raise_if_interrupted() -> None:
    """Raises KeyboardInterrupt in a thread whose block was told to end."""
    if scope().is_stopped:
        raise KeyboardInterrupt


def sleep(seconds: float) -> None:
    """Let time pass. Raises KeyboardInterrupt where the block of threads ends meanwhile."""
    scope().wait(seconds)
    raise_if_interrupted()


class Threads:
    """Threads of one block."""

    def __init__(self, pool: ThreadPoolExecutor, inside: Scope) -> None:
        self._pool, self._scope = pool, inside

    def submit(self, do: Callable[..., T], *arguments: object) -> Future[T]:
        """Begin as soon as a thread is free, in the context of whoever begins it."""
        return self._pool.submit(copy_context().run, self._inside, do, *arguments)

    def map(self, do: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
        """What came of each, in their order. Raises what was raised."""
        begun = [self.submit(do, item) for item in items]
        return (each.result() for each in begun)

    def _inside(self, do: Callable[..., T], *arguments: object) -> T:
        _scope.set(self._scope)  # in a copy of the context, which goes with this call
        raise_if_interrupted()
        return do(*arguments)


@contextmanager
def threads(at_once: int | None = None) -> Iterator[Threads]:
    """Threads for what can go on at the same time, so many at once; the block ends when all of them have.

    An error or an interrupt in the block ends the commands and the waits that they are in.
    """
    inside = Scope()
    with scope().holding(inside.stop), ThreadPoolExecutor(at_once) as pool:
        try:
            yield Threads(pool, inside)
        except BaseException:
            inside.stop()
            pool.shutdown(cancel_futures=True)
            raise


def beside(name: str, do: Callable[[], None]) -> Thread:
    """Let `do` run in a thread that no block holds, and that ends with this process."""
    thread = Thread(target=do, name=name, daemon=True)
    thread.start()
    return thread


def together(questions: Mapping[str, Callable[[], T]], seconds: float) -> dict[str, T]:
    """The answers that came within `seconds`, by name, in the order of the questions, asked in this context.

    A question that hangs (a name server that is silent, an engine that is stuck) is left behind.
    """
    futures = {name: _ask(name, question) for name, question in questions.items()}
    wait(futures.values(), timeout=seconds)
    return {name: future.result() for name, future in futures.items() if future.done()}


def _ask(name: str, question: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(question())
        except BaseException as error:
            future.set_exception(error)

    context = copy_context()
    beside(name, lambda: context.run(answer))  # a pool's threads are joined when Python exits, however long they hang
    return future
