"""What the checks of lab 15 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import istio, leftovers, objects
from labkit.settings import NAMESPACE, settings

MESH = ("istio.io", "gateway.networking.k8s.io")  # the groups that Istio's and the Gateway API's kinds belong to


def no_pod_is_left() -> Seen:
    pods = {namespace: objects.list_("pods", namespace) for namespace in (NAMESPACE, istio.NAMESPACE)}
    return Seen(
        not any(pods.values()), ", ".join(f"{namespace}: {len(found)} pods" for namespace, found in pods.items())
    )


def no_kind_of_the_meshs_is_left() -> Seen:
    known = objects.list_("customresourcedefinitions", group="apiextensions.k8s.io")
    found = [item["metadata"]["name"] for item in known if item["spec"]["group"].endswith(MESH)]
    return Seen(not found, f"{len(found)} of {len(known)} definitions are Istio's or the Gateway API's")


def no_release_is_left() -> Seen:
    there = [path for path in (settings().istio_folder, settings().bin / "istioctl") if backend.exists(path)]
    return Seen(not there, f"there: {', '.join(path.name for path in there)}" if there else "neither is there")


def nothing_is_left() -> Seen:
    left = leftovers.anywhere()
    return Seen(left.empty, f"{len(left)} {'object' if len(left) == 1 else 'objects'} that a fresh cluster has not")


LAB = Lab(
    "15",
    "Clean up",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "no pod of Bookinfo's or of Istio's is left",
            no_pod_is_left,
            "delete samples/bookinfo/platform/kube/bookinfo.yaml, then run `%istioctl uninstall --purge -y`",
        ),
        Check(
            "no kind of Istio's or of the Gateway API's is left",
            no_kind_of_the_meshs_is_left,
            "run the cell that deletes the custom resource definitions",
        ),
        Check(
            "the release's folder and istioctl are gone",
            no_release_is_left,
            "run `release.remove()`",
        ),
        Check(
            "the cluster has nothing that a fresh one has not",
            nothing_is_left,
            "`show.table(mesh.leftovers.anywhere())` names what is left: delete it",
        ),
    ),
    Exercise(
        "Somebody forgot something in the cluster. Find it, and remove it.",
        (
            "`%kubectl get all --all-namespaces` does not show it; `mesh.leftovers.anywhere()` does.",
            "`%kubectl delete KIND NAME` removes an object; one without a namespace needs no `--namespace`.",
        ),
        ("kubectl delete persistentvolume forgotten --ignore-not-found",),
        (
            Check(
                "the cluster has nothing that a fresh one has not",
                nothing_is_left,
                "`show.table(mesh.leftovers.anywhere())` names it: delete it",
            ),
        ),
    ),
)
