"""The hosted runs: valid, least privileged, pinned, and running what a reader runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from labkit.course import labs
from labkit.maintain.versions import PROJECTS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "v1.7.12"


@pytest.fixture(scope="module")
def actionlint() -> Path:
    """Built once for the checkout, where there is a Go toolchain to build it with."""
    folder = ROOT / ".cache" / f"actionlint-{ACTIONLINT}"
    program = folder / "actionlint"
    if not program.exists():
        if not shutil.which("go"):
            pytest.skip("actionlint is built with Go, and there is no `go` here (fix: install Go)")
        package = f"github.com/rhysd/actionlint/cmd/actionlint@{ACTIONLINT}"
        build = ["go", "install", package]
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-modcacherw"}
        built = subprocess.run(build, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if built.returncode:
            pytest.skip(
                f"actionlint could not be built: {built.stderr.strip().splitlines()[-1]} (fix: check the network)"
            )
    return program


def linted(actionlint: Path, *files: Path) -> subprocess.CompletedProcess:
    # shellcheck and pyflakes where they happen to be installed would make the verdict depend on the machine
    command = [str(actionlint), "-shellcheck=", "-pyflakes=", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_workflows_are_valid(actionlint):
    result = linted(actionlint, *WORKFLOWS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_invalid_workflow_is_seen(actionlint, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert linted(actionlint, broken).returncode


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEach:
    def test_may_only_read_where_anything_of_others_runs(self, path):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        assert {name for name, job in workflow["jobs"].items() if "permissions" in job} <= {"propose"}

    def test_pins_its_actions_to_a_commit_and_says_which_version_that_is(self, path):
        uses = re.findall(r"uses: (.+)", path.read_text())
        assert uses
        assert [each for each in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []

    def test_runs_what_a_reader_runs_on_a_live_mesh_from_releases(self, path):
        workflow = yaml.safe_load(path.read_text())
        commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
        assert any(command.startswith("make test") and "--require-live" in command for command in commands)
        assert workflow["env"]["LABKIT_SOURCE"] == "releases"

    def test_ends_in_bounded_time(self, path):
        assert all(job["timeout-minutes"] <= 90 for job in yaml.safe_load(path.read_text())["jobs"].values())


def jobs(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"]


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_both_architectures_are_tested():
    matrix = jobs("test.yml")["test"]["strategy"]["matrix"]
    assert matrix == {"machine": ["ubuntu-24.04", "ubuntu-24.04-arm"]}


def test_what_needs_no_engine_is_tested_on_the_oldest_python_and_the_newest_on_linux_and_macos():
    unit = jobs("test.yml")["unit"]
    assert {machine.partition("-")[0] for machine in unit["strategy"]["matrix"]["machine"]} == {"ubuntu", "macos"}
    assert unit["strategy"]["matrix"]["python"] == ["3.11", "3.14"]
    assert commands(unit) == ["make PYTHON=python test-unit test-recorded"]


def test_lint_comes_first():
    first, *others = jobs("test.yml").values()
    assert commands(first) == ["make lint"]
    assert {job["needs"] for job in others} == {"lint"}
    run = (ROOT / ".ci" / "run").read_text()
    assert run.index("\nmake lint") < run.index("make test LIVE")


def test_random_searches_have_a_fresh_seed_each_week():
    assert commands(jobs("weekly.yml")["fuzz"]) == ["make fuzz"]


def test_the_weekly_run_moves_each_project_tests_it_and_records_it():
    job = jobs("weekly.yml")["newest"]
    assert tuple(job["strategy"]["matrix"]["project"]) == PROJECTS
    told = "\n".join(commands(job))
    places = [
        told.index(word) for word in ("labkit versions --newest", "make test-live", "make record", "git diff --binary")
    ]
    assert places == sorted(places)


def test_a_lab_that_needs_what_the_projects_publish_is_recorded_there_and_kept():
    job = jobs("weekly.yml")["record"]
    [kept] = [step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    for number in [lab.number for lab in labs.LABS if lab.source == "releases"]:
        assert f".venv/bin/labkit record {number}" in commands(job)
        assert kept.split() == [f"notebooks/{number}-*.ipynb", f"notebooks/recordings/{number}-*"]


def test_what_proposes_a_move_may_write_and_runs_nothing_that_was_fetched():
    job = jobs("weekly.yml")["propose"]
    assert tuple(job["strategy"]["matrix"]["project"]) == PROJECTS
    assert job["permissions"] == {"actions": "read", "contents": "write", "pull-requests": "write"}
    told = "\n".join(commands(job))
    assert "gh pr create" in told
    assert not re.search(r"\bmake\b|labkit |python", told)
