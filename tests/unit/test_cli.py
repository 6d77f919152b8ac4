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
from labkit.settings import NOTEBOOKS


def labkit(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labkit.cli", *words]
    return subprocess.run(command, env={**os.environ, **env}, text=True, capture_output=True, timeout=60)


COMMANDS = [
    "doctor", "up", "down", "status", "images", "progress", "agenda", "record", "bench", "versions", "lab", "engine",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_knows_every_command(command):
    assert f"\n  {command} " in labkit("--help").stdout
    assert labkit(command, "--help").returncode == 0


def test_progress_is_shown_and_written_down(tmp_path):
    home = {"LABKIT_HOME": str(tmp_path)}
    assert "No prediction" in labkit("progress", **home).stdout
    kept = {"07.1": {"predicted": "a", "right": True}, "07.2": {"predicted": "b", "right": False}}
    (tmp_path / "progress.json").write_text(json.dumps({"version": 1, "predictions": kept}))
    assert "came true: 1 of 2" in labkit("progress", **home).stdout
    assert str(tmp_path / "mine.html") in labkit("progress", "--export", str(tmp_path / "mine.html"), **home).stdout
    assert (tmp_path / "mine.html").exists()


def test_an_agenda_is_planned_and_too_short_a_class_is_told():
    assert labkit("agenda", "--hours", "2").stdout.startswith("0:00  00  Start here")
    assert labkit("agenda", "--hours", "0.1").returncode == 2


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


def is_trusted(path: Path) -> bool:
    return NotebookNotary().check_signature(nbformat.read(path, as_version=4))


def test_a_notebook_is_trusted_while_it_equals_its_recording_and_others_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    [recorded] = NOTEBOOKS.glob("05-*.ipynb")
    same, edited, another, broken = (
        tmp_path / name for name in (recorded.name, "06-edited.ipynb", "mine.ipynb", "a.ipynb")
    )
    same.write_bytes(recorded.read_bytes())
    edited.write_bytes(recorded.read_bytes())
    output = new_output("display_data", data={"image/svg+xml": "<svg onload='alert(1)'/>"})
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=[output])]), another)
    broken.write_text('{"cells": [')

    cli._trust([edited, another, broken, tmp_path / "not-there.ipynb", same])

    assert is_trusted(same)
    assert not is_trusted(another)
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == [
        "06-edited.ipynb", "mine.ipynb", "a.ipynb", "not-there.ipynb",
    ]  # fmt: skip


@pytest.mark.parametrize("change", ["output", "source", "cell"])
def test_an_edited_notebook_is_not_marked_as_trusted(monkeypatch, tmp_path, change):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    [recorded] = NOTEBOOKS.glob("05-*.ipynb")
    notebook = nbformat.read(recorded, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs)
    if change == "output":
        cell.outputs.append(new_output("display_data", data={"text/html": "<script>1</script>"}))
    elif change == "source":
        cell.source += "\n1"
    else:
        notebook.cells.append(new_code_cell("1", outputs=[new_output("display_data", data={"text/html": "a"})]))
    path = tmp_path / recorded.name
    nbformat.write(notebook, path)
    cli._trust([path])
    assert not is_trusted(path)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"cells": {}}', '{"nbformat": "x"}', '{"nbformat": 4, "cells": [1]}']
)
def test_what_is_no_notebook_keeps_nothing_from_starting(tmp_path, capsys, text):
    [recorded] = NOTEBOOKS.glob("05-*.ipynb")
    path = tmp_path / recorded.name
    path.write_text(text)
    cli._trust([path])
    assert "is not marked as trusted" in capsys.readouterr().out
