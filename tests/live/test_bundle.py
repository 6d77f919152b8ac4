"""A bundle, from writing it to a check that passes where there is no network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from labkit import backend
from labkit.cluster.bundle import writing
from labkit.progress import Progress

pytestmark = [pytest.mark.live, pytest.mark.long]

ROOM = Path(__file__).with_name("room_without_a_network.sh")
LONGEST = 180  # seconds that an installation may take on two cores
OWN = ("unshare", "--net", "--mount")  # namespaces, which only root may make


def obstacle() -> str:
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("dockerd"):
        return "an engine without a network takes root, unshare and dockerd (fix: run it as root, on Debian)"
    return ""


@pytest.mark.skipif(bool(obstacle()), reason=obstacle())
def test_a_bundle_is_all_that_a_machine_needs(tmp_path):
    archive = writing.write(tmp_path, Progress(lambda event: None, backend.now))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    archive.unlink()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "UV_CACHE_DIR": str(tmp_path / "uv")}

    said = subprocess.run(
        [*OWN, "sh", ROOM, tmp_path, sys.executable], env=environment, capture_output=True, text=True, check=False
    )

    shutil.rmtree(tmp_path / "engine", ignore_errors=True)
    assert said.returncode == 0, said.stdout[-5000:] + said.stderr[-5000:]
    assert "3/3 passed" in said.stdout
    assert int(re.search(r"installed in (\d+) s", said.stdout)[1]) <= LONGEST
