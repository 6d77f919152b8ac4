"""The line that a proxy writes for each request: who asked for what, and what became of it.

https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from labkit import backend
from labkit.mesh import bookinfo
from labkit.mesh.proxy.pods import Pod, find, with_proxy
from labkit.mesh.workloads import PROXY
from labkit.settings import NAMESPACE

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
_PLAIN, _QUOTED, _ANYTHING = r"(\S+)", r'"([^"]*)"', r'"(.*)"'
_IN_QUOTES = {
    "request",
    "upstream_transport_failure_reason",
    "x_forwarded_for",
    "x_request_id",
    "authority",
    "upstream_host",
}
# Envoy writes a header as it came: a user agent may hold quotation marks
_LINE = re.compile(
    " ".join(
        r"\[([^\]]*)\]" if name == "start_time"
        else _ANYTHING if name == "user_agent"
        else _QUOTED if name in _IN_QUOTES
        else _PLAIN
        for name in FIELDS
    )
)  # fmt: skip
_LINES = 1000  # of the log's end: enough for what was asked just now
WRITTEN = 2.5  # seconds


def entry(pod: str, path: str, timeout: float = 15) -> pd.DataFrame:
    """The newest line for a path in the pod's access log, taken apart: field, value (text; "-" where it has none).

    Fields carry the names of Envoy's command operators, in lower case; `duration` is in milliseconds. Waits until the
    line is there: Envoy writes its log once a second. Raises LabError where none comes, or the pod has no proxy.
    """
    import pandas as pd

    return pd.DataFrame(_newest(find(pod), path, timeout).items(), columns=["field", "value"])


def recent(pod: str) -> pd.DataFrame:
    """The requests in the pod's access log, the newest last, at most 1000: FIELDS as columns, all text.

    Envoy writes its log once a second. Raises LabError where the pod is not there, or has no proxy.
    """
    import pandas as pd

    lines = [parsed for line in _log(find(pod)).splitlines() if (parsed := parse(line))]
    return pd.DataFrame(lines, columns=list(FIELDS))


def since(ask: Callable[[], object], *pods: str, mark: str = "") -> list[str]:
    """Call `ask`; the lines that the pods' access logs got meanwhile, as they are, those with `mark` in them.

    Takes two seconds and a half more, as Envoy writes its log once a second. Raises LabError where a pod is not there,
    or has no proxy.
    """
    found = [find(pod) for pod in pods]
    before = [_marked(pod, mark) for pod in found]
    ask()
    backend.sleep(WRITTEN)
    return [line for pod, seen in zip(found, before, strict=True) for line in _new(_marked(pod, mark), seen)]


def follow(path: str, gateway: str = "deploy/istio-ingressgateway.istio-system", timeout: float = 15) -> pd.DataFrame:
    """Open a page and follow that request from the gateway on, as the proxies logged it, in the order of time.

    The log knows milliseconds: of lines that began in the same one, the longer request's comes first, for it waits for
    the other.
    Columns: proxy (the pod's), direction ("inbound" or "outbound"), authority, request, response_code, milliseconds.
    The lines belong together by `x-request-id`, which Envoy gives to each request at the gateway and which Bookinfo's
    services hand on: https://istio.io/latest/about/faq/#what-is-needed-for-distributed-tracing. Raises LabError where
    no line for this request comes.
    """
    import pandas as pd

    entrance = find(gateway)
    earlier = _ids(path, entrance)
    bookinfo.fetch(path)
    came_in = _newest(entrance, path, timeout, but_not=earlier)
    pods = [entrance, *with_proxy(NAMESPACE)]
    lines = backend.wait(
        f"The lines of the request for {path} in the proxies' access logs",
        observe=lambda: _of_request(came_in["x_request_id"], pods),
        done=_answered,
        state=lambda lines: f"{len(lines)} lines with its x-request-id",
        timeout=timeout,
    )
    frame = pd.DataFrame(lines)
    frame = frame.assign(
        direction=frame.upstream_cluster.str.extract("^(inbound|outbound)", expand=False),
        milliseconds=frame.duration.astype(int),
    ).sort_values(["start_time", "milliseconds"], ascending=[True, False], kind="stable", ignore_index=True)
    return frame[["proxy", "direction", "authority", "request", "response_code", "milliseconds"]]


def parse(line: str) -> dict[str, str]:
    """A line in Istio's default format, by field; empty where it is none."""
    found = _LINE.fullmatch(line.rstrip())
    return dict(zip(FIELDS, found.groups(), strict=True)) if found else {}


def _marked(pod: Pod, mark: str) -> list[str]:
    return [line for line in _log(pod).splitlines() if mark in line]


def _new(lines: list[str], seen: list[str]) -> list[str]:
    """Those behind the last that was there before: each bears the time, or the id, of its request."""
    return lines[lines.index(seen[-1]) + 1 :] if seen and seen[-1] in lines else lines


def _newest(pod: Pod, path: str, timeout: float, but_not: Set[str] = frozenset()) -> dict[str, str]:
    lines = backend.wait(
        f"A line for {path} in the access log of {pod['metadata']['name']}",
        observe=lambda: [line for line in _about(path, pod) if line["x_request_id"] not in but_not],
        done=bool,
        state=lambda lines: f"{len(lines)} lines for this path",
        timeout=timeout,
    )
    return lines[-1]


def _ids(path: str, pod: Pod) -> set[str]:
    return {line["x_request_id"] for line in _about(path, pod)}


def _log(pod: Pod) -> str:
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
    return backend.kubernetes("GET", path, query={"container": PROXY, "tailLines": str(_LINES)})


def _of_request(request_id: str, pods: list[Pod]) -> list[dict[str, str]]:
    logs = [(pod["metadata"]["name"], pod["metadata"].get("labels", {}).get("app", ""), _log(pod)) for pod in pods]
    parsed = [{"proxy": name, "app": app, **parse(line)} for name, app, log in logs for line in log.splitlines()]
    return [line for line in parsed if line.get("x_request_id") == request_id]


def _answered(lines: list[dict[str, str]]) -> bool:
    """Whether each call between two proxies was logged at both of its ends: each proxy writes when it sees fit."""
    clusters = [line["upstream_cluster"].split("|") for line in lines]
    called = Counter(cluster[3].partition(".")[0] for cluster in clusters if cluster[0] == "outbound")
    served = Counter(line["app"] for line in lines if line["upstream_cluster"].startswith("inbound"))
    return bool(served) and called == served


def _about(path: str, pod: Pod) -> list[dict[str, str]]:
    lines = map(parse, _log(pod).splitlines())
    return [line for line in lines if f" {path} " in line.get("request", "")]
