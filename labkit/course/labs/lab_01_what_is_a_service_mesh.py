"""What the checks of lab 01 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import pods_that_answered
from labkit.course.predictions import Prediction
from labkit.mesh import objects, traffic
from labkit.mesh.workloads import PROXY, running_containers

if TYPE_CHECKING:
    import pandas as pd

WITHOUT_MESH = "without-mesh"


def no_sidecars() -> Seen:
    pods = objects.list_("pods", WITHOUT_MESH)
    with_proxy = [pod["metadata"]["name"] for pod in pods if PROXY in running_containers(pod)]
    return Seen(bool(pods) and not with_proxy, f"{len(pods)} pods, {len(with_proxy)} with a proxy")


def one_connection_reaches_one_pod() -> Seen:
    answers = traffic.requests(f"http://reviews.{WITHOUT_MESH}:9080/reviews/0", times=30, namespace=WITHOUT_MESH)
    pods = Counter(answers.pod)
    return Seen(len(pods) == 1, ", ".join(f"{pod}: {count}" for pod, count in sorted(pods.items())))


def stranger_is_served() -> Seen:
    answers = traffic.requests(f"http://ratings.{WITHOUT_MESH}:9080/ratings/0", namespace=WITHOUT_MESH)
    return Seen(
        bool((answers.status == 200).all()), f"ratings answered {_statuses(answers)} to a caller with no identity"
    )


def nobody_counts() -> Seen:
    answers = traffic.requests(f"http://reviews.{WITHOUT_MESH}:9080/metrics", namespace=WITHOUT_MESH)
    return Seen(not (answers.status == 200).any(), f"GET reviews:9080/metrics: {_statuses(answers)}")


def stranger_reaches_details() -> Seen:
    pods = [pod for pod in objects.list_("pods", "stranger", selector="app=curl") if objects.is_ready(pod)]
    if not pods:
        return Seen(False, "no ready curl pod in namespace stranger")
    answers = traffic.requests(f"http://details.{WITHOUT_MESH}:9080/details/0", namespace="stranger")
    return Seen(bool((answers.status == 200).all()), f"details answered {_statuses(answers)} to namespace stranger")


def _statuses(answers: pd.DataFrame) -> str:
    return ", ".join(str(status) for status in sorted(set(answers.status)))


def services_that_answered(answers: list[pd.DataFrame]) -> str:
    served = sum((answer.status == 200).all() for answer in answers)
    return {0: "none", 1: "one", 4: "all four"}.get(served, "some")


PREDICTIONS = (
    Prediction(
        question="Thirty requests over one connection to a Service with three pods: how many pods answer?",
        choices=("one", "two", "all three"),
        measured=pods_that_answered,
        why="A Service chooses a pod when a connection is opened, and every request on it goes there.",
    ),
    Prediction(
        question=(
            "The curl pod is no part of Bookinfo and shows nothing that says who it is. How many of the "
            "four services answer it?"
        ),
        choices=("none", "one", "all four"),
        measured=services_that_answered,
        why="No service asks who is calling, and nothing in the request could tell.",
    ),
    Prediction(
        question="By custom, a service tells at /metrics what it counts. How many of the four do?",
        choices=("none", "one", "all four"),
        measured=services_that_answered,
        why="Each service counts only if somebody wrote code for it, and productpage's authors did.",
    ),
)


LAB = Lab(
    number="01",
    title="What is a service mesh?",
    path="a day",
    pages=("overview/what-is-istio/",),
    start=(components.CLUSTER,),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="no pod has a proxy",
            observe=no_sidecars,
            hint=(
                "`%kubectl get pods --namespace without-mesh` lists the pods of Bookinfo without a mesh, if "
                "there are any."
            ),
            remedy=(
                "%kubectl create namespace without-mesh",
                "%kubectl apply --namespace without-mesh -f samples/bookinfo/platform/kube/bookinfo.yaml",
                "%kubectl wait --namespace without-mesh --for=condition=available deployment --all --timeout=180s",
            ),
        ),
        Check(
            claim="thirty requests over one connection reach one pod",
            observe=one_connection_reaches_one_pod,
            hint="Somebody has to ask: is there a client in the namespace?",
            remedy=("mesh.traffic.deploy_client('without-mesh')",),
        ),
        Check(
            claim="a caller without an identity is served",
            observe=stranger_is_served,
            hint="The client asks ratings: does either of them run?",
            remedy=("mesh.traffic.deploy_client('without-mesh')",),
        ),
        Check(
            claim="the reviews service counts nothing for anybody",
            observe=nobody_counts,
            hint="The client asks reviews for its metrics: does either of them run?",
            remedy=("mesh.traffic.deploy_client('without-mesh')",),
        ),
    ),
    exercises=(
        Exercise(
            task="Show that a pod in another namespace, `stranger`, may call `details` too.",
            hints=(
                "`%kubectl create namespace` makes it; `mesh.traffic.deploy_client` puts the client in any namespace.",
                "A service in another namespace is called by `SERVICE.NAMESPACE`: `http://details.without-mesh:9080/…`.",
            ),
            solution=(
                "kubectl create namespace stranger",
                "kubectl apply --namespace stranger -f samples/curl/curl.yaml",
                "kubectl wait --namespace stranger --for=condition=available deployment/curl --timeout=120s",
            ),
            checks=(
                Check(
                    claim="details serves a pod from namespace stranger",
                    observe=stranger_reaches_details,
                ),
            ),
        ),
    ),
)
