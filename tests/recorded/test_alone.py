"""Playing back needs Python and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.maintain.benchmark.recorded import peak_mib
from labkit.settings import NOTEBOOKS, REPOSITORY

ALONE = Path(__file__).with_name("alone.py")
APART = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


def can_be_apart() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*APART, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(
    not can_be_apart(),
    reason="this machine gives out no network namespaces (fix: Linux, as root or with user namespaces allowed)",
)
@pytest.mark.parametrize("name", ["00-start-here", "05-deploy-bookinfo", "09-live-telemetry"])
def test_without_network_in_a_read_only_checkout_and_without_a_home(name, tmp_path):
    """09 has live views and steady traffic; all of them run commands, ask the API and send HTTP."""
    command = [*APART, sys.executable, ALONE, NOTEBOOKS / f"{name}.ipynb", REPOSITORY]
    folders = {"JUPYTER_RUNTIME_DIR": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    ran = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **folders}, cwd=tmp_path, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{name} ran" in ran.stdout


@pytest.mark.parametrize("name", ["03-install-profiles", "07-architecture"])
def test_a_kernel_needs_at_most_300_megabytes(name, tmp_path):
    """The two whose answers are longest; `labkit bench recorded` asks all of them."""
    assert peak_mib(NOTEBOOKS / f"{name}.ipynb", {"LABKIT_HOME": str(tmp_path)}) * 2**20 < 300e6
