"""Every check fails on the state before its step, and passes once the step is taken by the solution's own code."""

from __future__ import annotations

import pytest

from labkit.course import labs, parts, verbs
from labkit.settings import settings

pytestmark = pytest.mark.live


def silent(event) -> None:
    """Progress that nobody watches."""


def test_lab_00_fails_where_there_is_no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(settings().cache))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))

    report = verbs.check("00")

    assert [result.claim for result in report.results if result.passed] == []


@pytest.mark.parametrize("lab", labs.LABS[1:], ids=lambda lab: lab.number)
def test_each_check_fails_at_its_labs_start(lab):
    verbs.goto(lab.number, silent)

    report = verbs.check(lab.number)

    assert [result.claim for result in report.results if result.passed] == []


@pytest.mark.parametrize("lab", labs.LABS, ids=lambda lab: f"{lab.number}.1")
def test_each_exercise_fails_until_it_is_solved_and_may_be_solved_twice(lab):
    exercise = f"{lab.number}.1"
    verbs.goto(lab.number, silent)
    TAKE_STEP.get(lab.number, lambda: None)()
    assert not verbs.check(exercise).passed

    verbs.solve(exercise, silent)
    verbs.solve(exercise, silent)

    assert verbs.check(exercise).passed, verbs.check(exercise)


def _bookinfo_without_a_mesh() -> None:
    from labkit.course.labs.lab_01_what_is_a_service_mesh import WITHOUT_MESH
    from labkit.mesh import bookinfo, objects

    if not objects.find("namespaces", WITHOUT_MESH):
        from labkit import venue

        venue.run(["kubectl", "create", "namespace", WITHOUT_MESH])
    bookinfo.deploy(WITHOUT_MESH)


def _take(*wanted) -> None:
    from labkit import venue
    from labkit.progress import Progress

    for part in wanted:
        part.make(Progress(silent, venue.now))


def _jason_waits_for_his_ratings() -> None:
    from labkit.mesh import bookinfo, proxy

    for name in ("destination-rule-all", "virtual-service-reviews-jason-v2-v3", "virtual-service-ratings-test-delay"):
        proxy.propagate(bookinfo.networking(name))


# What a lab's own cells do before its exercise.
TAKE_STEP = {
    "01": _bookinfo_without_a_mesh,
    "02": lambda: _take(parts.RELEASE),
    "03": lambda: _take(parts.ISTIO),
    "04": lambda: _take(parts.INJECTION),
    "05": lambda: _take(parts.BOOKINFO),
    "06": lambda: _take(parts.GATEWAY),
    "11": _jason_waits_for_his_ratings,
}
