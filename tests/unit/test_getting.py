"""`kubectl get` without kubectl, from a state: its forms, and what it says where nothing is found."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labkit.api import getting
from labkit.api.recorded import COLUMNS, DOCUMENT
from labkit.commands import read

AT = 1_800_000_000.0
RESOURCES = {
    "/api/v1": [
        {"name": "pods", "kind": "Pod", "shortNames": ["po"], "categories": ["all"], "namespaced": True},
        {"name": "services", "kind": "Service", "shortNames": ["svc"], "categories": ["all"], "namespaced": True},
        {"name": "nodes", "kind": "Node", "namespaced": False},
        {"name": "pods/log", "kind": "Pod", "namespaced": True},
    ],
    "/apis/apps/v1": [{"name": "deployments", "kind": "Deployment", "shortNames": ["deploy"], "namespaced": True}],
}
COLUMN = {"name": "Name", "type": "string"}
POD_COLUMNS = [COLUMN, {"name": "Ready"}, {"name": "IP", "priority": 1}]


def held(kind: str, name: str, *cells: object, namespace: str = "default", **labels: str) -> str:
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return json.dumps({"object": {"apiVersion": "v1", "kind": kind, "metadata": metadata}, "cells": [name, *cells]})


STATE = {
    **{(DOCUMENT, root): json.dumps({
        "groupVersion": root.split("/", 2)[2],
        "resources": [{"verbs": ["get", "list"], **each} for each in resources],
    }) for root, resources in RESOURCES.items()},
    (COLUMNS, "/api/v1/pods"): json.dumps(POD_COLUMNS), (COLUMNS, "/api/v1/services"): json.dumps([COLUMN]),
    (COLUMNS, "/api/v1/nodes"): json.dumps([COLUMN]), (COLUMNS, "/apis/apps/v1/deployments"): json.dumps([COLUMN]),
    ("/api/v1/pods", "default/reviews-1"): held("Pod", "reviews-1", True, "10.0.0.1", app="reviews", version="1"),
    ("/api/v1/pods", "other/curl"): held("Pod", "curl", None, "10.0.0.2", namespace="other"),
    ("/api/v1/services", "default/reviews"): held("Service", "reviews"),
    ("/api/v1/nodes", "node"): held("Node", "node", namespace=""),
}  # fmt: skip


def get(line: str) -> getting.Said | None:
    return getting.get(STATE, AT, read(shlex.split(f"kubectl get {line}")))


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("pods", "NAME        READY\nreviews-1   true\n"),
        ("po -o wide", "NAME        READY   IP\nreviews-1   true    10.0.0.1\n"),
        ("pods -A", "NAMESPACE   NAME        READY\ndefault     reviews-1   true\nother       curl        <none>\n"),
        ("pod -n other --no-headers", "curl   <none>\n"),
        ("pods --show-labels", "NAME        READY   LABELS\nreviews-1   true    app=reviews,version=1\n"),
        ("pods -l app=reviews -o name", "pod/reviews-1\n"),
        ("nodes", "NAME\nnode\n"),
        ("pods,svc", "NAME            READY\npod/reviews-1   true\n\nNAME\nservice/reviews\n"),
        ("all", "NAME            READY\npod/reviews-1   true\n\nNAME\nservice/reviews\n"),
        ("svc/reviews", "NAME\nreviews\n"),
    ],
)
def test_what_is_there_is_printed_as_kubectl_prints_it(line, printed):
    assert get(line) == getting.Said(0, printed)


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("deploy", 0, "No resources found in default namespace.\n"),
        ("pods -n nowhere", 0, "No resources found in nowhere namespace.\n"),
        ("deploy -A", 0, "No resources found\n"),
        ("pod nosuch", 1, 'Error from server (NotFound): pods "nosuch" not found\n'),
        ("deploy/nosuch", 1, 'Error from server (NotFound): deployments.apps "nosuch" not found\n'),
        ("nosuchkind", 1, 'error: the server doesn\'t have a resource type "nosuchkind"\n'),
    ],
)
def test_what_is_not_there_is_told_as_kubectl_tells_it(line, status, said):
    assert get(line) == getting.Said(status, stderr=said)


def test_objects_come_whole_one_alone_or_several_in_a_list():
    assert json.loads(get("pod reviews-1 -o json").stdout)["kind"] == "Pod"
    assert [each["kind"] for each in yaml.safe_load(get("pods -A -o yaml").stdout)["items"]] == ["Pod", "Pod"]
    assert 'version: "1"' in get("pod reviews-1 -o yaml").stdout


@pytest.mark.parametrize(
    "line", ["pods -w", "pods -o jsonpath={.x}", "", "pods --sort-by=.metadata.name", "--raw /version"]
)
def test_what_it_cannot_do_it_leaves(line):
    assert get(line) is None


@given(text=st.text(max_size=30))
def test_any_text_is_yaml_that_reads_the_same(text):
    assert yaml.safe_load(yaml.dump({"a": text}, Dumper=getting._Dumper, width=1 << 20)) == {"a": text}
