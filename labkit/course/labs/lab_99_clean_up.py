"""What the checks of lab 99 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import injection, istio, leftovers, objects
from labkit.settings import NAMESPACE, settings

if TYPE_CHECKING:
    import pandas as pd

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


def kinds_to_list(said: str) -> str:
    return nearest(int(said), {"about 8": 8, "about 30": 30, "about 80": 80})


def who_wrote_most(there: pd.DataFrame) -> str:
    writer = there.written_by.value_counts().idxmax()
    return {"istio-operator": "istioctl", "pilot-discovery": "istiod"}.get(writer, "you, with kubectl")


def what_is_left(left: pd.DataFrame) -> str:
    if left.empty:
        return "nothing"
    ours = left.written_by.str.contains("istio-operator").any()
    return "objects of istioctl's own" if ours else "what istiod and you wrote"


def pod_can_be_made() -> Seen:
    answer = injection.rehearse()
    return Seen(answer.returncode == 0, (answer.stderr or answer.stdout).strip().splitlines()[-1])


PREDICTIONS = (
    Prediction(
        question="kubectl get all lists a handful of kinds. How many kinds can this cluster's API server list?",
        choices=("about 8", "about 30", "about 80"),
        measured=kinds_to_list,
        why="all is a fixed, short selection; every definition that Istio brought is a kind more.",
    ),
    Prediction(
        question="Who wrote most of the objects that a fresh cluster would not have?",
        choices=("you, with kubectl", "istioctl", "istiod"),
        measured=who_wrote_most,
        why=(
            "One istioctl install made some forty objects; an application is few, and istiod writes only "
            "what it needs itself."
        ),
    ),
    Prediction(
        question=(
            "istioctl uninstall --purge has removed every revision. What is left that a fresh cluster would not have?"
        ),
        choices=("nothing", "objects of istioctl's own", "what istiod and you wrote"),
        measured=what_is_left,
        why="istioctl removes what it installed, and knows nothing of what others wrote meanwhile.",
    ),
)

_AS_FRESH = Check(claim="the cluster has nothing that a fresh one has not", observe=nothing_is_left)

LAB = Lab(
    number="99",
    title="Clean up",
    path="a day",
    pages=("setup/install/istioctl/",),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="no pod of Bookinfo's or of Istio's is left",
            observe=no_pod_is_left,
            hint="`%kubectl get pods --all-namespaces` lists the pods that are.",
            remedy=(
                "%kubectl delete -f samples/bookinfo/platform/kube/bookinfo.yaml",
                "%istioctl uninstall --purge -y",
            ),
        ),
        Check(
            claim="no kind of Istio's or of the Gateway API's is left",
            observe=no_kind_of_the_meshs_is_left,
            hint="`%kubectl get customresourcedefinitions` lists the kinds that somebody added.",
            remedy=(
                "%%shell",
                "kinds=customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings",
                'kubectl get "$kinds" -o name |',
                "    grep -E '(istio.io|gateway.networking.k8s.io)$' | xargs -r kubectl delete --ignore-not-found",
            ),
        ),
        Check(
            claim="the release's folder and istioctl are gone",
            observe=no_release_is_left,
            hint="What `release.unpack` and `install` brought lies in the course's own folder.",
            remedy=("release.remove()",),
        ),
        Check(
            claim="the cluster has nothing that a fresh one has not",
            observe=nothing_is_left,
            hint="`show.table(mesh.leftovers.anywhere())` names what is left.",
            remedy=(
                "%kubectl delete namespace istio-system stranger --ignore-not-found",
                "%kubectl delete configmaps --all-namespaces --selector=istio.io/config=true",
                "%kubectl label namespace default istio-injection-",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task="Somebody forgot something in the cluster. Find it, and remove it.",
            hints=(
                "`%kubectl get all --all-namespaces` does not show it; `mesh.leftovers.anywhere()` does.",
                "`%kubectl delete KIND NAME` removes an object; one without a namespace needs no `--namespace`.",
            ),
            solution=("kubectl delete persistentvolume forgotten --ignore-not-found",),
            checks=(_AS_FRESH,),
        ),
        Exercise(
            task=(
                "Istio is gone, and no pod can be made in default any more. Find out why, and leave "
                "the cluster as a fresh one."
            ),
            hints=(
                (
                    "The message names a webhook that nobody answers. Who asks it to be called? "
                    "`%kubectl get mutatingwebhookconfigurations`"
                ),
                (
                    "`failurePolicy: Fail` makes the API server refuse what it could not ask about. "
                    "But even with another policy the object would stay."
                ),
                "Delete it: `%kubectl delete mutatingwebhookconfiguration NAME`",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/99-fault.yaml",),
            solution=("kubectl delete mutatingwebhookconfiguration old-injector --ignore-not-found",),
            checks=(
                Check(
                    claim="a pod can be made",
                    observe=pod_can_be_made,
                    within=3,
                ),
                _AS_FRESH,
            ),
        ),
        Exercise(
            task="A shop moved out, and left things in more than one place. Remove all of them.",
            hints=(
                "`mesh.leftovers.anywhere()` lists them. Which are in a namespace, and which in none?",
                "A namespace takes with it what is in it. Roles for the whole cluster are not.",
            ),
            solution=(
                "kubectl delete namespace old-shop --ignore-not-found",
                "kubectl delete clusterrole,clusterrolebinding old-shop --ignore-not-found",
            ),
            checks=(_AS_FRESH,),
        ),
    ),
)
