"""A trainer's board that runs, in a process of its own, for as long as a block."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress


@contextmanager
def serving(path, port: int, *options):
    """Yields the three lines that it printed: the board's address, the line for participants, until when."""
    command = [sys.executable, "-m", "labkit.cli", "class", "serve", "--store", path, "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline() for _ in range(3)]
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield said
        finally:
            process.kill()
