"""Waiting that tells what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from labkit.errors import LabError

T = TypeVar("T")


def wait(
    what: str,
    observe: Callable[[], T],
    done: Callable[[T], bool],
    *,
    timeout: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    state: Callable[[T], str] = str,
    report: Callable[[str], None] = lambda _: None,
    every: float = 0.2,
) -> T:
    """Observe until `done`, and return what was seen then.

    Each new `state` goes to `report`; the last one stands in the LabError raised after `timeout` seconds.
    """
    ends = now() + timeout
    last = ""
    while True:
        seen = observe()
        if state(seen) != last:
            last = state(seen)
            report(last)
        if done(seen):
            return seen
        if now() > ends:
            raise LabError(
                f"{what} did not come about within {timeout:.0f} s.",
                f"the last state seen: {last or 'none'}",
                "run it again: it goes on from here; `labkit status` shows the whole cluster",
            )
        sleep(every)
