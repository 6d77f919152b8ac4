"""Outlier detection: which endpoints an Envoy found failing itself, and sends nothing for a while.

https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit import backend
from labkit.mesh import objects
from labkit.mesh.proxy.describe import whole_service
from labkit.mesh.proxy.frames import endpoints
from labkit.mesh.workloads import workload
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd


def outliers(pod: str, service: str, namespace: str = NAMESPACE) -> pd.DataFrame:
    """A service's endpoints as an Envoy has them: workload, endpoint, status and outlier_check as in `endpoints`.

    A failed outlier check is an ejected endpoint. `workload` is "" where the endpoint's pod is gone.
    """
    found = endpoints(pod)
    found = found[found.cluster.str.contains(whole_service(service, namespace), regex=False)]
    pods = {each["status"].get("podIP", ""): workload(each) for each in objects.list_("pods", namespace)}
    names = found.endpoint.str.rpartition(":")[0].map(pods).fillna("")
    columns = ["workload", "endpoint", "status", "outlier_check"]
    return found.assign(workload=names)[columns].sort_values("workload", ignore_index=True)


def wait_for_endpoints(
    pod: str,
    service: str,
    passing: int,
    namespace: str = NAMESPACE,
    timeout: float = 60.0,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Wait until so many of a service's endpoints pass an Envoy's outlier check: new ones come, ejected ones come back.

    Returns what `outliers` does. Raises LabError with the last state seen.
    """
    return backend.wait(
        f"{passing} endpoints of {service} in use",
        observe=lambda: outliers(pod, service, namespace),
        done=lambda found: (found.outlier_check == "OK").sum() == passing,
        state=lambda found: ", ".join(found.workload + ": " + found.outlier_check),
        timeout=timeout,
        report=report,
    )
