"""Commands as processes: what they print as it comes, a limit to their time, and nothing left of them.

Each leads a group of processes, which ends with it, with the block of threads it was started in, and with this
process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from labkit.backend import concurrency
from labkit.backend.answers import Completed
from labkit.backend.requests import Command
from labkit.errors import LabError

_CHUNK = 1 << 16  # bytes
_LOOK = 0.1  # seconds between two looks at whether it ended, where others hold on to its output
_PATIENCE = 5.0  # seconds that it has to end after each signal


def run(command: Command, environment: Mapping[str, str]) -> Completed:
    """Run a command to its end. Raises LabError: it cannot be started, or takes longer than its time limit."""
    concurrency.raise_if_interrupted()
    started = time.monotonic()
    process = _start(command, environment)
    with _HEIR.of(process):
        try:
            output = _Output(command)
            _talk(process, command, output, started)
        finally:
            _end(process)
    stdout, stderr = output.texts()
    return Completed(command.argv, process.returncode, stdout, stderr, time.monotonic() - started)


@contextlib.contextmanager
def held(argv: Sequence[str], environment: Mapping[str, str], stderr: Path) -> Iterator[IO[bytes]]:
    """A process that goes on inside the block, and no longer than this one. Yields what it prints.

    An interrupt is for a cell's commands, not for it.
    """
    with stderr.open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True
        )
    with _HEIR.of(process):
        try:
            assert process.stdout  # noqa: S101  a pipe was asked for
            yield process.stdout
        finally:
            _end(process)


def _start(command: Command, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=command.cwd,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"`{command.argv[0]}` could not be started.",
            f"no such program or folder: {error.filename}",
            "`labkit doctor` says which tools are missing and where they come from",
        ) from error
    except (OSError, ValueError) as error:
        raise LabError(
            f"`{command.argv[0]}` could not be started.",
            str(error),
            "make the file a program that this machine can execute, or remove it",
        ) from error


class _Output:
    """What came of both its streams, and its listener."""

    def __init__(self, command: Command) -> None:
        self._parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._line: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._listener = command.on_line

    def take(self, stream: str, data: bytes) -> None:
        self._parts[stream].append(data)
        if not self._listener:
            return
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._tell(b"".join([*self._line[stream], line]))
            self._line[stream].clear()
        self._line[stream].append(rest)

    def close(self) -> None:
        """Tell of what came last, where no line's end came after it."""
        for left in filter(None, map(b"".join, self._line.values())):
            self._tell(left)

    def texts(self) -> list[str]:
        """As text, with every line's end as one character."""
        return [_text(b"".join(parts)).replace("\r\n", "\n").replace("\r", "\n") for parts in self._parts.values()]

    def _tell(self, line: bytes) -> None:
        if self._listener:
            self._listener(_text(line).removesuffix("\r"))


def _talk(process: subprocess.Popen[bytes], command: Command, output: _Output, started: float) -> None:
    """Feed it and hear it, until it has ended and nothing more comes of it."""
    with selectors.DefaultSelector() as streams, contextlib.ExitStack() as opened:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe:
                opened.enter_context(pipe)
                streams.register(pipe, selectors.EVENT_READ, name)
        left = memoryview((command.stdin or "").encode())
        if process.stdin:
            opened.callback(_close, process.stdin)
            os.set_blocking(process.stdin.fileno(), False)
            streams.register(process.stdin, selectors.EVENT_WRITE, "stdin")
        while streams.get_map():
            had_ended = process.poll() is not None  # asked first: what it printed before that is there by now
            ready = streams.select(_until_a_look(command, started))
            if had_ended and not ready:
                break  # what still holds its output is none of its own, and ends with its group
            for key, _ in ready:
                if key.data == "stdin":
                    left = _feed(key.fd, left)
                    if not left:
                        streams.unregister(key.fileobj)
                        _close(process.stdin)
                elif data := os.read(key.fd, _CHUNK):
                    output.take(key.data, data)
                else:
                    streams.unregister(key.fileobj)
        output.close()
        _wait(process, command, started)


def _feed(fd: int, left: memoryview) -> memoryview:
    """What is left to write; nothing, where nobody reads it."""
    try:
        return left[os.write(fd, left[:_CHUNK]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def _wait(process: subprocess.Popen[bytes], command: Command, started: float) -> None:
    """It closed its output, and goes on."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_until_a_look(command, started))
            return


def _until_a_look(command: Command, started: float) -> float:
    """Seconds until the next look at it. Raises LabError where its time is over, KeyboardInterrupt at a stop."""
    concurrency.raise_if_interrupted()
    if command.timeout is None:
        return _LOOK
    left = command.timeout - (time.monotonic() - started)
    if left > 0:
        return min(left, _LOOK)
    raise LabError(
        f"`{' '.join(command.argv)}` did not end within {command.timeout:.0f} s.",
        "it was ended; nothing says whether it would have finished",
        "look at `labkit status`, then run it again",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and then whatever is left of its group."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        _signal(process, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: none but a zombie is left of the group
        os.killpg(process.pid, sign)


def _close(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        if pipe:
            pipe.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# It reads the groups that there are, and ends them when nobody is left to write: this process has gone.
_SCRIPT = """
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for sign in TERM KILL; do
  for group in $groups; do kill -s $sign -- -$group 2>/dev/null && waits=1; done
  [ -z "$waits" ] || [ $sign = KILL ] || sleep 1
done
"""


class _Heir:
    """A shell that outlives this process by as long as it takes to end what that left behind."""

    def __init__(self, script: Sequence[str]) -> None:
        self._script, self._lock = script, threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._of = 0

    @contextlib.contextmanager
    def of(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Inside the block, the process's group is to end with this one."""
        self._say("+", process.pid)
        try:
            yield
        finally:
            self._say("-", process.pid)

    def _say(self, sign: str, group: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._shell is None or self._of != os.getpid():  # a fork has none of its own
                self._shell, self._of = self._begin(), os.getpid()
            if self._shell.stdin:
                self._shell.stdin.write(f"{sign} {group}\n".encode())

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._script,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )


_HEIR = _Heir(["/bin/sh", "-c", _SCRIPT])
