"""What the checks of lab 00 look at, and the lab."""

from __future__ import annotations

from functools import partial

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import objects
from labkit.settings import settings


def api_server_is_ready() -> Seen:
    answer = backend.kubernetes("GET", "/readyz")
    return Seen(answer == "ok", f"/readyz answers {answer}")


def node_is_ready() -> Seen:
    nodes = objects.list_("nodes")
    ready = [node["metadata"]["name"] for node in nodes if objects.is_ready(node)]
    return Seen(len(ready) == 1 == len(nodes), f"ready nodes: {', '.join(ready) or 'none'}")


def kubeconfig_is_the_courses() -> Seen:
    contexts = backend.run(["kubectl", "config", "get-contexts", "--output", "name"]).stdout.split()
    return Seen(contexts == [f"kind-{settings().cluster}"], f"contexts: {', '.join(contexts) or 'none'}")


def namespace_exists(name: str) -> Seen:
    phase = (objects.find("namespaces", name) or {"status": {"phase": "absent"}})["status"]["phase"]
    return Seen(phase == "Active", f"namespace {name}: {phase}")


LAB = Lab(
    "00",
    "Start here",
    (parts.CLUSTER,),
    (
        Check("the API server is ready", api_server_is_ready, "run `up(until='cluster')`"),
        Check("the cluster has one node, and it is ready", node_is_ready, "run `up(until='cluster')`"),
        Check(
            "commands reach the course's own cluster and no other",
            kubeconfig_is_the_courses,
            "run `up(until='cluster')`: it writes the course's own kubeconfig anew",
        ),
    ),
    Exercise(
        "Make a namespace called `hello`.",
        ("A namespace is made with `kubectl create`.", "`%kubectl create --help` lists what can be created."),
        ("kubectl create namespace hello",),
        (
            Check(
                "the namespace hello is there",
                partial(namespace_exists, "hello"),
                "run `%kubectl create namespace hello`",
            ),
        ),
    ),
)
