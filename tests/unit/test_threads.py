"""What goes on side by side ends together: real commands and real waits in the live venue."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future

import pytest

from labkit import backend

TOO_LONG = "60"  # seconds


def test_each_ends_by_itself_where_nothing_goes_wrong():
    with backend.threads() as pool:
        printed = [pool.submit(backend.run, ["echo", word]) for word in ("one", "two")]
    assert [future.result().stdout.strip() for future in printed] == ["one", "two"]


def broken_off(error: BaseException) -> list[Future]:
    """A command and a wait, both under way when `error` is raised."""
    with contextlib.suppress(type(error)), backend.threads() as pool:
        command = pool.submit(backend.run, ["sleep", TOO_LONG])
        waiting = pool.submit(backend.wait, "what never comes", lambda: 0, bool, timeout=float(TOO_LONG), every=30)
        backend.wait("both", lambda: command.running() and waiting.running(), bool, timeout=10, every=0.01)
        raise error
    return [command, waiting]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), backend.Unreachable("", "", "")], ids=["interrupt", "error"])
def test_an_error_or_an_interrupt_ends_the_commands_and_the_waits_of_the_others(error):
    started = time.monotonic()
    futures = broken_off(error)
    assert time.monotonic() - started < float(TOO_LONG) / 4
    assert all(isinstance(future.exception(), KeyboardInterrupt) for future in futures)


def test_what_comes_after_an_interrupt_runs_as_before():
    with pytest.raises(KeyboardInterrupt), backend.threads():
        raise KeyboardInterrupt
    backend.sleep(0.01)
    assert backend.run(["echo", "on"]).stdout == "on\n"
