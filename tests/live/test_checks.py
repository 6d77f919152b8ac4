"""Every check fails on the state before its step.

That each passes after it, and that each exercise's check refuses both nothing and a wrong answer until the solution's
own code has run, the notebooks show, twice in a row: the cells that say so are compared.
"""

from __future__ import annotations

import pytest

from labkit import backend
from labkit.course import labs, verbs
from labkit.mesh import istio
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


def test_goto_brings_istiod_back():
    verbs.goto("07", silent)
    backend.run(["kubectl", "scale", "deployment/istiod", f"--namespace={istio.NAMESPACE}", "--replicas=0"])

    assert "Istio" in verbs.goto("07", silent).standing
    assert istio.is_installed()
