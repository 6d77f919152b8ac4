"""The line that a proxy writes for each request: who asked for what, and what became of it.

https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labkit import backend
from labkit.mesh.proxy.pods import find
from labkit.mesh.workloads import PROXY

if TYPE_CHECKING:
    import pandas as pd

# Envoy's command operators in the order of Istio's format, which quotes what may hold a space.
FIELDS = (
    "start_time", "request", "response_code", "response_flags", "response_code_details",
    "connection_termination_details", "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration",
    "upstream_service_time", "x_forwarded_for", "user_agent", "x_request_id", "authority", "upstream_host",
    "upstream_cluster", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
    "requested_server_name", "route_name",
)  # fmt: skip
_FIELD = re.compile(r'^\[([^\]]*)\]|"([^"]*)"|(\S+)')
_LINES = 1000  # of the log's end: enough for what was asked just now


def entry(pod: str, path: str, timeout: float = 15) -> pd.DataFrame:
    """The newest line for a path in the pod's access log, taken apart: field, value (text; "-" where it has none).

    Fields carry the names of Envoy's command operators, in lower case; `duration` is in milliseconds. Waits until the
    line is there: Envoy writes its log once a second. Raises LabError where none comes, or the pod has no proxy.
    """
    import pandas as pd

    meta = find(pod)["metadata"]
    log, end = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log", {"tailLines": str(_LINES)}
    lines = backend.wait(
        f"A line for {path} in the access log of {meta['name']}",
        observe=lambda: _about(path, backend.kubernetes("GET", log, query={"container": PROXY, **end})),
        done=bool,
        state=lambda lines: f"{len(lines)} lines for this path",
        timeout=timeout,
    )
    return pd.DataFrame(parse(lines[-1]).items(), columns=["field", "value"])


def parse(line: str) -> dict[str, str]:
    """A line in Istio's default format, by field; empty where it is none."""
    values = ["".join(found) for found in _FIELD.findall(line)]
    return dict(zip(FIELDS, values, strict=True)) if len(values) == len(FIELDS) else {}


def _about(path: str, log: str) -> list[str]:
    return [line for line in log.splitlines() if f" {path} " in parse(line).get("request", "")]
