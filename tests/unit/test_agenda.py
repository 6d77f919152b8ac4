"""What fits into a class's hours, by the time that the notebooks tell."""

from __future__ import annotations

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.course import agenda, labs
from labkit.course.lab import PATHS
from labkit.errors import LabError


@given(hours=st.floats(0.5, 24))
def test_what_is_planned_fits_is_in_order_and_has_breaks(hours):
    planned = agenda.plan(hours)
    end, since = 0, 0
    for item in planned.items:
        assert item.at == end
        since = since + item.minutes if item.number else 0
        assert since <= agenda.BREAK_AFTER
        end += item.minutes
    assert end <= round(hours * 60)
    numbers = [item.number for item in planned.items if item.number]
    assert numbers == sorted(set(numbers))


def test_what_matters_most_comes_first():
    short, day = ({item.number for item in agenda.plan(hours).items} for hours in (2, 24))
    assert {lab.number for lab in labs.LABS if lab.path == PATHS[0]} <= short
    assert {lab.number for lab in labs.LABS} <= day


def test_too_little_time_is_told():
    with pytest.raises(LabError, match="more time"):
        agenda.plan(0.05)


def test_an_agenda_is_a_table():
    first, *_, last = repr(agenda.plan(2)).splitlines()
    assert first.startswith("0:00  00  Start here")
    assert "to spare" in last


def timed(line: str) -> nbformat.NotebookNode:
    prose = new_markdown_cell("word " * agenda.WORDS * 3)
    return new_notebook(cells=[new_markdown_cell(f"## Time\n\n{line}"), prose, new_code_cell("1")])


@pytest.mark.parametrize(("seconds", "written"), [(31, "35 s"), (90, "90 s"), (91, "2 min"), (121, "2.5 min")])
def test_a_notebook_tells_how_long_it_takes(tmp_path, seconds, written):
    notebook = timed("Reading 1 min. Running 1 s on two cores; downloads come on top.")
    agenda.tell(notebook, seconds, cores=4)
    assert f"Reading 3 min. Running {written} on 4 cores; downloads come on top." in notebook.cells[0].source
    nbformat.write(notebook, tmp_path / "lab.ipynb")
    assert agenda.told(tmp_path / "lab.ipynb") == pytest.approx(3 + seconds / 60, abs=0.5)


def test_a_notebook_that_does_not_tell_is_named(tmp_path):
    nbformat.write(timed("Not long."), tmp_path / "lab.ipynb")
    with pytest.raises(LabError, match=r"lab\.ipynb"):
        agenda.told(tmp_path / "lab.ipynb")
