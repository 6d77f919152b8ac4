"""A reader's own questions of a recorded mesh, each as of the moment where the reader is."""

from __future__ import annotations

import json

import pytest
from playback import WHEN, Cells

from labkit import backend, session
from labkit.api import views
from labkit.api.recorded import Asked
from labkit.backend.requests import Kubernetes
from labkit.errors import LabError
from labkit.recordings import files, state
from labkit.recordings.looking import Looking
from labkit.recordings.replay import NotRecorded, Replay

RESOURCES = {"groupVersion": "v1", "resources": [{"name": "namespaces", "kind": "Namespace", "verbs": ["get", "list"]}]}

GROUPS = ("document", "/apis", json.dumps({"groups": []}))
COLUMNS = ("columns", "/api/v1/namespaces", '[{"name": "Name"}]')


def namespace(name: str) -> tuple[str, str, str]:
    object_ = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    return "/api/v1/namespaces", name, json.dumps({"object": object_, "cells": [name]})


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """goto, then a namespace that is made; a kubectl that tells where it is led; the states after both."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(files, "RECORDINGS", tmp_path)
    program = tmp_path / "home" / "bin" / "kubectl"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$*: $(basename "$KUBECONFIG"), cache $(basename "$KUBECACHEDIR")"\n')
    program.chmod(0o755)
    cells = Cells(tmp_path)
    cells.cell("goto('42')", lambda: (session.enter("42"), backend.run(["sh", "-c", "echo start"])))
    cells.cell("%create", lambda: backend.run(["kubectl", "create", "namespace", "made"]))
    path = cells.write()
    moments = [
        (0, 0.0, [("document", "/api/v1", json.dumps(RESOURCES)), GROUPS, COLUMNS, namespace("default")]),
        (1, 1.0, [namespace("made")]),
    ]
    state.write(state.of(path), files.Head("42-a-lab", WHEN, "", ()), moments)
    return Replay()


def said(mesh: Replay, source: str, act):
    with backend.use(mesh):
        session.begin_cell(source, None)
        try:
            return act()
        finally:
            session.end_cell()


def goto(mesh: Replay) -> None:
    said(mesh, "goto('42')", lambda: (session.enter("42"), backend.run(["sh", "-c", "echo start"])))


def names(mesh: Replay) -> list[str]:
    listed = json.loads(said(mesh, "# my own", lambda: backend.kubernetes("GET", "/api/v1/namespaces")))
    return [each["metadata"]["name"] for each in listed["items"]]


def test_the_course_sees_what_stands_at_the_moment_where_the_reader_is(lab):
    goto(lab)
    assert names(lab) == ["default"]
    said(lab, "%create", lambda: backend.run(["kubectl", "create", "namespace", "made"]))
    assert names(lab) == ["default", "made"]
    goto(lab)
    assert names(lab) == ["default"]


def test_a_pipeline_of_looks_and_filters_is_run(lab):
    goto(lab)
    done = said(lab, "# my own", lambda: backend.run(["bash", "-c", "kubectl get ns |\n  cut -d: -f1 | tr a-z A-Z"]))
    assert done.stdout == "GET NS\n"


@pytest.mark.parametrize("line", ["kubectl create ns made", "kubectl create --namespace default namespace made"])
def test_a_recorded_change_may_be_written_otherwise(lab, line):
    goto(lab)
    assert said(lab, "# my own", lambda: backend.run(line.split())).stdout.startswith("create namespace made")
    assert names(lab) == ["default", "made"]


def test_another_change_is_refused_with_what_comes_nearest(lab):
    goto(lab)
    with pytest.raises(NotRecorded, match="create namespace other") as caught:
        said(lab, "# my own", lambda: backend.run(["kubectl", "create", "namespace", "other"]))
    assert "kubectl create namespace made" in caught.value.why
    assert names(lab) == ["default"]


def test_a_change_that_would_have_been_wrong_anywhere_is_refused_by_what_was_wrong(lab, tmp_path):
    program = tmp_path / "home" / "bin" / "kubectl"
    program.write_text('#!/bin/sh\ncase "$*" in *--dry-run=server) echo "no: $*" >&2; exit 1;; esac\n')
    goto(lab)
    done = said(lab, "# my own", lambda: backend.run(["kubectl", "delete", "ns", "nosuch"], check=False))
    assert (done.returncode, done.argv) == (1, ("kubectl", "delete", "ns", "nosuch"))
    assert done.stderr == "no: delete ns nosuch --dry-run=server\n"


def test_what_only_a_recorded_mesh_would_refuse_is_no_refusal_of_a_live_one(lab, tmp_path):
    program = tmp_path / "home" / "bin" / "kubectl"
    program.write_text('#!/bin/sh\necho "error: the mesh is a recorded one, and takes no such patch" >&2; exit 1\n')
    goto(lab)
    with pytest.raises(NotRecorded):
        said(lab, "# my own", lambda: backend.run(["kubectl", "apply", "--server-side", "-f", "a.yaml"]))


def test_what_is_not_there_is_an_error_as_of_a_live_mesh(lab):
    goto(lab)
    with pytest.raises(backend.KubernetesError) as caught:
        said(lab, "# my own", lambda: backend.kubernetes("GET", "/api/v1/namespaces/nosuch"))
    assert caught.value.status == 404


def test_a_group_that_was_not_installed_is_an_error_as_of_a_live_mesh(lab):
    goto(lab)
    path = "/apis/gateway.nosuch.io/v1/namespaces/default/grpcroutes"
    with pytest.raises(backend.KubernetesError) as caught:
        said(lab, "# my own", lambda: backend.kubernetes("GET", path))
    assert caught.value.status == 404


def test_a_command_that_looks_is_led_to_the_recorded_api(lab):
    goto(lab)
    done = said(lab, "# my own", lambda: backend.run(["kubectl", "get", "ns", "-o", "wide"]))
    assert done.stdout == "get ns -o wide: config, cache cache\n"


@pytest.mark.parametrize(
    "argv",
    [["kubectl", "delete", "ns", "default"], ["kubectl", "exec", "x", "--", "true"], ["kubectl", "proxy"],
     ["kubectl", "--kubeconfig", "x", "get", "ns"], ["kubectl", "get", "ns", "--server=https://127.0.0.1:1"],
     ["kubectl", "--cluster", "x", "delete", "ns", "a"], ["kubectl", "port-forward", "x", "1"],
     ["kubectl", "cp", "a", "b"],
     ["bash", "-c", "kubectl get ns | xargs kubectl delete"],
     ["bash", "-c", "KUBECONFIG=x kubectl get ns"], ["bash", "-c", "env KUBECONFIG=x kubectl get ns"],
     ["bash", "-c", "kubectl get ns; curl 127.0.0.1"], ["curl", "http://127.0.0.1"], ["bash", "-c", "true"]],
)  # fmt: skip
def test_nothing_else_is_run(lab, argv):
    goto(lab)
    with pytest.raises(NotRecorded):
        said(lab, "# my own", lambda: backend.run(argv))


def test_without_kubectl_its_usual_questions_are_answered_and_others_name_it(lab, tmp_path, monkeypatch):
    (tmp_path / "home" / "bin" / "kubectl").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    said(lab, "goto('42')", lambda: session.enter("42"))
    done = said(lab, "# my own", lambda: backend.run(["kubectl", "get", "namespaces", "-o", "name"]))
    assert done.stdout == "namespace/default\n"
    with pytest.raises(NotRecorded, match="kubectl") as caught:
        said(lab, "# my own", lambda: backend.run(["kubectl", "describe", "ns", "default"]))
    assert "with kubectl here (`labkit tools` brings it)" in caught.value.why


def test_a_proxys_counters_are_told_whoever_asks_for_them():
    looking, question = Looking(), views.stats("default/a")
    held = {views.counted("default/a"): "istio_requests_total{} 3\n", ("document", "/api/v1"): json.dumps(RESOURCES)}
    looking.see(held, 0.0)
    assert looking.answer(question) == "istio_requests_total{} 3\n"
    assert looking._served_answer(Asked("GET", question.path, question.query)).text == "istio_requests_total{} 3\n"
    assert looking.answer(views.stats("default/b")) is None
    assert looking.answer(Kubernetes("GET", question.path, query={"filter": "other"})) is None


def test_without_a_state_it_is_as_before(lab, tmp_path):
    state.of(tmp_path / "42-a-lab.jsonl").unlink()
    goto(lab)
    with pytest.raises(NotRecorded):
        names(lab)


def test_a_damaged_state_is_said_to_be_one(lab, tmp_path):
    state.of(tmp_path / "42-a-lab.jsonl").write_bytes(b"?")
    goto(lab)
    with pytest.raises(LabError, match=r"state\.xz"):
        names(lab)
