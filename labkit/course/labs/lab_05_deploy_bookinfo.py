"""What the checks of lab 05 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import bookinfo, objects
from labkit.mesh.workloads import PROXY, deployments, running_containers
from labkit.settings import NAMESPACE


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


LAB = Lab(
    "05",
    "Deploy Bookinfo",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION),
    (
        Check(
            "all six deployments are available",
            bookinfo_is_available,
            "run `%kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml`",
        ),
        Check(
            "each of its pods has a sidecar",
            every_pod_has_a_sidecar,
            "label the namespace, then `%kubectl rollout restart deployment`",
        ),
        Check(
            "the ratings pod gets the product page",
            title_from_ratings,
            "wait until `%kubectl get pods` shows every pod ready",
        ),
    ),
    Exercise(
        "Run two pods of ratings, both in the mesh.",
        ("A Deployment's `replicas` say how many pods it keeps.", "`kubectl scale` changes them in one command."),
        (
            "kubectl scale deployment/ratings-v1 --replicas=2",
            "kubectl rollout status deployment/ratings-v1 --timeout=120s",
        ),
        (
            Check(
                "two ready pods of ratings, each with a sidecar",
                two_ratings_behind_the_service,
                "run `%kubectl scale deployment/ratings-v1 --replicas=2`",
            ),
        ),
    ),
)
