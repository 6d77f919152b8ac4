"""The commands of the README, as make knows them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
TARGETS = {"help", "lab", "test", "site", "doctor", "engine", "images", "up", "down", "status", "record", "bench",
           "clean"}  # fmt: skip

pytestmark = pytest.mark.skipif(not MAKE, reason="there is no `make` here (fix: install it)")


def make(*words: str, folder: Path = ROOT, path: str | None = None) -> subprocess.CompletedProcess:
    environment = None if path is None else {"PATH": path}
    command = [str(MAKE), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target():
    listed = re.findall(r"^  (\w+) +\S", make().stdout, re.MULTILINE)
    assert set(listed) == TARGETS


def test_the_readme_names_no_target_that_is_not_there():
    named = set(re.findall(r"`?make (\w+)", (ROOT / "README.md").read_text()))
    assert named - TARGETS == set()


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A clone before anything was made in it."""
    for name in ("Makefile", "requirements.lock", "requirements-site.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_a_machine_without_a_fitting_python_is_told_what_to_do(fresh):
    tools = fresh / "tools"
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tools / "python3").chmod(0o755)
    result = make("lab", folder=fresh, path=str(tools))
    assert result.returncode
    assert "PYTHON=" in result.stdout
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize("target", sorted(TARGETS - {"help", "clean"}))
def test_each_command_makes_its_environment_first(fresh, target):
    environment = ".venv-site" if target == "site" else ".venv"
    planned = make("--dry-run", target, folder=fresh).stdout
    assert planned.index("--require-hashes") < planned.rindex(f"{environment}/bin/")


def test_reading_the_course_needs_no_environment_to_run_it(fresh):
    assert ".venv/" not in make("--dry-run", "site", folder=fresh).stdout
    assert ".venv-site" not in make("--dry-run", "lab", folder=fresh).stdout


def test_an_environment_that_stands_is_not_made_again(fresh):
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "python").touch()
    (fresh / ".venv" / ".ready").touch()
    assert "pip install" not in make("--dry-run", "lab", folder=fresh).stdout
