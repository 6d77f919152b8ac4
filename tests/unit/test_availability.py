"""A lab that needs one source alone: where it can be done, what one is told elsewhere, and who leaves it out."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from fake import Fake
from IPython.core.interactiveshell import InteractiveShell

from labkit import backend, session, state
from labkit.cluster import sources
from labkit.course import availability, labs, verbs
from labkit.course.lab import Lab
from labkit.errors import LabError
from labkit.maintain import record
from labkit.notebook import choosing, magics
from labkit.recordings import files
from labkit.session import Session
from labkit.settings import settings

PARTICULAR = replace(labs.lab("10"), number="98", source="releases", because="nobody else has it")


@pytest.fixture(autouse=True)
def particular(monkeypatch) -> Lab:
    monkeypatch.setattr(labs, "LABS", (*labs.LABS, PARTICULAR))
    return PARTICULAR


@pytest.fixture
def recorded(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(files, "RECORDINGS", tmp_path)
    (tmp_path / "98-particular.jsonl").touch()


def made_of(source: str) -> None:
    state.write(settings().cluster_record, {"source": source})


@pytest.mark.parametrize("lab", [lab for lab in labs.LABS if not lab.source], ids=lambda lab: lab.number)
def test_of_a_lab_that_any_source_will_do_for_nothing_is_asked(lab):
    with backend.use(Fake()):
        assert availability.obstacle(lab) is None
    assert not availability.is_unrecorded(lab)


@pytest.mark.parametrize("lab", [lab for lab in labs.LABS if lab.source], ids=lambda lab: lab.number)
def test_who_needs_a_source_says_why(lab):
    assert lab.source in ("releases", "packages")
    assert lab.because.startswith("the lab needs ")


def test_a_live_mesh_of_that_source_will_do():
    made_of("releases")
    assert availability.obstacle(PARTICULAR) is None


def test_of_a_live_mesh_of_another_one_is_told_what_it_has_and_what_to_do():
    made_of("packages")
    error = availability.obstacle(PARTICULAR)
    assert "`packages`, and nobody else has it" in error.why
    assert "LABKIT_SOURCE=releases labkit up" in error.fix


def test_before_there_is_a_mesh_the_source_counts_that_would_be_chosen(monkeypatch):
    monkeypatch.setenv("LABKIT_SOURCE", "packages")
    assert sources.origin() == "packages"
    assert availability.obstacle(PARTICULAR)


def test_where_no_source_can_be_had_that_is_told(monkeypatch):
    def choose() -> None:
        raise LabError("Nowhere.", "no network", "connect")

    monkeypatch.setattr(sources, "choose", choose)
    assert availability.obstacle(PARTICULAR).what == "Nowhere."


def test_a_recorded_mesh_will_do_once_it_was_recorded(recorded):
    with session.use(Session(is_live=False)):
        assert availability.obstacle(PARTICULAR) is None
    assert not availability.is_unrecorded(PARTICULAR)


def test_before_that_it_is_said_to_be_unrecorded():
    with session.use(Session(is_live=False)):
        assert "not recorded yet" in availability.obstacle(PARTICULAR).why
    assert "labkit record 98" in availability.why_unrecorded(PARTICULAR)


def test_goto_says_so_before_it_touches_anything():
    made_of("packages")
    with backend.use(Fake()), pytest.raises(LabError, match="cannot be done here"):
        verbs.goto("98", lambda event: None)
    assert session.entered() is None


@pytest.fixture
def shell(monkeypatch):
    """A kernel of that lab's notebook, on a mesh of another source."""
    made_of("packages")
    monkeypatch.setitem(os.environ, "JPY_SESSION_NAME", "/a/98-particular.ipynb")
    monkeypatch.setattr(choosing, "chosen", lambda: (Fake(), Session(describe=lambda: "A mesh")))
    monkeypatch.setattr(magics, "_refused", None)
    before = backend._current
    yield InteractiveShell()
    backend.install(before)
    InteractiveShell.clear_instance()


def test_the_first_cell_says_it_in_one_line_and_no_command_is_run(shell, capsys):
    shell.run_cell("%load_ext labkit\nfrom labkit import check, goto, predict")
    mesh, told = capsys.readouterr().out.splitlines()
    assert mesh == "A mesh"
    assert told.startswith("Lab 98 cannot be done here. Why: this mesh has the images of the source `packages`")
    for cell in ('goto("98")', "%kubectl get pods", "%%shell\nistioctl install -y"):
        shell.run_cell(cell)
        said = capsys.readouterr()
        assert "cannot be done here" in said.out + said.err
        assert "Traceback" not in said.out + said.err


def test_a_notebook_of_another_lab_begins_as_ever(shell, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "JPY_SESSION_NAME", "/a/10-staged-rollouts.ipynb")
    shell.run_cell("%load_ext labkit")
    assert capsys.readouterr().out.splitlines() == ["A mesh"]


@pytest.fixture
def notebooks(monkeypatch, tmp_path) -> None:
    """A course of two notebooks, neither of which was recorded."""
    for name in ("10-staged-rollouts", "98-particular"):
        (tmp_path / f"{name}.ipynb").touch()
    monkeypatch.setattr(record, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(files, "RECORDINGS", tmp_path / "recordings")


def test_a_recording_run_leaves_it_out_and_says_why(notebooks, monkeypatch):
    ran, told = [], []
    monkeypatch.setattr(record, "_record", lambda path, asked: ran.append(path.stem) or [])
    monkeypatch.setattr(record, "_explore", lambda: None)
    for name in ("require", "take"):
        monkeypatch.setattr(record.pictures, name, lambda: None)
    monkeypatch.setattr(record.kind, "down", lambda progress: None)
    made_of("packages")
    record.record([], told.append)
    assert ran == ["10-staged-rollouts"]
    assert any(event.note.startswith("left out: this mesh has") for event in told)
    with pytest.raises(LabError, match="cannot be done here"):
        record.record(["98"], told.append)
    made_of("releases")
    record.record(["98"], told.append)
    assert ran[1:] == ["98-particular"]


def test_of_what_waits_for_its_recording_none_is_out_of_date(notebooks):
    assert [each.notebook for each in record.stale([])] == ["10-staged-rollouts"]
    assert [each.notebook for each in record.stale(["98"])] == ["98-particular"]
