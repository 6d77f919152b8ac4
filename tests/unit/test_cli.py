"""The `labkit` command, as far as it goes without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labkit import cli


def labkit(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labkit.cli", *words]
    return subprocess.run(command, env={**os.environ, **env}, text=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("command", ["doctor", "up", "down", "status", "images", "record", "bench", "lab", "engine"])
def test_help_knows_every_command(command):
    assert f"\n  {command} " in labkit("--help").stdout
    assert labkit(command, "--help").returncode == 0


def test_an_error_is_told_without_a_traceback(tmp_path):
    told = labkit("up", "--until", "cluster", PATH="/nowhere", LABKIT_HOME=str(tmp_path), LABKIT_CLUSTER="not-there")
    assert told.returncode == 1
    assert "fix:" in told.stderr
    assert "Traceback" not in told.stderr


def test_doctor_without_an_engine_says_so_as_json_and_by_its_exit_status(tmp_path):
    told = labkit("doctor", "--json", PATH="/nowhere", LABKIT_HOME=str(tmp_path))
    assert told.returncode == 1
    [engine] = [finding for finding in json.loads(told.stdout) if finding["subject"] == "container engine"]
    assert engine["status"] == "bad"
    assert engine["remedy"]


def test_stored_outputs_of_the_courses_notebooks_are_trusted(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    output = new_output("display_data", data={"image/svg+xml": "<svg/>"})
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=[output])]), tmp_path / "lab.ipynb")
    notebook = nbformat.read(tmp_path / "lab.ipynb", as_version=4)
    assert not NotebookNotary().check_signature(notebook)

    cli._trust([tmp_path / "lab.ipynb"])

    assert NotebookNotary().check_signature(notebook)
