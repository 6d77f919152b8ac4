"""Any moment of any lab: which there are, what each was like, and that nothing in it can be changed."""

from __future__ import annotations

import json

import pytest

from labkit import backend, mesh, session
from labkit.backend.requests import Forward
from labkit.errors import LabError
from labkit.recordings import files
from labkit.recordings.exploring import Explored, moments
from labkit.recordings.replay import NotRecorded


@pytest.fixture(autouse=True)
def no_programs(monkeypatch, tmp_path):
    """Neither kubectl nor istioctl, and nothing that the course put somewhere."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))


def weights(explored: Explored) -> list[int]:
    with backend.use(explored):
        rule = backend.kubernetes("GET", "/apis/networking.istio.io/v1/namespaces/default/virtualservices/reviews")
    return [each["weight"] for each in json.loads(rule)["spec"]["http"][0]["route"]]


def test_each_moment_says_which_cell_made_it_and_what_that_did():
    [first, *others] = moments("10")
    assert first.after == 'goto("10")'
    [half] = [each for each in others if "50-v3" in each.after]
    assert half.after.startswith("%kubectl apply -f ")
    assert half.changed == ("virtualservices/reviews configured",)
    [beside] = [each for each in others if "canary-beside" in each.after]
    assert beside.changed == ("virtualservices/reviews-canary created",)


def test_each_moment_is_as_it_was():
    found = {each.after: each.cell for each in moments("10")}
    [tenth] = [cell for after, cell in found.items() if "90-10" in after]
    [half] = [cell for after, cell in found.items() if "50-v3" in after]
    assert weights(Explored("10", tenth)) == [90, 10]
    assert weights(Explored("10", half)) == [50, 50]


def test_helpers_and_commands_look_into_it():
    explored = Explored("10", moments("10")[-1].cell)
    with backend.use(explored), session.use(session.Session(is_live=False)):
        assert "reviews" in backend.run(["kubectl", "get", "vs"]).stdout
        assert backend.run(["istioctl", "proxy-status"]).stdout.startswith("NAME")
        assert not mesh.proxy.routes("deploy/productpage-v1").empty
        assert backend.unix_time() == explored.moment.at
        began = backend.now()
        backend.sleep(3600)
        assert backend.now() - began > 3600


@pytest.mark.parametrize(
    "argv",
    [["kubectl", "delete", "vs", "reviews"], ["kubectl", "describe", "vs"], ["docker", "ps"], ["istioctl", "install"]],
)
def test_what_changes_something_or_cannot_be_told_is_refused_with_the_moment(argv):
    with backend.use(Explored("10", moments("10")[0].cell)), pytest.raises(NotRecorded, match=" ".join(argv[:2])):
        backend.run(argv)


def test_a_pod_that_was_not_there_takes_no_connection():
    explored = Explored("10", moments("10")[0].cell)
    with pytest.raises(LabError), explored.connected(Forward("default", "nosuch", 15000)):
        pass


@pytest.mark.parametrize(("lab", "cell", "told"), [("98", 1, "00, 01"), ("10", 2, "1, 3"), ("1", 1, "00, 01")])
def test_what_there_is_is_said_where_something_else_is_named(lab, cell, told):
    with pytest.raises(LabError) as caught:
        Explored(lab, cell)
    assert told in caught.value.why


def test_every_lab_can_be_explored():
    for path in files.recordings():
        assert [each.cell for each in moments(path.name[:2])] == sorted({each.cell for each in moments(path.name[:2])})
