"""A mesh in a cluster that exists already: live, and outside the reader's own namespace for looking only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.backend.context import guard, shell
from labkit.backend.live import Live
from labkit.backend.protocol import Completed, KubernetesError
from labkit.errors import LabError
from labkit.settings import settings

_GATEWAY = "/api/v1/namespaces/istio-system/services/istio-ingressgateway"


class Context(Live):
    """Live, in one namespace. `istio` is the version that was found, "" where there is none."""

    def __init__(self, namespace: str, istio: str = "") -> None:
        super().__init__()
        self._namespace, self._istio = namespace, istio

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        if Path(argv[0]).name in guard.PROGRAMS:
            guard.check_command(argv, stdin, cwd, self._namespace)
        else:
            env = {"PATH": shell.path(os.environ), **env}  # a shell, whose commands are known when it comes to them
        return super().run(argv, stdin=stdin, cwd=cwd, env=env, timeout=timeout, on_line=on_line)

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str:
        guard.check_request(method, path, self._namespace)
        return super().kubernetes(method, path, body, query, content_type)

    def owns_cluster(self) -> bool:
        return False

    def describe(self) -> str:
        istio = f"Istio {self._istio} found in place" if self._istio else "no Istio in it"
        return f"Live mesh: context {settings().context}, namespace {self._namespace}, {istio}"

    def gateway(self) -> str:
        """What LABKIT_GATEWAY says, else the address that the cluster's load balancer gave the ingress gateway."""
        address = settings().gateway or _address(self._service())
        if not address:
            raise LabError(
                "The way to the mesh's ingress gateway is not known.",
                "its Service istio-ingressgateway has no address that the course may read",
                f"in a terminal: `kubectl --context {settings().context} port-forward -n istio-system "
                "svc/istio-ingressgateway 8080:80`; then LABKIT_GATEWAY=http://127.0.0.1:8080, and restart the kernel",
            )
        return address

    def _service(self) -> dict[str, Any]:
        try:
            return json.loads(self.kubernetes("GET", _GATEWAY, None, {}, "application/json"))
        except KubernetesError as error:
            if error.status not in (403, 404):
                raise
            return {}


def _address(service: Mapping[str, Any]) -> str:
    """Where a Service of type LoadBalancer is to be reached over HTTP; "" where it is not."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    host = given[0].get("ip") or given[0].get("hostname") or ""
    return f"http://[{host}]" if ":" in host else f"http://{host}" if host else ""
