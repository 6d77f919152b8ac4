"""The live backend: real processes, real sockets, the real clock."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from labkit.backend import concurrency, requests
from labkit.backend.answers import Response, Unreachable, kubernetes_error
from labkit.backend.live import network, processes
from labkit.backend.requests import Answer, Request
from labkit.errors import LabError
from labkit.settings import GATEWAY_HOST, MANIFESTS, settings


class Live:
    """Commands see the course's own kubeconfig and binaries, never the reader's."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, float], object] = {}

    def perform(self, request: Request[Answer]) -> Answer:
        answer: Any = None  # that of a notice
        match request:
            case requests.Command():
                answer = processes.run(request, environment(request.env))
            case requests.Kubernetes():
                answer = self._kubernetes(request)
            case requests.Http():
                answer = self._http(request)
            case requests.Work(do=do, report=report):
                answer = do(report)
            case requests.Beside(name=name, do=do):
                answer = concurrency.beside(name, do)
            case requests.Text(path=path):
                answer = path.read_text()
            case requests.Exists(path=path):
                answer = path.exists()
            case requests.Which(program=program):
                answer = shutil.which(program, path=environment({})["PATH"])
            case requests.PortIsFree(host=host, port=port):
                answer = _port_is_free(host, port)
            case requests.Download():
                self._download(request)
        return answer

    def connected(self, forward: requests.Forward) -> AbstractContextManager[Callable[[requests.PodGet], str]]:
        from labkit.backend.live.forwarding import connected

        return connected(self._client(), forward)

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        concurrency.sleep(seconds)

    def _kubernetes(self, request: requests.Kubernetes) -> str:
        from urllib3.exceptions import HTTPError

        client = self._client()
        call = client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={
                "Accept": request.accept or _accepted(request.method, request.path),
                "Content-Type": request.content_type,
            },
            body=request.body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = client.call_api(*call, _request_timeout=(5, 60))
            text = answer.read().decode("utf-8", "replace")
        except HTTPError as error:
            raise kubernetes_error(0, "Unreachable", str(error)) from None
        if answer.status >= 400:
            raise kubernetes_error(answer.status, answer.reason, text)
        return text

    def _http(self, request: requests.Http) -> Response:
        import httpx

        from labkit.backend.live import clients

        started = self.now()
        try:
            with clients.http(request.timeout) as client:
                answer = client.request(
                    request.method, request.url, headers=dict(request.headers), content=request.body
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"{request.method} {network.shown(request.url)} got no answer.",
                f"{type(error).__name__}: {error}",
                "`labkit status` says what is up; `labkit up` brings up what is missing",
            ) from error
        return Response(answer.status_code, dict(answer.headers), answer.text, self.now() - started)

    def _download(self, request: requests.Download) -> None:
        from labkit.backend.live.downloading import download

        download(request, self.sleep)

    def _client(self) -> Any:
        """One client for each kubeconfig as it stands on disk; a new cluster means a new client."""
        from labkit.backend.live import clients

        path = settings().kubeconfig
        if not path.exists():
            raise LabError(
                "There is no cluster of the course's yet.",
                f"{path} does not exist",
                "run `labkit up --until cluster`, or notebook 00",
            )
        key = (str(path), path.stat().st_mtime)
        if key not in self._clients:
            self._clients = {key: clients.kubernetes(path)}
        return self._clients[key]


def _accepted(method: str, path: str) -> str:
    """The media type of an answer: of Secrets only metadata, for nothing here needs what they hold.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
    """
    found = re.fullmatch(r"/api/v1(?:/namespaces/[^/]+)?/secrets(/.*)?", path)
    if not found:
        return "application/json, */*"
    kind = "PartialObjectMetadata" if found[1] or method != "GET" else "PartialObjectMetadataList"
    return f"application/json;as={kind};g=meta.k8s.io;v=v1"


def _port_is_free(host: str, port: int) -> bool:
    """By connecting first: macOS lets a second server bind to a port on which another listens on all addresses."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


# what of the reader's environment would lead helm to another cluster, or have it keep its releases elsewhere
_LEAD_HELM = ("HELM_DRIVER", "HELM_KUBEAPISERVER", "HELM_KUBECONTEXT", "HELM_KUBETOKEN", "HELM_NAMESPACE")


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a command of the course's finds in its environment: its own programs first, and its own kubeconfig."""
    s = settings()
    path = os.pathsep.join([str(s.bin), os.environ.get("PATH", os.defpath)])
    ours = {"KUBECONFIG": str(s.kubeconfig), "LABKIT_BIN": str(s.bin), "LABKIT_MANIFESTS": str(MANIFESTS)}
    if not s.context:
        ours["LABKIT_GATEWAY"] = f"http://{GATEWAY_HOST}:{s.port}"
    ours |= {f"HELM_{what}_HOME": str(s.helm_folder / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    ours |= dict.fromkeys(_LEAD_HELM, "")
    ours["KUBERC"] = "off"  # the reader's own aliases and defaults of kubectl are none of the course's
    return {**network.environment(os.environ), "PATH": path, **ours, **extra}
