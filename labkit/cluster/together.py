"""Several questions at once, none waited for longer than all are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def together(questions: Mapping[str, Callable[[], T]], seconds: float) -> dict[str, T]:
    """The answers that came within `seconds`, by name, in the order of the questions.

    A question that hangs (a name server that is silent, an engine that is stuck) is left behind.
    """
    futures = {name: _ask(question) for name, question in questions.items()}
    wait(futures.values(), timeout=seconds)
    return {name: future.result() for name, future in futures.items() if future.done()}


def _ask(question: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(question())
        except BaseException as error:
            future.set_exception(error)

    # not a ThreadPoolExecutor: its threads are joined when Python exits, however long they hang
    Thread(target=answer, daemon=True).start()
    return future
