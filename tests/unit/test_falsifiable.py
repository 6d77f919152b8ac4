"""Each check fails before its step and passes after it, on the recorded mesh as on a live one (tests/live)."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

import nbformat
import pytest

from labkit import backend, session
from labkit.course import availability, labs, verbs
from labkit.course.checks import Report
from labkit.recordings import files
from labkit.recordings.files import Mark
from labkit.recordings.replay import Replay
from labkit.settings import NOTEBOOKS

CHECK = re.compile(r'check\("([\d.]+)"\)')
RECORDED = {path.name[:2]: path for path in files.recordings()}


LABS = [lab for lab in labs.LABS if not availability.is_unrecorded(lab)]
EXERCISES = [f"{lab.number}.{place}" for lab in LABS for place, _ in enumerate(lab.exercises, 1)]


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Nothing of this machine's settings."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.delenv("LABKIT_CACHE", raising=False)
    monkeypatch.delenv("LABKIT_CLUSTER", raising=False)


@pytest.fixture(params=LABS, ids=lambda lab: lab.number)
def lab(request, alone):
    return request.param


@cache  # a lab is played back once for its own check and for those of its exercises
def reports(number: str) -> dict[str, list[tuple[Mark, Report]]]:
    """What each cell that asks for a check got, from the top of the notebook to its end, by check."""
    mesh, found = Replay(), defaultdict(list)
    with backend.use(mesh):
        session.enter(number)
        for n, mark in enumerate(files.head(RECORDED[number]).cells):
            session.begin_cell(mark.source, mark.cell)
            if asked := CHECK.fullmatch(mark.source):
                found[asked[1]].append((mark, verbs.check(asked[1])))
            elif mark.enters or n:
                mesh._settle()
            session.end_cell()
    return found


def test_a_labs_check_fails_at_its_start_and_passes_at_its_end(lab):
    first, *_, last = [report for _, report in reports(lab.number)[lab.number]]
    assert [result.claim for result in first.results if result.passed] == []
    assert last.passed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_an_exercises_check_fails_before_its_solution_and_at_a_wrong_answer_and_passes_after_it(alone, exercise):
    seen = reports(exercise[:2])[exercise]
    first, *_, last = [report for _, report in seen]
    wrong = [report for mark, report in seen if mark.aside]
    assert not first.passed
    assert wrong
    assert not any(report.passed for report in wrong)
    assert last.passed


def test_every_notebook_is_recorded_but_those_that_wait_for_another_source():
    waiting = tuple(lab.number for lab in labs.LABS if availability.is_unrecorded(lab))
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    notebooks = [path.stem for path in paths if not path.name.startswith(waiting)]
    assert [files.head(path).notebook for path in files.recordings()] == notebooks
    assert all(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4) for name in notebooks)
