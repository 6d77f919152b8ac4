"""The commands of the README, as make knows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_live import CLUSTER

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
TARGETS = {"help", "lab", "lint", "test", "fuzz", "site", "slides", "doctor", "engine", "images", "install",
           "up", "down", "status", "record", "bench", "clean"}  # fmt: skip

pytestmark = pytest.mark.skipif(not MAKE, reason="there is no `make` here (fix: install it)")


def make(*words: str, folder: Path = ROOT, path: str | None = None) -> subprocess.CompletedProcess:
    # As a reader types it: what a `make` that runs these tests hands on to its own commands stays out.
    typed = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment = typed if path is None else {"PATH": path}
    command = [str(MAKE), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target():
    listed = re.findall(r"^  (\w+) +\S", make().stdout, re.MULTILINE)
    assert set(listed) == TARGETS


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_no_target_is_named_that_is_not_there(name):
    named = set(re.findall(r"`make ([\w-]+)", (ROOT / name).read_text()))
    parts_of_test = {"test-live", "live-notebooks", "live-advanced", "live-tests"}
    assert named - TARGETS - parts_of_test <= {"environment"}  # a file's name


def parts_of_the_live_group() -> dict[str, str]:
    """The targets that run side by side → the command of each."""
    side_by_side = re.search(r"--jobs \$\(PARTS\) (.+)", (ROOT / "Makefile").read_text())[1].split()
    return {name: make("--dry-run", name).stdout for name in side_by_side}


def test_each_notebook_runs_a_first_time_in_one_part_of_the_live_group():
    firsts = [re.search(r"--first='(.+?)'", command) for command in parts_of_the_live_group().values()]
    globs = [first[1] for first in firsts if first]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert sum(notebook.match(glob) for glob in globs) == 1, notebook.name


def test_parts_of_the_live_group_share_no_cluster_and_no_port():
    commands = parts_of_the_live_group().values()
    assert len({"".join(re.findall(r"--cluster=(\S+)", command)) for command in commands}) == len(commands)
    assert len({"".join(re.findall(r"LABKIT_PORT:-(\d+)", command)) for command in commands}) == len(commands)


def test_ci_ends_the_cluster_of_each_part_of_the_live_group():
    ended = re.search(r"for cluster in (.+); do", (ROOT / ".ci" / "run").read_text())[1].split()
    used = re.findall(r"--cluster=(\S+)", "".join(parts_of_the_live_group().values()))
    assert sorted(ended) == sorted([CLUSTER, *used])


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A clone before anything was made in it."""
    for name in ("Makefile", "requirements.lock", "requirements-site.lock", "requirements-uv.lock", "pyproject.toml"):
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
    environment = ".venv-site" if target in {"site", "slides"} else ".venv"
    planned = make("--dry-run", target, folder=fresh).stdout
    assert planned.index("--require-hashes") < planned.rindex(f"{environment}/bin/")


# -- the environment ----------------------------------------------------------------------------
UV = """#!/bin/sh
echo "uv $*" >> log
case $1 in
  venv) shift; mkdir -p .venv/bin; cp python3 .venv/bin/python;;
  pip) exit ${BROKEN:-0};;
esac
"""
PYTHON = """#!/bin/sh
[ "$1" = -c ] || echo "python $*" >> log
case $* in
  *"-m venv"*) mkdir -p .venv/bin; cp python3 .venv/bin/python;;
  *requirements-uv.lock*) [ -z "$OFFLINE" ] || exit 1; cp uv .venv/bin/uv;;
esac
"""


@pytest.fixture
def installed(fresh) -> Callable[..., list[str]]:
    """Makes the environment with a Python and a uv that only note what they are told; returns what they noted."""
    for name, program in {"uv": UV, "python3": PYTHON}.items():
        (fresh / name).write_text(program)
        (fresh / name).chmod(0o755)

    def install(*words: str, uv_on_path: bool, **environment: str) -> list[str]:
        tools = fresh / "tools"
        tools.mkdir()
        for name in ["python3", "uv"] if uv_on_path else ["python3"]:
            (tools / name).symlink_to(fresh / name)
        for name in ("sh", "echo", "mkdir", "cp", "touch", "ln"):
            (tools / name).symlink_to(shutil.which(name))
        command = [str(MAKE), ".venv/.ready", *words]
        subprocess.run(command, cwd=fresh, env={"PATH": str(tools), **environment}, capture_output=True, check=True)
        return (fresh / "log").read_text().splitlines()

    return install


def installers(log: list[str]) -> list[str]:
    """Who installed what the locks name."""
    return [line.split()[0] for line in log if re.search(r" install .*-r requirements.lock", line)]


def test_uv_installs_where_it_is(installed):
    log = installed(uv_on_path=True)
    assert installers(log) == ["uv"]
    assert not any("requirements-uv.lock" in line for line in log)


def test_pip_brings_uv_by_its_hashes_where_it_is_not(installed):
    log = installed(uv_on_path=False)
    assert installers(log) == ["uv"]
    assert any("--require-hashes -r requirements-uv.lock" in line for line in log)


def test_pip_installs_where_no_uv_can_be_had(installed):
    assert installers(installed(uv_on_path=False, OFFLINE="1")) == ["python"]


def test_pip_installs_where_uv_fails(installed):
    assert installers(installed(uv_on_path=True, BROKEN="2")) == ["uv", "python"]


def test_pip_installs_where_it_is_asked_for(installed):
    log = installed("UV=", uv_on_path=True)
    assert installers(log) == ["python"]
    assert not any("uv" in line for line in log)


def test_every_installation_but_that_of_the_course_itself_is_held_to_hashes(installed):
    installing = [line for line in installed(uv_on_path=True, BROKEN="2") if " install " in line]
    assert {("--require-hashes" in line) != line.endswith("-e .") for line in installing} == {True}


def test_reading_the_course_needs_no_environment_to_run_it(fresh):
    assert ".venv/" not in make("--dry-run", "site", folder=fresh).stdout
    assert ".venv-site" not in make("--dry-run", "lab", folder=fresh).stdout


def test_the_tests_of_the_site_get_its_environment_and_the_others_run_without_it(fresh):
    planned = make("--dry-run", "test", folder=fresh).stdout
    assert planned.index("-r requirements-site.lock") < planned.index("-m pytest")
    assert ".venv-site/.ready || echo" in planned


def test_an_environment_that_stands_is_not_made_again(fresh):
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "python").touch()
    (fresh / ".venv" / ".ready").touch()
    assert "pip install" not in make("--dry-run", "lab", folder=fresh).stdout
