"""What the checks of lab 01 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
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


LAB = Lab(
    "01",
    "What is a service mesh?",
    (parts.CLUSTER,),
    (
        Check("no pod has a proxy", no_sidecars, "run the cell that deploys Bookinfo without a mesh"),
        Check(
            "thirty requests over one connection reach one pod",
            one_connection_reaches_one_pod,
            "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
        ),
        Check(
            "a caller without an identity is served",
            stranger_is_served,
            "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
        ),
        Check(
            "the reviews service counts nothing for anybody",
            nobody_counts,
            "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
        ),
    ),
    Exercise(
        "Show that a pod in another namespace, `stranger`, may call `details` too.",
        (
            "`%kubectl create namespace` makes it; `mesh.traffic.deploy_client` puts the client in any namespace.",
            "A service in another namespace is called by `SERVICE.NAMESPACE`: `http://details.without-mesh:9080/…`.",
        ),
        (
            "kubectl create namespace stranger",
            "kubectl apply --namespace stranger -f samples/curl/curl.yaml",
            "kubectl wait --namespace stranger --for=condition=available deployment/curl --timeout=120s",
        ),
        (
            Check(
                "details serves a pod from namespace stranger",
                stranger_reaches_details,
                "make the namespace, and deploy the client in it",
            ),
        ),
    ),
)
