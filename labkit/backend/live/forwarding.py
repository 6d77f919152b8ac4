"""HTTP to a port that a pod opens for itself alone, as `kubectl port-forward` reaches it.

The way there is a WebSocket to the API server: no process starts, neither here nor in the pod.
https://kubernetes.io/docs/tasks/access-application-cluster/port-forward-access-application-cluster/
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

from labkit.backend.answers import Unreachable, kubernetes_error
from labkit.backend.requests import Forward, PodGet

TIMEOUT = 20  # seconds that a pod may take over an answer


@contextmanager
def connected(client: Any, to: Forward) -> Iterator[Callable[[PodGet], str]]:
    """One connection, kept open: yields what performs a GET over it, and returns the text of the answer.

    Raises KubernetesError where the API server refuses; get raises Unreachable where the pod does not answer with 200.
    """
    forward = _open(client, to.namespace, to.pod, to.port)
    connection = HTTPConnection("localhost")
    connection.sock, connection.auto_open = forward.socket(to.port), 0  # else a lost one is made anew, to this machine
    connection.sock.settimeout(TIMEOUT)
    try:
        yield lambda get: _get(connection, get.path, f"{to.pod}:{to.port}", lambda: forward.error(to.port))
    finally:
        connection.close()
        forward.close()


def _open(client: Any, namespace: str, pod: str, port: int) -> Any:
    from kubernetes.client import ApiException, CoreV1Api
    from kubernetes.stream import portforward

    # for the length of this call the library puts its own transport into the client: let it be one that nobody shares
    api = CoreV1Api(copy.copy(client))
    try:
        return portforward(api.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
    except ApiException as error:
        refused = error.__context__
        body = getattr(refused, "resp_body", None) or b""
        status, reason = getattr(refused, "status_code", 0), getattr(refused, "status_message", "Unreachable")
        raise kubernetes_error(status, reason, body.decode("utf-8", "replace") or str(error.reason)) from None


def _get(connection: HTTPConnection, path: str, where: str, complaint: Callable[[], str | None]) -> str:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (HTTPException, OSError) as error:
        why = complaint() or f"{type(error).__name__}: {error}"
        raise Unreachable(
            f"GET {where}{path} got no answer.", why, "`%kubectl get pods` shows whether the pod is there and ready"
        ) from None
    if answer.status != 200:
        why = f"{answer.status} {answer.reason}: {text[:200]}"
        raise Unreachable(f"GET {where}{path} was refused.", why, "read the message above")
    return text
