"""What the checks of lab 00 look at, and the lab."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import objects, proxy
from labkit.settings import settings

if TYPE_CHECKING:
    import pandas as pd


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


def how_many_calls(lines: pd.DataFrame) -> str:
    return {1: "1", 2: "2"}.get(int((lines.direction == "outbound").sum()), "3 or 4")


def how_soon(clock: proxy.Propagation) -> str:
    """Far enough apart that a busy machine's answer is a quiet one's."""
    return nearest(clock.times.milliseconds.max(), {"within seconds": 2000, "after half a minute": 30_000})


def what_readers_get(pages: pd.DataFrame) -> str:
    if not (pages.status == 200).all():
        return "now and then an error page"
    return "pages, some of them without reviews" if (pages.version == "").any() else "the page as ever"


PREDICTIONS = (
    Prediction(
        question="A browser asks for one page. How many requests do the proxies send for it, the gateway's included?",
        choices=("1", "2", "3 or 4"),
        measured=how_many_calls,
        why=(
            "The gateway calls productpage, which calls details and reviews; versions 2 and 3 of reviews call ratings, "
            "too."
        ),
    ),
    Prediction(
        question="A rule is about to send all reviews to version 3. How soon do the pages follow?",
        choices=("within seconds", "after half a minute", "when the pods have restarted"),
        measured=how_soon,
        why="istiod turns the rule into configuration for Envoy and sends it to the proxies; no pod restarts.",
    ),
    Prediction(
        question=(
            "The mesh is about to answer half of all calls to reviews with an error. What do readers of the page get?"
        ),
        choices=("the page as ever", "now and then an error page", "pages, some of them without reviews"),
        measured=what_readers_get,
        why="productpage is written to do without reviews; only somebody who counts calls sees the errors.",
    ),
)


LAB = Lab(
    number="00",
    title="Start here",
    path="two hours",
    pages=("setup/getting-started/",),
    start=(components.CLUSTER,),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the API server is ready",
            observe=api_server_is_ready,
            hint="`%kubectl get nodes` says whether the API server answers.",
            remedy=("up(until='cluster')",),
        ),
        Check(
            claim="the cluster has one node, and it is ready",
            observe=node_is_ready,
            hint="`%kubectl get nodes` lists the nodes with their state.",
            remedy=("up(until='cluster')",),
        ),
        Check(
            claim="commands reach the course's own cluster and no other",
            observe=kubeconfig_is_the_courses,
            hint="`%kubectl config current-context` names the cluster that your commands reach.",
            remedy=("up(until='cluster')",),
        ),
    ),
    exercises=(
        Exercise(
            task="Make a namespace called `hello`.",
            hints=("A namespace is made with `kubectl create`.", "`%kubectl create --help` lists what can be created."),
            solution=("kubectl create namespace hello",),
            checks=(
                Check(
                    claim="the namespace hello is there",
                    observe=partial(namespace_exists, "hello"),
                ),
            ),
        ),
    ),
)
