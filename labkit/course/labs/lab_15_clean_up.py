"""What the checks of lab 15 look at, and the lab."""

from __future__ import annotations

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import istio, leftovers, objects
from labkit.settings import NAMESPACE

MESH_GROUPS = ("istio.io", "gateway.networking.k8s.io")


def no_pod_is_left() -> Seen:
    pods = [
        f"{namespace}/{pod['metadata']['name']}"
        for namespace in (NAMESPACE, istio.NAMESPACE)
        for pod in objects.list_("pods", namespace)
    ]
    return Seen(not pods, f"{len(pods)} pods in {NAMESPACE} and {istio.NAMESPACE}")


def no_word_of_the_meshs_is_known() -> Seen:
    found = [
        item["metadata"]["name"]
        for item in objects.list_("customresourcedefinitions", group="apiextensions.k8s.io")
        if item["spec"]["group"].endswith(MESH_GROUPS)
    ]
    return Seen(not found, f"{len(found)} custom resource definitions of Istio's and the Gateway API's")


def nothing_is_left() -> Seen:
    left = leftovers.anywhere()
    shown = [f"{each.resource} {each.name}" for each in left.head(5).itertuples()]
    return Seen(
        left.empty, f"{len(left)} objects that a fresh cluster has not" + (f": {', '.join(shown)} …" if shown else "")
    )


LAB = Lab(
    "15",
    "Clean up",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (),
    Exercise("", (), (), ()),
)
