"""A cluster that exists already: found by the name of a context of the reader's, never made, changed or removed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit import backend
from labkit.backend.live import environment
from labkit.cluster import sources
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import NAME, NAMESPACE, settings

_GATEWAY = "/api/v1/namespaces/istio-system/services/istio-ingressgateway"
_SHARED = re.compile(r"default|istio-system|kube-.*")


def open_way() -> Path:
    """Open the way into the cluster for this process, with the reader's namespace; the kubeconfig of its commands.

    The reader's own kubeconfig is only read. Raises LabError: no such context, no namespace named, or one that is no
    reader's own.
    """
    from labkit.api import access

    s = settings()
    readers = {"KUBECONFIG": s.readers_kubeconfig}
    _refuse_namespace(_own_namespace(readers))
    return access.start(s.context, NAMESPACE, s.kubeconfig, environment(readers))


def find(progress: Progress) -> None:
    """See that the cluster answers and has the reader's namespace, and that the course's tools are here.

    Raises LabError where it does not.
    """
    with progress.stage("cluster") as note:
        require()
        note(f"context {settings().context}: found in place")
    sources.ensure_commands(progress)


def gateway() -> str:
    """What LABKIT_GATEWAY says, else the address that the cluster's load balancer gave the ingress gateway."""
    address = settings().gateway or _address(_ingress_gateway())
    if not address:
        raise LabError(
            "The way to the mesh's ingress gateway is not known.",
            "its Service istio-ingressgateway has no address that the course may read",
            f"in a terminal: `kubectl --context {settings().context} port-forward -n istio-system "
            "svc/istio-ingressgateway 8080:80`; then LABKIT_GATEWAY=http://127.0.0.1:8080, and restart the kernel",
        )
    return address


def _ingress_gateway() -> dict[str, Any]:
    try:
        return json.loads(backend.kubernetes("GET", _GATEWAY))
    except backend.KubernetesError as error:
        if error.status not in (403, 404):
            raise
        return {}


def _address(service: Mapping[str, Any]) -> str:
    """Where a Service of type LoadBalancer is to be reached over HTTP; "" where it is not."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    host = given[0].get("ip") or given[0].get("hostname") or ""
    return f"http://[{host}]" if ":" in host else f"http://{host}" if host else ""


def require() -> str:
    """The unique id of the reader's namespace. Raises LabError: no answer, no valid credentials, no such namespace."""
    context = settings().context
    try:
        return json.loads(backend.kubernetes("GET", f"/api/v1/namespaces/{NAMESPACE}"))["metadata"]["uid"]
    except backend.KubernetesError as error:
        if error.status == 404:
            raise LabError(
                f"There is no namespace {NAMESPACE} in the cluster of context {context}.",
                error.why,
                f"`kubectl --context {context} create namespace {NAMESPACE}`, or ask those who run the cluster for one",
            ) from None
        if error.status in (0, 401):
            raise LabError(
                f"The cluster of context {context} does not answer.",
                error.why,
                f"see that `kubectl --context {context} get namespace {NAMESPACE}` answers in a terminal (a VPN, an "
                "expired login), then restart the kernel",
            ) from None
        raise


def _own_namespace(readers: Mapping[str, str]) -> str:
    """The namespace that the context itself names; "" where it names none."""
    s = settings()
    answer = backend.run(
        ["kubectl", "config", "view", "--minify", "--output", "json", "--context", s.context], env=readers, check=False
    )
    if answer.returncode:
        raise LabError(
            f"The context {s.context!r} could not be read from {s.readers_kubeconfig}.",
            answer.stderr.strip(),
            "`kubectl config get-contexts` lists those that there are; LABKIT_VENUE=context:NAME names one of them",
        )
    [context] = json.loads(answer.stdout)["contexts"]
    return context["context"].get("namespace", "")


def _refuse_namespace(own: str) -> None:
    """`own`: the one that the context itself names, "" where it names none."""
    if not (why := _why_not(NAMESPACE)):
        return
    name = "NAME" if _why_not(own) else own
    raise LabError(
        f"The course works in context {settings().context} only in a namespace of the reader's own.",
        why,
        f"set LABKIT_NAMESPACE={name}, a namespace of your own with nothing in it, and start the kernel anew",
    )


def _why_not(namespace: str) -> str:
    if not namespace:
        return "LABKIT_NAMESPACE names none; `goto` removes whatever is no part of a lab from the one that it names"
    if not NAME.fullmatch(namespace):
        return f"{namespace!r} is no name of a namespace: lower-case letters, digits and `-`, at most 63 of them"
    return f"{namespace} is shared by all who use the cluster" if _SHARED.fullmatch(namespace) else ""
