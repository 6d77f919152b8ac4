"""Checks, exercises and what they say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from fake import Fake

from labkit import backend
from labkit.course import labs, verbs
from labkit.course.checks import Check, Report, Seen
from labkit.course.labs.lab_03_install_profiles import profile_is_demo
from labkit.errors import LabError
from labkit.settings import MANIFESTS


def claim(passed: bool) -> Check:
    return Check("water is wet", lambda: Seen(passed, "37 ml"), "add water")


def test_a_passing_report_reads_the_same_whatever_was_measured():
    report = Report((claim(True).run(),))
    assert repr(report) == "✓ water is wet\n1/1 passed"
    assert "37 ml" in report._repr_html_()


def test_a_failing_claim_says_what_was_seen_and_what_to_do():
    report = Report((claim(True).run(), claim(False).run()))
    assert not report.passed
    assert "37 ml" in repr(report)
    assert "add water" in repr(report)
    assert repr(report).endswith("1/2 passed")


def test_what_cannot_be_observed_fails_with_the_reason():
    def broken() -> Seen:
        raise LabError("No answer.", "the node is gone", "bring it up")

    result = Check("it answers", broken, "bring it up").run()
    assert not result.passed
    assert "the node is gone" in result.measured


def test_html_in_what_was_measured_stays_text():
    report = Report((Check("c", lambda: Seen(False, "<script>"), "f").run(),))
    assert "<script>" not in report._repr_html_()


def test_a_command_in_a_fix_is_shown_as_code_and_nothing_in_it_is_markup():
    report = Report((Check("c", lambda: Seen(False, ""), "run `kubectl apply -f <file>` again").run(),))
    assert "<code>kubectl apply -f &lt;file&gt;</code>" in report._repr_html_()


def test_hints_come_one_at_a_time_and_end_with_the_way_to_the_solution():
    verbs._hints_given.clear()
    hints = labs.exercise("05.1").hints
    given = [verbs.hint("05.1") for _ in range(len(hints) + 1)]
    assert all(hint in text for hint, text in zip(hints, given, strict=False))
    assert "solution('05.1')" in given[-1]


@pytest.mark.parametrize("number", ["5", "99", "", "05.2", "x.1"])
def test_unknown_labs_and_exercises_are_said_to_be_unknown(number):
    with pytest.raises(LabError):
        verbs.check(number) if "." not in number else labs.exercise(number)


def test_labs_come_in_order_and_build_upon_each_other():
    assert [lab.number for lab in labs.LABS] == [f"{n:02d}" for n in range(len(labs.LABS))]
    for before, after in zip(labs.LABS, labs.LABS[1:], strict=False):
        assert set(before.start) <= set(after.start)


def test_every_manifest_of_a_solution_exists():
    named = re.findall(r"\$LABKIT_MANIFESTS/(\S+)", " ".join(c for lab in labs.LABS for c in lab.exercise.solution))
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
    with backend.use(Clock()) as clock:
        seen = backend.wait("three seconds", clock.now, lambda now: now >= 3, timeout=10, every=1.0)
    assert seen == 3


def test_a_wait_that_fails_tells_each_state_once_and_the_last_one_in_its_error():
    told: list[str] = []
    with backend.use(Clock()), pytest.raises(LabError) as failure:
        backend.wait("readiness", lambda: "ImagePullBackOff", lambda _: False, timeout=2, report=told.append)
    assert told == ["ImagePullBackOff"]
    assert "ImagePullBackOff" in failure.value.why


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("Gateway", "gateways"), ("ServiceEntry", "serviceentries"), ("AuthorizationPolicy", "authorizationpolicies")],
)
def test_a_solution_looks_for_what_is_there_under_the_apis_own_word(kind, resource):
    assert verbs._plural(kind) == resource


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
