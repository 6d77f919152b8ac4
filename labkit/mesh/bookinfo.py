"""Bookinfo, Istio's sample application: four services, six workloads, one page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from labkit import backend, session
from labkit.errors import LabError
from labkit.mesh import istio, objects, workloads
from labkit.settings import NAMESPACE, settings

if TYPE_CHECKING:
    import pandas as pd

PAGE = "/productpage"
PORT = 9080
_PODS = "app in (productpage,details,reviews,ratings)"
_ADDED = {"lifecycle", "livenessProbe", "readinessProbe"}
TITLE = "Simple Bookstore App"
STARS = "glyphicon-star"  # what the page draws where a review has a rating
# as `deployments` reads them from the release: for what is said where none is there yet
DEPLOYMENTS = ("details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3")


@dataclass(frozen=True)
class Page:
    """The product page as a browser would get it. `reviews` is the pod that wrote its reviews, "" if none did.

    `error` is what the page itself says is not available, "" if nothing. `stars`: whether a review has a rating.
    """

    status: int
    title: str
    reviews: str
    seconds: float
    error: str = ""
    stars: bool = field(default=False, repr=False)


def manifest() -> Path:
    """Services, service accounts and deployments, from the release."""
    return settings().release_folder / "samples" / "bookinfo" / "platform" / "kube" / "bookinfo.yaml"


def gateway_manifest() -> Path:
    """The Gateway and the VirtualService that open the page to the outside, from the release."""
    return networking("bookinfo-gateway")


def networking(name: str) -> Path:
    """A manifest of the release's `samples/bookinfo/networking`, by its name without the ending."""
    return settings().release_folder / "samples" / "bookinfo" / "networking" / f"{name}.yaml"


def deployments() -> list[str]:
    """The names of Bookinfo's Deployments, as the release's manifest has them."""
    return [d["metadata"]["name"] for d in objects.read(manifest()) if d["kind"] == "Deployment"]


def deploy(namespace: str = NAMESPACE, report: Callable[[str], None] = lambda _: None) -> None:
    """Apply Bookinfo and wait until each of its pods answers, and no earlier one is left, which `deploy/NAME` would
    still mean. Raises LabError with the last state seen.

    The release gives its containers no readiness probe: a pod is Ready as soon as its process runs, seconds before
    reviews, a Java server, listens.
    """
    for name in _to_make_anew(namespace):
        backend.run(
            ["kubectl", "delete", "deployment", name, f"--namespace={namespace}", "--ignore-not-found", "--wait"]
        )
    objects.apply(manifest(), namespace=namespace)
    objects.wait_available(deployments(), namespace, report)
    backend.wait(
        "Bookinfo's answers",
        observe=lambda: _unsettled(namespace),
        done=lambda pods: not pods,
        state=lambda pods: "; ".join(f"{name}: {why}" for name, why in pods.items()) or "each pod answers",
        timeout=120,
        report=report,
    )


def _to_make_anew(namespace: str) -> list[str]:
    """The Deployments that `kubectl apply` would not put right: it leaves what was added to their pods, and pods that
    another control plane serves, which may be gone."""
    wanted = {d["metadata"]["name"]: _may_be_added(d) for d in objects.read(manifest()) if d["kind"] == "Deployment"}
    there = workloads.deployments(namespace)
    changed = {name for name, each in there.items() if name in wanted and _may_be_added(each) != wanted[name]}
    return sorted(changed | _of_other_revisions(namespace))


def _may_be_added(deployment: dict[str, Any]) -> tuple[dict[str, str], list[list[str]]]:
    template = deployment["spec"]["template"]
    return template["metadata"]["labels"], [sorted(_ADDED & c.keys()) for c in template["spec"]["containers"]]


def _of_other_revisions(namespace: str) -> set[str]:
    if not session.owns_cluster():
        return set()  # which control plane serves it there, its owners say
    pods = [p for p in objects.list_("pods", namespace, selector=_PODS) if "deletionTimestamp" not in p["metadata"]]
    return {workloads.workload(pod) for pod in pods if istio.revision(pod) not in ("", istio.DEFAULT)}


def _unsettled(namespace: str) -> dict[str, str]:
    """The pods that are on their way out, and those that do not answer on their own 127.0.0.1: what a mesh or a policy
    asks of callers plays no part."""
    pods = {each["metadata"]["name"]: each for each in objects.list_("pods", namespace, selector=_PODS)}
    leaving = {name: "Terminating" for name, pod in pods.items() if "deletionTimestamp" in pod["metadata"]}
    silent = {name: "no answer yet" for name, pod in pods.items() if objects.is_serving(pod) and not _answers(pod)}
    return leaving | silent


def _answers(pod: dict[str, Any]) -> bool:
    try:
        with backend.port_forward(pod["metadata"]["namespace"], pod["metadata"]["name"], PORT) as get:
            return bool(get("/health"))
    except (backend.Unreachable, backend.KubernetesError):
        return False


def remove(namespace: str = NAMESPACE) -> None:
    """Delete Bookinfo and wait until its pods are gone."""
    objects.delete(manifest(), namespace=namespace)
    backend.run(
        ["kubectl", "wait", "pod", "--for=delete", f"--namespace={namespace}", "--timeout=120s",
         f"--selector={_PODS}"]
    )  # fmt: skip


def page(times: int = 1, headers: dict[str, str] | None = None) -> pd.DataFrame:
    """Open the product page through the gateway, `times` times: request, status, title, reviews, milliseconds, version.

    `reviews` is the pod that wrote the page's reviews and `version` its version; both are "" where none did.
    """
    import pandas as pd

    rows = [{"request": n, **_row(fetch(headers=headers))} for n in range(1, times + 1)]
    return pd.DataFrame(rows, columns=["request", "status", "title", "reviews", "milliseconds", "version"])


def sign_in(user: str) -> dict[str, str]:
    """Sign in on the page, which takes any user with any password: the headers that make a request this user's.

    `user` is letters and digits. The page tells the services behind it who that is, in a header of its own:
    `end-user`. Raises LabError.
    """
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = backend.http("POST", f"{session.gateway()}/login", headers=form, body=f"username={user}")
    if "set-cookie" not in answer.headers:
        raise LabError(
            f"{user} could not sign in.",
            f"POST /login: {answer.status}",
            "`%istioctl analyze` says whether all is well",
        )
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def fetch(path: str = PAGE, headers: dict[str, str] | None = None, timeout: float = 10.0) -> Page:
    """A page of Bookinfo's through the gateway, once. Raises backend.Unreachable where none comes in `timeout` s."""
    answer = backend.http("GET", session.gateway() + path, headers=headers, timeout=timeout)
    title = re.search(r"<title>(.*?)</title>", answer.text, re.DOTALL)
    reviews = re.search(r"reviews-v\d-[a-z0-9]+-[a-z0-9]+", answer.text)
    error = re.search(r"\w[\w, ]* (?:is|are) currently unavailable", answer.text)
    return Page(
        answer.status,
        title[1].strip() if title else "",
        reviews[0] if reviews else "",
        round(answer.seconds, 3),
        error[0] if error else "",
        STARS in answer.text,
    )


def wait_for_page(
    path: str = PAGE,
    headers: dict[str, str] | None = None,
    status: int = 200,
    timeout: float = 60,
    report: Callable[[str], None] = lambda _: None,
) -> Page:
    """Open a page until the gateway answers with `status`: a new route takes a moment to reach the proxies.

    Raises LabError with the last answer seen.
    """
    seen: Page | str = backend.wait(
        f"{session.gateway()}{path} with status {status}",
        observe=lambda: _try(path, headers),
        done=lambda seen: isinstance(seen, Page) and seen.status == status,
        state=_state,
        timeout=timeout,
        report=report,
    )
    return cast(Page, seen)


def _state(seen: Page | str) -> str:
    return f"status {seen.status}" if isinstance(seen, Page) else seen


def _try(path: str, headers: dict[str, str] | None) -> Page | str:
    try:
        return fetch(path, headers)
    except backend.Unreachable as error:
        return error.why


def _row(page: Page) -> dict[str, object]:
    version = re.match(r"reviews-(v\d)-", page.reviews)
    return {
        "status": page.status,
        "title": page.title,
        "reviews": page.reviews,
        "milliseconds": round(page.seconds * 1000),
        "version": version[1] if version else "",
    }
