"""Who may do what: real requests from real callers to each of Bookinfo's services, and what came of each.

To the mesh a caller is its service account, not its pod; so a pod with curl in it can stand in for a service whose own
image has no client, if it runs under that service's account (manifests/14-callers.yaml).
https://istio.io/latest/docs/concepts/security/#istio-identity
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.errors import LabError
from labkit.mesh.bookinfo import PAGE
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

GATEWAY = "ingress gateway"
METHODS = ("GET", "POST")
PATHS = {"productpage": PAGE, "details": "/details/0", "reviews": "/reviews/0", "ratings": "/ratings/0"}
DENIED = 403  # Envoy's RBAC filter answers with it; Bookinfo itself never does


@dataclass(frozen=True)
class Caller:
    """A container with curl, in a pod of a Deployment."""

    deployment: str
    container: str = "curl"
    namespace: str = NAMESPACE


CALLERS = {
    "productpage": Caller("productpage-caller"),
    "reviews": Caller("reviews-caller"),
    "ratings": Caller("ratings-v1", "ratings"),
    "curl": Caller("curl"),
    "stranger": Caller("curl", namespace="stranger"),
}


def ask(callers: Iterable[str] = (GATEWAY, *CALLERS)) -> pd.DataFrame:
    """Each caller sends GET and POST to each service: caller, service, method, status, observed.

    `observed`: True where the service itself answered, whatever it said (405 is an answer), False where a proxy said
    403; None where there was no answer, or one of 5xx, which tells neither. `status` is 0 where no answer came.
    The gateway leads to productpage and nowhere else. Raises LabError for an unknown caller, and where one is missing.
    """
    import pandas as pd

    names = list(callers)
    with backend.threads() as pool:
        rows = [row for rows in pool.map(_answers, names) for row in rows]
    frame = pd.DataFrame(rows, columns=["caller", "service", "method", "status"])
    return frame.assign(observed=pd.Series([_allowed(status) for status in frame["status"]], dtype=object))


def _answers(name: str) -> list[tuple[str, str, str, int]]:
    if name == GATEWAY:
        statuses = [backend.http(method, session.gateway() + PAGE).status for method in METHODS]
        return [(name, "productpage", method, status) for method, status in zip(METHODS, statuses, strict=True)]
    if name not in CALLERS:
        known = ", ".join((GATEWAY, *CALLERS))
        raise LabError(f"There is no caller {name!r}.", f"the callers are {known}", "name one of them, or none for all")
    operations = [(service, method) for method in METHODS for service in PATHS]
    statuses = _curl(CALLERS[name], operations)
    return [(name, *operation, status) for operation, status in zip(operations, statuses, strict=True)]


def _curl(caller: Caller, operations: list[tuple[str, str]]) -> list[int]:
    """The status of each, all in one command: to start one in a pod takes longer than the requests."""
    argv = ["kubectl", "exec", "--namespace", caller.namespace, f"deploy/{caller.deployment}",
            "--container", caller.container, "--", "curl"]  # fmt: skip
    for n, (service, method) in enumerate(operations):
        url = f"http://{service}.{NAMESPACE}:9080{PATHS[service]}"
        argv += [*(["--next"] if n else []), "--silent", "--max-time", "10", "--output", "/dev/null",
                 "--write-out", r"%{response_code}\n", *(["--data", ""] if method == "POST" else []), url]  # fmt: skip
    completed = backend.run(argv, check=False)
    statuses = [int(line) for line in completed.stdout.split()]
    if len(statuses) != len(operations):
        raise backend.CommandFailed(completed, f"`%kubectl get pods -n {caller.namespace}` shows whether it is there")
    return statuses


def _allowed(status: int) -> bool | None:
    if status == DENIED:
        return False
    return True if 0 < status < 500 else None
