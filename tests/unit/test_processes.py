"""Commands as processes: whatever they do, no hang, every word of theirs, and nothing left of them."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager

from labkit import backend
from labkit.errors import LabError

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **how) -> backend.Completed:
    return backend.run([sys.executable, "-c", code], **how)


def gone(pids: list[int], seconds: float = 30) -> bool:
    """Whether they all have ended, or do within so many seconds."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=seconds)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


# -- what it prints -----------------------------------------------------------------------------------
def test_a_hundred_thousand_lines_at_once_come_whole_and_in_their_order():
    lines: list[str] = []
    started = time.monotonic()
    done = python("print('\\n'.join(map(str, range(100_000))))", on_line=lines.append)
    assert lines == done.stdout.split("\n")[:-1] == list(map(str, range(100_000)))
    assert time.monotonic() - started < 10


def test_both_streams_come_apart_and_lines_as_they_are_printed():
    seen: list[tuple[float, str]] = []
    done = backend.run(
        ["sh", "-c", "echo one; sleep 2; echo two >&2"], on_line=lambda line: seen.append((time.monotonic(), line))
    )
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert [line for _, line in seen] == ["one", "two"]
    assert seen[1][0] - seen[0][0] > 0.5


@pytest.mark.parametrize(
    ("printed", "stdout", "lines"),
    [
        ("no newline", "no newline", ["no newline"]),
        ("a\\r\\nb\\rc", "a\nb\nc", ["a", "b\rc"]),
        ("\\n\\n", "\n\n", ["", ""]),
        ("", "", []),
        ("\\377\\n", "\ufffd\n", ["\ufffd"]),
    ],
)
def test_output_of_any_form_is_text(printed, stdout, lines):
    heard: list[str] = []
    assert backend.run(["printf", printed], on_line=heard.append).stdout == stdout
    assert heard == lines


def test_a_character_in_two_pieces_is_one():
    done = backend.run(["sh", "-c", r"printf '\303'; sleep 0.2; printf '\274'"])
    assert done.stdout == "ü"


def test_output_without_a_newline_does_not_grow_slower_than_it_comes():
    started = time.monotonic()
    done = python("import sys; [sys.stdout.write('x' * 65536) for _ in range(400)]", on_line=lambda line: None)
    assert len(done.stdout) == 400 * 65536
    assert time.monotonic() - started < 10


def test_what_it_prints_last_is_not_lost_however_long_a_look_takes(monkeypatch):
    class Slow(selectors.DefaultSelector):
        def select(self, timeout=None):
            if not (ready := super().select(timeout)):
                time.sleep(0.5)  # in which it prints, and ends
            return ready

    monkeypatch.setattr(selectors, "DefaultSelector", Slow)
    assert backend.run(["sh", "-c", "sleep 0.3; echo last"]).stdout == "last\n"


def test_a_last_line_is_told_that_has_no_end_and_whose_stream_stays_open():
    lines: list[str] = []
    backend.run(["sh", "-c", "sleep 60 & printf last"], on_line=lines.append)
    assert lines == ["last"]


# -- what it is told ----------------------------------------------------------------------------------
@pytest.mark.parametrize("listener", [None, lambda line: None], ids=["silent", "heard"])
@pytest.mark.parametrize(
    "command",
    ["true", "exec 0<&-; sleep 0.2; echo on", "head -c 10 >/dev/null; echo on"],
    ids=["ends", "closes", "part"],
)
def test_a_command_that_does_not_read_what_it_is_given_ends_by_itself(listener, command):
    done = backend.run(["sh", "-c", command], stdin="x" * 5_000_000, on_line=listener)
    assert done.returncode == 0


def test_what_it_is_given_comes_back_whole_while_it_prints():
    given = "".join(f"{number}\n" for number in range(200_000))
    assert backend.run(["cat"], stdin=given).stdout == given


# -- how it ends --------------------------------------------------------------------------------------
def test_a_listener_that_raises_ends_it():
    pids: list[int] = []

    def refuse(line: str) -> None:
        pids.append(int(line))
        raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        backend.run(["sh", "-c", "echo $$; exec sleep 60"], on_line=refuse)
    assert gone(pids)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "command",
    ["sleep 60", "while :; do echo x; done", "exec >&- 2>&-; sleep 60", "trap '' INT TERM; echo x; sleep 60 & wait"],
    ids=["silent", "loud", "deaf", "stubborn"],
)
def test_its_time_limit_holds(command, monkeypatch):
    monkeypatch.setattr("labkit.backend.live.processes._PATIENCE", 0.5)
    started = time.monotonic()
    with pytest.raises(LabError) as late:
        backend.run(["sh", "-c", command], timeout=1, on_line=lambda line: None)
    assert "did not end within 1 s" in late.value.what
    assert 0.9 < time.monotonic() - started < 15


def test_its_time_limit_holds_for_a_slow_listener_too():
    started = time.monotonic()
    with pytest.raises(LabError):
        backend.run(["sh", "-c", "while :; do echo x; done"], timeout=1, on_line=lambda line: time.sleep(0.0001))
    assert time.monotonic() - started < 30


def test_a_child_that_holds_its_output_keeps_nobody_waiting_and_ends_with_it():
    started = time.monotonic()
    done = backend.run(["sh", "-c", "sleep 60 & echo $!"])
    assert time.monotonic() - started < 10
    assert gone([int(done.stdout)])


def test_a_program_that_is_none_is_told_as_such(tmp_path):
    for argv in (["no-such-program"], [str(tmp_path)], ["a\0b"]):
        with pytest.raises(LabError) as refused:
            backend.run(argv)
        assert "could not be started" in refused.value.what


KERNEL = """
from labkit import backend
script = "trap '' INT; echo $$; sleep 60 & echo $!; wait"
backend.run(["sh", "-c", script], on_line=lambda line: print(line, flush=True))
"""


def is_heir(process: psutil.Process) -> bool:
    """Whether it is the shell that ends what is left; a process that is only just there has no command yet."""
    with suppress(psutil.Error):
        return "read -r sign" in " ".join(process.cmdline())
    return False


def awaited(look):
    """What is seen once anything is, within a while."""
    ends = time.monotonic() + 20
    while not (seen := look()) and time.monotonic() < ends:
        time.sleep(0.05)
    return seen


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_it_however_this_process_ends(sign):
    process = subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pids = [int(process.stdout.readline()) for _ in range(2)]
    heirs = awaited(lambda: [each.pid for each in psutil.Process(process.pid).children() if is_heir(each)])
    assert len(heirs) == 1
    process.send_signal(sign)
    process.wait(10)
    assert gone([*pids, *heirs])


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_kernel_that_is_ended_in_the_middle_of_a_cell_leaves_no_child(sign):
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, "PYTHONPATH": str(ROOT)})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(KERNEL)
        pids: list[int] = []
        while len(pids) < 2:
            message = client.get_iopub_msg(timeout=30)
            pids += map(int, message["content"]["text"].split()) if message["msg_type"] == "stream" else ()
        os.kill(manager.provisioner.pid, sign)
        assert gone(pids)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
