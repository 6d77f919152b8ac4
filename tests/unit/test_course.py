"""Checks, exercises and what they say."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from fake import Fake

from labkit import backend
from labkit.course import components, labs, verbs
from labkit.course.checks import Check, Report, Seen
from labkit.course.lab import Exercise
from labkit.course.labs.lab_03_install_profiles import profile_is_demo
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.settings import MANIFESTS


def claim(passed: bool) -> Check:
    return Check(claim="water is wet", observe=lambda: Seen(passed, "37 ml"))


def test_a_passing_report_reads_the_same_whatever_was_measured():
    report = Report("05", (claim(True).run(),))
    assert repr(report) == "✓ water is wet\n1/1 passed"
    assert "37 ml" in report._repr_html_()


def test_a_failing_claim_says_what_was_seen_and_where_help_is():
    report = Report("05", (claim(True).run(), claim(False).run()))
    assert not report.passed
    for told in (repr(report), html.unescape(report._repr_html_())):
        assert "37 ml" in told
        assert "1/2 passed" in told
        assert 'hint("05")' in told


def test_what_cannot_be_observed_fails_with_the_reason():
    def broken() -> Seen:
        raise LabError("No answer.", "the node is gone", "bring it up")

    result = Check(claim="it answers", observe=broken).run()
    assert not result.passed
    assert "the node is gone" in result.measured


class Passing(Fake):
    """Time passes while somebody sleeps, and while somebody looks."""

    seconds = 0.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


@pytest.mark.parametrize(("true_after", "passed", "looks"), [(0.0, True, 1), (1.2, True, 4), (9.0, False, 5)])
def test_a_claim_that_takes_a_moment_is_looked_at_until_it_holds_or_its_time_is_up(true_after, passed, looks):
    seen = []

    def observe() -> Seen:
        seen.append(backend.now())
        if len(seen) == 2:
            raise LabError("nobody answers", "", "")
        return Seen(backend.now() >= true_after, f"look {len(seen)}")

    with backend.use(Passing()):
        result = Check(claim="c", observe=observe, within=2.0).run()
    assert (result.passed, result.measured, len(seen)) == (passed, f"look {looks}", looks)


def test_a_clock_that_stands_still_ends_no_check_too_late():
    class Still(Passing):
        def sleep(self, seconds):
            """Nothing passes."""

    with backend.use(Still()):
        assert not Check(claim="c", observe=lambda: Seen(False, ""), within=3.0).run().passed


def test_what_pandas_compared_is_kept_as_anything_else():
    result = Check(claim="c", observe=lambda: Seen(pd.Series([1]).sum() == 0, "")).run()
    assert result.passed is False


def test_html_in_what_was_measured_stays_text():
    report = Report("05", (Check(claim="c", observe=lambda: Seen(False, "<script>")).run(),))
    assert "<script>" not in report._repr_html_()


def test_a_failing_claim_of_a_lab_is_helped_by_a_pointer_then_by_a_cell(monkeypatch):
    held: list[bool] = []
    check = Check(claim="c", observe=lambda: Seen(bool(held), ""), hint="look there", remedy=("%kubectl a", "b()"))
    first = Check(claim="first", observe=lambda: Seen(True, ""), hint="no", remedy=("no",))
    monkeypatch.setattr(labs, "lab", lambda number: SimpleNamespace(checks=(first, check)))
    verbs._hints_given.clear()
    verbs.check("05")
    assert "look there" in verbs.hint("05")
    for _ in range(2):  # the cell stays
        assert verbs.hint("05").endswith("\n\n%kubectl a\nb()")
    held.append(True)
    verbs.check("05")
    assert "kubectl" not in verbs.hint("05")


def test_what_was_never_checked_is_helped_from_the_start():
    verbs._failing.clear()
    verbs._hints_given.clear()
    assert labs.lab("05").checks[0].hint in verbs.hint("05")


@pytest.mark.parametrize("lab", labs.LABS, ids=lambda lab: lab.number)
def test_each_check_of_a_lab_has_a_hint_and_a_remedy(lab):
    """That a remedy makes its claim true is tested live (tests/live/test_checks.py)."""
    for check in lab.checks:
        assert check.hint
        assert check.remedy[0] == "%%shell" or not any(line.startswith(("kube", "istio")) for line in check.remedy)


def test_hints_come_one_at_a_time_and_end_with_the_way_to_the_solution():
    verbs._hints_given.clear()
    hints = labs.exercise("05.1").hints
    given = [verbs.hint("05.1") for _ in range(len(hints) + 1)]
    assert all(hint in text for hint, text in zip(hints, given, strict=False))
    assert "solution('05.1')" in given[-1]


@pytest.mark.parametrize("number", ["5", "98", "", "05.9", "05.0", "x.1"])
def test_unknown_labs_and_exercises_are_said_to_be_unknown(number):
    with pytest.raises(LabError):
        verbs.check(number) if "." not in number else labs.exercise(number)


class Breakable(Fake):
    """A cluster that the first command breaks, and the one with `mend` mends."""

    broken = False

    def run(self, argv, **options):
        self.broken = "mend" not in argv
        return backend.Completed(tuple(argv), 0, "", "", 0.0)


@pytest.fixture
def breakable(monkeypatch):
    cluster = Breakable()
    held = Check(claim="it works", observe=lambda: Seen(not cluster.broken, ""))
    exercise = Exercise(
        task="It fails.", hints=("h",), fault=("kubectl x",), solution=("kubectl mend",), checks=(held,)
    )
    monkeypatch.setattr(labs, "exercise", lambda number: exercise)
    return cluster, exercise


def test_a_fault_is_planted_and_noticed_and_the_solution_mends_it(breakable):
    cluster, exercise = breakable
    with backend.use(cluster):
        assert verbs.check("05.2").passed
        assert verbs.break_it("05.2", lambda event: None) == exercise.task
        assert not verbs.check("05.2").passed
        verbs.solve("05.2", lambda event: None)
        assert verbs.check("05.2").passed


def test_a_restart_within_the_second_of_another_is_tried_again(breakable):
    class Refusing(Fake):
        tried, slept = 0, 0.0

        def run(self, argv, **options):
            self.tried += 1
            stderr = f"error: if {verbs.RESTARTED}, please wait" if self.tried == 1 else ""
            return backend.Completed(tuple(argv), int(self.tried == 1), "", stderr, 0.0)

        def sleep(self, seconds):
            self.slept += seconds

    with backend.use(Refusing()) as cluster:
        verbs.solve("05.2", lambda event: None)
    assert (cluster.tried, cluster.slept) == (2, 1.0)


def test_a_solution_that_fails_otherwise_fails_at_once(breakable):
    class Failing(Fake):
        def run(self, argv, **options):
            return backend.Completed(tuple(argv), 1, "", "no", 0.0)

    with backend.use(Failing()), pytest.raises(backend.CommandFailed):
        verbs.solve("05.2", lambda event: None)


def test_a_fault_that_nobody_notices_is_an_error(breakable, monkeypatch):
    cluster, exercise = breakable
    monkeypatch.setattr(verbs, "NOTICED", 0.01)
    dull = replace(exercise, checks=(claim(True),))
    monkeypatch.setattr(labs, "exercise", lambda number: dull)
    with backend.use(cluster), pytest.raises(LabError, match="symptom"):
        verbs.break_it("05.2", lambda event: None)


def test_a_look_that_fails_by_chance_is_not_the_fault(breakable, monkeypatch):
    cluster, exercise = breakable
    looks = iter([False, True, True, False, False])
    seen = replace(exercise, checks=(Check(claim="it works", observe=lambda: Seen(next(looks), "")),))
    monkeypatch.setattr(labs, "exercise", lambda number: seen)
    monkeypatch.setattr(cluster, "sleep", lambda seconds: None, raising=False)
    with backend.use(cluster):
        verbs.break_it("05.2", lambda event: None)
    assert list(looks) == []


def test_a_task_of_another_kind_has_nothing_to_break():
    with pytest.raises(LabError, match="nothing to break"):
        verbs.break_it("05.1", lambda event: None)


@pytest.mark.parametrize("lab", labs.LABS[3:], ids=lambda lab: lab.number)
def test_each_lab_from_03_on_has_three_exercises_one_of_them_a_fault_to_find(lab):
    faults = [bool(exercise.fault) for exercise in lab.exercises]
    assert len(faults) >= 3
    assert any(faults)
    assert all(exercise.hints and exercise.solution and exercise.checks for exercise in lab.exercises)


def test_labs_come_in_order_and_build_upon_each_other():
    numbers = [lab.number for lab in labs.LABS]
    assert numbers == sorted(set(numbers))
    assert labs.LABS[-1].title == "Clean up"
    for before, after in zip(labs.LABS, labs.LABS[1:], strict=False):
        assert {*before.start} & {*components.UP} <= {*after.start}  # addons come and go


def test_every_manifest_of_a_solution_or_a_remedy_exists():
    exercises = [exercise for lab in labs.LABS for exercise in lab.exercises]
    solutions = [command for exercise in exercises for command in (*exercise.solution, *exercise.fault)]
    remedies = [line for lab in labs.LABS for check in lab.checks for line in check.remedy]
    named = re.findall(r"(?:\$LABKIT_MANIFESTS|\.\./manifests)/([\w.-]+)", " ".join([*solutions, *remedies]))
    assert named
    assert [name for name in named if not (MANIFESTS / name).exists()] == []


@pytest.mark.parametrize("folder", ["with spaces", "it's", 'the "best"', "école", "$HOME", "a;b", "glob*"])
def test_a_solution_is_taken_wherever_the_course_lies(monkeypatch, tmp_path, folder):
    class Told(Fake):
        def run(self, argv, **options):
            told.append(argv)
            return backend.Completed(tuple(argv), 0, "", "", 0.0)

    told: list[list[str]] = []
    manifests = tmp_path / folder / "manifests"
    shutil.copytree(MANIFESTS, manifests)
    monkeypatch.setattr(verbs, "MANIFESTS", manifests)
    with backend.use(Told()):
        verbs.solve("06.1", lambda event: None)
    [command] = told
    assert command[-1].startswith(str(manifests))
    assert Path(command[-1]).exists()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_wait_ends_with_what_it_waited_for():
    with backend.use(Passing()) as clock:
        seen = backend.wait("three seconds", clock.now, lambda now: now >= 3, timeout=10, every=1.0)
    assert seen == 3


def test_a_wait_that_fails_tells_each_state_once_and_the_last_one_in_its_error():
    told: list[str] = []
    with backend.use(Passing()), pytest.raises(LabError) as failure:
        backend.wait("readiness", lambda: "ImagePullBackOff", lambda _: False, timeout=2, report=told.append)
    assert told == ["ImagePullBackOff"]
    assert "ImagePullBackOff" in failure.value.why


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("Gateway", "gateways"), ("ServiceEntry", "serviceentries"), ("AuthorizationPolicy", "authorizationpolicies")],
)
def test_a_solution_looks_for_what_is_there_under_the_apis_own_word(kind, resource):
    group = "security.istio.io" if kind == "AuthorizationPolicy" else "networking.istio.io"
    assert objects.kind_of({"apiVersion": f"{group}/v1", "kind": kind}).plural == resource


def test_a_kind_that_the_course_does_not_speak_of_is_named():
    with pytest.raises(LabError, match="Mystery"):
        objects.kind_of({"apiVersion": "example.com/v1", "kind": "Mystery"})


class Cluster(Fake):
    """A cluster with one VirtualService, whose fields come in the API server's order."""

    def kubernetes(self, *request, **options) -> str:
        route = [{"route": [{"destination": {"host": "reviews", "subset": "v3"}}], "timeout": "1s"}]
        return json.dumps({"spec": {"hosts": ["reviews"], "http": route}})


def test_a_solution_shows_what_it_changes_and_not_what_merely_stands_elsewhere():
    with backend.use(Cluster()):
        diff = verbs.solution("07.1").splitlines()

    assert [line for line in diff[3:] if line.startswith(("-", "+"))] == ["-  timeout: 1s", "+  timeout: 0.5s"]


class Mesh(Fake):
    """A cluster whose only object is the ConfigMap with the mesh's settings."""

    def __init__(self, settings: str) -> None:
        self.settings = settings

    def kubernetes(self, *request, **options) -> str:
        return json.dumps({"data": {"mesh": self.settings}})


def test_a_profile_without_demos_access_log_is_another_one():
    with backend.use(Mesh("accessLogFile: /dev/stdout")):
        assert profile_is_demo().passed
    with backend.use(Mesh("enablePrometheusMerge: true")):
        assert not profile_is_demo().passed
