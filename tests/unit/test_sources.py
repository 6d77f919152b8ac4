"""Which source is chosen: the named one, the published one, the built one, or none with both reasons."""

from __future__ import annotations

import threading

import pytest

from labkit.cluster import doctor, sources
from labkit.cluster.packages import Packages
from labkit.cluster.releases import Releases
from labkit.errors import LabError
from labkit.progress import Progress


@pytest.fixture
def reasons(monkeypatch):
    """Why each source cannot be had; None where it can."""
    reasons = {"releases": None, "packages": None}
    monkeypatch.setattr(Releases, "reachable", lambda self: reasons["releases"])
    monkeypatch.setattr(Packages, "reachable", lambda self: reasons["packages"])
    monkeypatch.setattr(Releases, "is_here", lambda self: False)
    monkeypatch.setattr(Packages, "is_here", lambda self: False)
    monkeypatch.delenv("LABKIT_SOURCE", raising=False)
    return reasons


def test_what_is_published_comes_first(reasons):
    assert sources.choose().name == "releases"


def test_what_can_be_built_comes_next(reasons):
    reasons["releases"] = "no network"
    assert sources.choose().name == "packages"


def test_one_that_is_here_already_is_not_looked_for(reasons, monkeypatch):
    monkeypatch.setattr(Packages, "is_here", lambda self: True)
    monkeypatch.setattr(Releases, "reachable", lambda self: pytest.fail("the network was asked"))
    assert sources.choose().name == "packages"


def test_neither_is_one_error_with_both_reasons(reasons):
    reasons.update(releases="no network", packages="no Go")
    with pytest.raises(LabError, match=r"releases: no network; packages: no Go"):
        sources.choose()


def test_one_that_hangs_is_passed_over(reasons, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(sources, "PATIENCE", 0.1)
    monkeypatch.setattr(Releases, "reachable", lambda self: never.wait())
    assert sources.choose().name == "packages"
    never.set()


def test_the_named_one_is_taken_without_being_asked(reasons, monkeypatch):
    reasons["releases"] = "no network"
    monkeypatch.setenv("LABKIT_SOURCE", "releases")
    assert sources.choose().name == "releases"


def test_an_unknown_name_lists_the_known_ones(reasons, monkeypatch):
    monkeypatch.setenv("LABKIT_SOURCE", "relases")
    with pytest.raises(LabError, match="bundle, releases, packages"):
        sources.choose()


def test_the_doctor_asks_the_named_one_all_the_same(reasons, monkeypatch):
    reasons["releases"] = "no network"
    monkeypatch.setenv("LABKIT_SOURCE", "releases")
    (finding,) = doctor._source()
    assert finding.status == "bad"
    assert "no network" in finding.value


class Handing(Releases):
    """A source that notes what it hands out."""

    def __init__(self, handed: list[str]) -> None:
        super().__init__()
        object.__setattr__(self, "handed", handed)

    def tool(self, program, progress):
        self.handed.append(program)


def test_the_commands_alone_are_fetched_and_only_once(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    handed: list[str] = []
    monkeypatch.setattr(sources, "choose", lambda: Handing(handed))
    monkeypatch.setattr(sources, "ensure_release", lambda source, progress: handed.append("release"))
    kubectl, istioctl = sources.ensure_commands(Progress(lambda event: None, lambda: 0.0))
    assert handed == ["kubectl", "release"]
    for path in (kubectl, istioctl, istioctl.parent.parent / ".archive"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sources.ensure_commands(Progress(lambda event: None, lambda: 0.0)) == (kubectl, istioctl)
    assert handed == ["kubectl", "release"]
