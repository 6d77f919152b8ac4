"""What the checks of lab 05 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import pods_that_answered
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import bookinfo, objects, traffic
from labkit.mesh.workloads import PROXY, deployments, running_containers
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd


def bookinfo_is_available() -> Seen:
    found = deployments(NAMESPACE)
    missing = [
        name
        for name in bookinfo.deployments()
        if not found.get(name, {"status": {}})["status"].get("availableReplicas")
    ]
    return Seen(not missing, f"not available: {', '.join(missing)}" if missing else "all six are available")


def every_pod_has_a_sidecar() -> Seen:
    wanted = set(bookinfo.deployments())
    pods = [p for p in objects.list_("pods", NAMESPACE) if p["metadata"]["name"].rsplit("-", 2)[0] in wanted]
    with_proxy = [p for p in pods if PROXY in running_containers(p)]
    return Seen(len(pods) == len(with_proxy) >= len(wanted), f"{len(with_proxy)} of {len(pods)} pods have one")


def title_from_ratings() -> Seen:
    argv = ["kubectl", "exec", "--namespace", NAMESPACE, "deploy/ratings-v1", "--container", "ratings", "--",
            "curl", "-sS", "--max-time", "10", "productpage:9080/productpage"]  # fmt: skip
    page = backend.run(argv).stdout
    return Seen(f"<title>{bookinfo.TITLE}</title>" in page, f"{len(page):,} characters of HTML")


def two_ratings_behind_the_service() -> Seen:
    pods = [p for p in objects.list_("pods", NAMESPACE, selector="app=ratings") if objects.is_ready(p)]
    with_proxy = sum(PROXY in running_containers(p) for p in pods)
    return Seen(len(pods) == 2 == with_proxy, f"{len(pods)} ready pods, {with_proxy} with a sidecar")


def version_2_is_out_and_version_3_doubled() -> Seen:
    pods = [p for p in objects.list_("pods", NAMESPACE, selector="app=reviews") if objects.is_serving(p)]
    with_proxy = sum(PROXY in running_containers(p) for p in pods)
    counted = Counter(p["metadata"]["labels"]["version"] for p in pods)
    told = ", ".join(f"{version}: {count}" for version, count in sorted(counted.items()))
    return Seen(counted == {"v1": 1, "v3": 2} and with_proxy == 3, f"pods of reviews: {told}; {with_proxy} sidecars")


def containers_in_each(pods: pd.DataFrame) -> str:
    counts = set(pods.containers.str.split(", ").str.len())
    return f"{counts.pop()}" if len(counts) == 1 else "not the same in each"


def calls_of_ratings(calls: pd.DataFrame) -> str:
    found = calls[calls.destination_service_name == "ratings"].requests.sum()
    return nearest(found, {"about 20": 20, "about 40": 40, "about 60": 60})


def pages_have_their_stars() -> Seen:
    pages = traffic.requests("http://productpage:9080/productpage", times=12)
    without = pages.body.str.contains("Ratings service is currently unavailable").sum()
    if not without and not pages.body.str.contains(bookinfo.STARS).any():  # nobody asks for ratings any more
        return Seen(False, f"no page of {len(pages)} has stars")
    measured = f"{'some' if without else 'none'} of {len(pages)} pages say that ratings are unavailable"
    return Seen(without == 0 and bool((pages.status == 200).all()), measured)


PREDICTIONS = (
    Prediction(
        question=(
            "Bookinfo's manifest has one container in each pod and not a word about Istio. How many will each pod have?"
        ),
        choices=("1", "2", "3"),
        measured=containers_in_each,
        why=(
            "The namespace asks for sidecars, so istiod adds one to each pod as it is made; istio-init "
            "has ended by then."
        ),
    ),
    Prediction(
        question=(
            "In 01, thirty requests over one connection all went to one pod. Now the client has a "
            "sidecar: how many pods answer?"
        ),
        choices=("one", "two", "all three"),
        measured=pods_that_answered,
        why=(
            "The connection ends in the client's sidecar, which has connections to all three pods and "
            "chooses one for each request."
        ),
    ),
    Prediction(
        question=(
            "Each of sixty pages asks reviews once, and versions 2 and 3 of reviews ask ratings. How many "
            "calls does ratings get?"
        ),
        choices=("about 20", "about 40", "about 60"),
        measured=calls_of_ratings,
        why="Each of the three versions gets about a third of the requests, and two of them need ratings.",
    ),
)


LAB = Lab(
    number="05",
    title="Deploy Bookinfo",
    path="two hours",
    pages=("examples/bookinfo/",),
    start=(components.CLUSTER, components.RELEASE, components.ISTIO, components.INJECTION),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="all six deployments are available",
            observe=bookinfo_is_available,
            hint="`%kubectl get deployments` shows which are there, and which are ready.",
            remedy=(
                "%kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml",
                "%kubectl wait --for=condition=available deployment --all --timeout=180s",
            ),
        ),
        Check(
            claim="each of its pods has a sidecar",
            observe=every_pod_has_a_sidecar,
            hint=(
                "`%kubectl get pods` counts the containers: 2/2 with a sidecar. Did the namespace ask for them "
                "when the pods were made?"
            ),
            remedy=(
                "%kubectl label namespace default istio-injection=enabled --overwrite",
                "%kubectl rollout restart deployment",
            ),
        ),
        Check(
            claim="the ratings pod gets the product page",
            observe=title_from_ratings,
            hint="A pod that is not ready gets no requests: `%kubectl get pods`.",
            remedy=("%kubectl wait --for=condition=available deployment --all --timeout=180s",),
        ),
    ),
    exercises=(
        Exercise(
            task="Run two pods of ratings, both in the mesh.",
            hints=(
                "A Deployment's `replicas` say how many pods it keeps.",
                "`kubectl scale` changes them in one command.",
            ),
            solution=(
                "kubectl scale deployment/ratings-v1 --replicas=2",
                "kubectl rollout status deployment/ratings-v1 --timeout=120s",
            ),
            checks=(
                Check(
                    claim="two ready pods of ratings, each with a sidecar",
                    observe=two_ratings_behind_the_service,
                ),
            ),
        ),
        Exercise(
            task="Some pages have lost their stars. Find out why, and mend it.",
            hints=(
                (
                    "Versions 2 and 3 of reviews ask ratings for stars. Does anybody answer there? "
                    "`%istioctl proxy-config endpoints deploy/reviews-v2` lists what their Envoy "
                    "knows."
                ),
                "A Service without pods has no endpoints: `%kubectl get deployments`",
                "A Deployment runs as many pods as its `replicas` say.",
            ),
            fault=(
                "kubectl scale deployment/ratings-v1 --replicas=0",
                "kubectl wait --for=delete pod --selector app=ratings --timeout=90s",
            ),
            solution=(
                "kubectl scale deployment/ratings-v1 --replicas=1",
                "kubectl rollout status deployment/ratings-v1 --timeout=120s",
            ),
            checks=(
                Check(
                    claim="no page says that ratings are unavailable",
                    observe=pages_have_their_stars,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="Take version 2 of reviews out of service, and give version 3 a second pod in its place.",
            hints=(
                "A Deployment may keep no pod at all, and stay.",
                "`kubectl scale deployment/reviews-v2 --replicas=0`; and what is the number for version 3?",
            ),
            solution=(
                "kubectl scale deployment/reviews-v2 --replicas=0",
                "kubectl scale deployment/reviews-v3 --replicas=2",
                "kubectl rollout status deployment/reviews-v3 --timeout=120s",
            ),
            checks=(
                Check(
                    claim="reviews has one pod of version 1 and two of version 3, each with a sidecar",
                    observe=version_2_is_out_and_version_3_doubled,
                    within=3,
                ),
            ),
        ),
    ),
)
