"""Run one notebook with nothing but Python: no network, a checkout that is read-only, a home that cannot be written.

`alone.py NOTEBOOK CHECKOUT` inside namespaces of its own (`unshare --net --mount`): there is no way out of them but
127.0.0.1, over which Jupyter speaks to its kernel, and which is their own.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SET_FLAGS, UP = 0x8914, 0x1  # netdevice(7)


def main() -> None:
    path, checkout = map(Path, sys.argv[1:])
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))
    for words in (["--bind", checkout, checkout], ["-o", "remount,ro,bind", checkout]):
        subprocess.run(["mount", *words], check=True)
    try:
        (checkout / "written").touch()
    except OSError:
        pass
    else:
        raise SystemExit("the checkout could be written all the same")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    home = {"LABKIT_VENUE": "recorded", "LABKIT_HEADLESS": "1", "LABKIT_HOME": "/dev/null/home"}
    client.execute(env={**os.environ, **home})
    print(path.stem, "ran")


main()
