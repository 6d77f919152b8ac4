"""How long something takes, on a machine that does other things too."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOKS = 6


def wall(call: Callable[[], object]) -> float:
    """Seconds on the clock."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


def processor(call: Callable[[], object]) -> float:
    """Seconds of this process's own processor time."""
    began = time.process_time()
    call()
    return time.process_time() - began


def least(measure: Callable[[], float], limit: float = 0.0) -> float:
    """The smallest of at most six measurements; the first one below the limit ends it.

    Other work on the machine only ever adds: one measurement below the limit tells what the code takes, and code that
    is too slow is above it each time.
    """
    smallest = measure()
    for _ in range(LOOKS - 1):
        if smallest < limit:
            break
        smallest = min(smallest, measure())
    return smallest
