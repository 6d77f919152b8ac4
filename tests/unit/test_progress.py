"""How far a reader has come: kept, shown, exported; whatever stands in the file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import notebook, session, state
from labkit.course import labs, notes, predictions, progress, verbs
from labkit.course.checks import Check, Report, Result, Seen
from labkit.errors import LabError
from labkit.settings import settings


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.delenv("LABKIT_HEADLESS", raising=False)
    return tmp_path


def report(number: str, *passed: bool) -> Report:
    return Report(number, tuple(Result(f"claim {n}", each, "seen") for n, each in enumerate(passed)))


def of(number: str) -> progress.LabProgress:
    [found] = [lab for lab in progress.so_far().labs if lab.number == number]
    return found


def solved(number: str) -> Report:
    return report(number, *[True] * len(labs.exercise(number).checks))


def test_nothing_yet_is_shown_as_nothing():
    assert [(lab.check, lab.solved, lab.measured) for lab in progress.so_far().labs] == [(None, (), 0)] * len(labs.LABS)
    assert "█" not in repr(progress.so_far())
    assert not settings().progress_record.exists()


def test_the_best_that_a_check_came_to_is_kept():
    for passed in ((True, False, False), (True, True, False), (False, False, False)):
        progress.keep(report("05", *passed))
    assert (of("05").check.passed, of("05").check.of, of("05").check.done) == (2, 3, False)


def test_what_was_shown_on_a_live_mesh_stays_so():
    recorded = session.Session(is_live=False)
    with session.use(recorded):
        progress.keep(report("05", True))
    assert not of("05").check.live
    progress.keep(report("05", True))
    assert of("05").check.live
    with session.use(recorded):
        progress.keep(report("05", True))
    assert of("05").check.live


def test_an_exercise_counts_when_it_is_solved():
    progress.keep(report("05.1", False))
    assert of("05").solved == ()
    progress.keep(solved("05.1"))
    assert [each.number for each in of("05").solved] == ["05.1"]


def test_a_headless_run_is_nobodys_progress(monkeypatch):
    monkeypatch.setenv("LABKIT_HEADLESS", "1")
    progress.keep(report("05", True))
    assert not settings().progress_record.exists()


def test_a_notebooks_check_is_kept_and_without_a_number_all_is_shown(monkeypatch):
    check = Check(claim="it holds", observe=lambda: Seen(True, "it"))
    monkeypatch.setattr(verbs, "check", lambda number: Report(number, (check.run(),)))
    assert notebook.check("07").passed
    assert "█" * 10 + " 1/1" in repr(notebook.check())


def test_a_check_is_told_where_progress_cannot_be_kept(monkeypatch, capsys):
    monkeypatch.setattr(verbs, "check", lambda number: report(number, True))
    state.write(settings().progress_record, {"version": notes.VERSION + 1})
    assert notebook.check("05").passed
    assert "update the course" in capsys.readouterr().out


# -- the file -----------------------------------------------------------------------------------
@pytest.mark.parametrize("version", [2, "1", None, 1.5, []])
def test_a_file_from_the_future_is_refused_and_left_as_it_is(version):
    state.write(settings().progress_record, {"version": version, "checks": {"05": "?"}})
    before = settings().progress_record.read_bytes()
    with pytest.raises(LabError):
        progress.keep(report("05", True))
    with pytest.raises(LabError):
        progress.so_far()
    assert settings().progress_record.read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_put_aside_and_said(home, damage):
    settings().progress_record.write_bytes(damage)
    progress.keep(report("05", True))
    [aside] = progress.so_far().aside
    assert aside.read_bytes() == damage
    assert str(aside) in repr(progress.so_far())
    assert of("05").check.done
    settings().progress_record.write_bytes(damage)
    progress.keep(report("05", True))
    assert len(progress.so_far().aside) == 2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["passed", "of", "live", "at"]), inner),
    max_leaves=8,
)


@given(kept=ANYTHING)
def test_whatever_stands_in_it_is_shown_or_left_out(kept):
    state.write(settings().progress_record, {"version": 1, "checks": {"05": kept, "99.9": kept}, "predictions": kept})
    course = progress.so_far()
    assert len(course.labs) == len(labs.LABS)
    for told in (repr(course), course._repr_html_(), progress.as_json(course), progress.certificate(course)):
        assert told


def test_what_no_lab_has_any_more_stays():
    state.write(settings().progress_record, {"version": 1, "checks": {"77": {"passed": 1}}, "other": 1})
    progress.keep(report("05", True))
    kept = state.read(settings().progress_record, {})
    assert kept["checks"]["77"] == {"passed": 1}
    assert kept["other"] == 1


def test_what_was_kept_under_an_earlier_number_counts_for_the_present_one():
    done, half = ({"passed": n, "of": 4, "live": True, "at": 1.0} for n in (4, 2))
    kept = {"checks": {"15": half, "99": done}, "predictions": {"15.1": {"predicted": "about 80", "right": True}}}
    state.write(settings().progress_record, {"version": 1, **kept})
    assert (of("99").check.passed, of("99").right) == (4, 1)
    state.write(settings().progress_record, {"version": 1, "checks": {"15": half, "15.1": done}})
    assert (of("99").check.passed, len(of("99").solved)) == (2, 1)


def test_a_lab_and_what_belongs_to_it_are_found_by_an_earlier_number():
    assert labs.lab("15") is labs.lab("99")
    assert labs.exercise("15.1") is labs.exercise("99.1")


# -- to take away ---------------------------------------------------------------------------------
def test_the_export_is_data_or_a_page_by_its_ending(tmp_path):
    progress.keep(report("05", True, True))
    predictions.ask("05.1", labs.prediction("05.1"), labs.prediction("05.1").choices[0])
    course = progress.so_far()
    progress.export(tmp_path / "mine.json", course)
    told = {lab["number"]: lab for lab in json.loads((tmp_path / "mine.json").read_text())["labs"]}
    assert (told["05"]["check"]["passed"], told["06"]["check"]) == (2, None)
    progress.export(tmp_path / "mine.html", course)
    assert "<table>" in (tmp_path / "mine.html").read_text()
    with pytest.raises(LabError, match=r"mine\.pdf"):
        progress.export(tmp_path / "mine.pdf", course)


def test_the_page_names_what_was_shown_on_a_live_mesh_and_nothing_else():
    with session.use(session.Session(is_live=False)):
        progress.keep(solved("06.1"))
    progress.keep(report("07", True, False))
    progress.keep(solved("05.1"))
    page = progress.certificate(progress.so_far())
    assert labs.exercise("05.1").checks[0].claim in page
    assert labs.exercise("06.1").checks[0].claim not in page
    assert labs.lab("07").checks[0].claim not in page
    assert "Nothing was checked" not in page
    assert "src=" not in page
    assert "href=" not in page
