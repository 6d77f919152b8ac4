"""Service discovery, watched from both ends: when a pod is ready, and when an Envoy elsewhere knows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit import backend
from labkit.mesh import objects
from labkit.mesh.proxy.describe import whole_service
from labkit.mesh.proxy.frames import read_endpoints
from labkit.mesh.proxy.pods import admin, find
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

LOOK = 0.1  # seconds between two looks


def discovery(
    service: str,
    pods: int,
    client: str,
    namespace: str = NAMESPACE,
    timeout: float = 90.0,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Watch a Service until it has so many ready pods, and the client's Envoy an endpoint for each.

    One row a pod, the first that was ready first. Columns: pod, ready_seconds (from now until Kubernetes called it
    ready), endpoint_seconds (from now until Envoy had its address), behind_seconds (the one less the other); what was
    there before is at 0. As good as the looks: 0.1 s.
    `client` is a pod as in `endpoints`. Raises LabError with the last state seen.
    """
    import pandas as pd

    selector = objects.get("services", service, namespace)["spec"]["selector"]
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    with admin(find(client)) as get:
        watched = _Watched(whole_service(service, namespace), labels, namespace, get)
        backend.wait(
            f"{pods} pods of {service}, each an endpoint in the Envoy of {client}",
            observe=watched.look,
            done=lambda both: both == (pods, pods),
            state=lambda both: f"{both[0]} of {pods} pods ready, {both[1]} endpoints",
            timeout=timeout,
            every=LOOK,
            report=report,
        )
    rows = [(name, ready, watched.endpoints[address]) for address, (name, ready) in watched.ready.items()]
    frame = pd.DataFrame(rows, columns=["pod", "ready_seconds", "endpoint_seconds"]).round(1)
    frame = frame.assign(behind_seconds=(frame.endpoint_seconds - frame.ready_seconds).round(1))
    return frame.sort_values("ready_seconds", ignore_index=True, kind="stable")


class _Watched:
    """What there is of a Service, by address, and when it was seen first: seconds since the watch began."""

    def __init__(self, cluster: str, labels: str, namespace: str, get: Callable[[str], str]) -> None:
        self._cluster, self._labels, self._namespace, self._get = cluster, labels, namespace, get
        self._began: float | None = None
        self.ready: dict[str, tuple[str, float]] = {}
        self.endpoints: dict[str, float] = {}

    def look(self) -> tuple[int, int]:
        """How many pods are ready, how many endpoints Envoy has. It is asked first, so that it is never too early."""
        rows = [row for row in read_endpoints(self._get) if self._cluster in row["cluster"]]
        found = objects.list_("pods", self._namespace, selector=self._labels)
        pods = {pod["status"].get("podIP", ""): pod["metadata"]["name"] for pod in found if objects.is_serving(pod)}
        addresses = {row["endpoint"].rpartition(":")[0] for row in rows if row["status"] == "HEALTHY"}
        now = self._seconds()
        self.ready = {address: self.ready.get(address, (name, now)) for address, name in pods.items()}
        self.endpoints = {address: self.endpoints.get(address, now) for address in addresses}
        return len(self.ready), len(self.endpoints.keys() & self.ready.keys())

    def _seconds(self) -> float:
        """What the first look finds was there before."""
        if self._began is None:
            self._began = backend.now()
        return backend.now() - self._began
