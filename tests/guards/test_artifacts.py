"""What `--artifacts` keeps is what the cells showed."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat.v4 import new_output
from nbval_run import cell, nbval
from pytest_artifacts import parsed_mib

HELLO = new_output("stream", text="hello\n")


def test_a_run_keeps_its_outputs_and_what_it_took(tmp_path):
    kept = tmp_path / "kept"
    options = ("-p", "pytest_artifacts", "--artifacts", str(kept))
    nbval(tmp_path, cell("print('new')", outputs=[HELLO]), cell("1 / 0"), cell("2", outputs=[HELLO]), options=options)
    first, failed, skipped = nbformat.read(kept / "lab.ipynb", as_version=4).cells
    assert first.outputs[0].text == "new\n"
    assert failed.outputs[0].ename == "ZeroDivisionError"
    assert skipped.outputs == []
    [figures] = json.loads(next(kept.glob("figures-*.json")).read_text())
    assert figures["notebook"] == "lab.ipynb"
    assert figures["failed_cells"] == 1
    assert figures["seconds"] > 0


def test_groups_that_run_side_by_side_keep_each_their_own_figures(tmp_path, monkeypatch):
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    apart = ["-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "pytest_artifacts"]
    for cluster in ("one", "two"):
        monkeypatch.setenv("LABKIT_CLUSTER", cluster)
        assert pytest.main([str(tmp_path), *apart, "--artifacts", str(tmp_path)]) == pytest.ExitCode.OK
    assert {each.name for each in tmp_path.glob("figures-*")} == {"figures-one.json", "figures-two.json"}


@pytest.mark.parametrize(
    ("usage", "mib"),
    [("1.5GiB / 23GiB\n", 1536), ("300MiB / 2GiB", 300), ("512KiB / 2GiB", 0.5), ("-- / --", None), ("", None)],
)
def test_the_engine_tells_memory_in_its_own_units(usage, mib):
    assert parsed_mib(usage) == mib
