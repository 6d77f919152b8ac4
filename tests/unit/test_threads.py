"""What goes on side by side ends together: real commands and real waits in the live venue."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from labkit import backend

TOO_LONG = "600"  # seconds


def test_each_ends_by_itself_where_nothing_goes_wrong():
    with backend.threads() as pool:
        printed = [pool.submit(backend.run, ["echo", word]) for word in ("one", "two")]
    assert [future.result().stdout.strip() for future in printed] == ["one", "two"]


def broken_off(error: BaseException) -> list[Future]:
    """A command and a wait, both under way when `error` is raised."""
    with contextlib.suppress(type(error)), backend.threads() as pool:
        command = pool.submit(backend.run, ["sleep", TOO_LONG])
        waiting = pool.submit(lambda: backend.wait("never", lambda: 0, bool, timeout=float(TOO_LONG), every=30))
        backend.wait("both", lambda: command.running() and waiting.running(), bool, timeout=60, every=0.01)
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


def test_a_stop_ends_what_its_own_block_started_and_nothing_else():
    with backend.threads() as others:
        theirs = others.submit(backend.run, ["sleep", "3"])
        beside = backend.background("beside", lambda: backend.sleep(3))
        broken_off(KeyboardInterrupt())
        assert beside.is_alive()
        assert theirs.result().returncode == 0
    beside.join()


def test_a_command_that_does_not_mind_an_interrupt_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr("labkit.backend.live.processes._PATIENCE", 0.3)
    said: list[str] = []
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), backend.threads() as pool:
        stubborn = pool.submit(
            lambda: backend.run(["sh", "-c", "trap '' INT TERM; echo on; sleep 60 & wait"], on_line=said.append)
        )
        backend.wait("it", lambda: bool(said), bool, timeout=60, every=0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - started < float(TOO_LONG) / 4
    assert isinstance(stubborn.exception(), KeyboardInterrupt)


def test_a_block_inside_another_ends_with_it():
    inside: list[Future] = []

    def within() -> None:
        with backend.threads() as pool:
            inside.append(pool.submit(backend.run, ["sleep", TOO_LONG]))

    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), backend.threads() as pool:
        pool.submit(within)
        backend.wait("it", lambda: bool(inside) and inside[0].running(), bool, timeout=60, every=0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - started < float(TOO_LONG) / 4
    assert isinstance(inside[0].exception(), KeyboardInterrupt)


def test_no_more_run_at_once_than_were_asked_for():
    running, most = [], []

    def one(_: int) -> None:
        running.append(1)
        most.append(len(running))
        backend.sleep(0.02)
        running.pop()

    with backend.threads(2) as pool:
        list(pool.map(one, range(8)))
    assert max(most) == 2


@pytest.mark.parametrize(
    "line",
    [
        "from concurrent.futures import ThreadPoolExecutor",
        "from threading import Thread",
        "import threading\n\nthreading.Thread()",
    ],
)
def test_a_thread_outside_of_these_is_seen(line):
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "labkit/mesh/intruder.py", "-"],
        input=f'"""A."""\n\n{line}\n', cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "TID251" in told.stdout
