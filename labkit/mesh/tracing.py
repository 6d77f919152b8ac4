"""One request as all proxies tell it: spans, read from the Jaeger that Istio's release brings.

https://istio.io/latest/docs/tasks/observability/distributed-tracing/ and, for the words,
https://opentelemetry.io/docs/concepts/signals/traces/
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import bookinfo, objects
from labkit.mesh.istio import GATEWAYS, NAMESPACE
from labkit.mesh.proxy.pods import Pod, with_proxy
from labkit.mesh.workloads import PROXY
from labkit.settings import NAMESPACE as READER
from labkit.settings import settings

if TYPE_CHECKING:
    import pandas as pd

NAME = "jaeger"
SPANS = ["trace", "span", "parent", "service", "side", "peer", "begins", "milliseconds", "status", "flags", "error"]
_SPANS = "tracing.opentelemetry.min_flush_spans"
_PATIENCE = 6.0  # seconds: a proxy holds spans back for 5 at most
_AT_THE_GATEWAY = {"service": f"{GATEWAYS[0]}.{NAMESPACE}"}
_API = f"/api/v1/namespaces/{NAMESPACE}/services/tracing:80/proxy/jaeger/api"
_DEPLOY = "`mesh.tracing.deploy()` installs it: `kubectl apply -f samples/addons/jaeger.yaml`"

Span = dict[str, Any]


def manifest() -> Path:
    """Istio's addon, from the release."""
    return settings().release_folder / "samples" / "addons" / "jaeger.yaml"


def deploy(report: Callable[[str], None] = lambda _: None) -> None:
    """Install the addon, and wait until it answers. Raises LabError with the last state seen."""
    objects.apply(manifest(), namespace=NAMESPACE)
    objects.wait_available([NAME], NAMESPACE, report)
    backend.wait(
        "Jaeger's answer",
        observe=_answers,
        done=bool,
        state=lambda answers: "it answers" if answers else "no endpoint yet",
        timeout=60,
        report=report,
    )


def is_installed() -> bool:
    """Whether the addon is there, ready or not."""
    return objects.find("deployments", NAME, NAMESPACE, group="apps") is not None


def remove() -> None:
    """Delete the addon, and all traces with it, and undo `send_at_once`; where it is not installed, nothing happens."""
    _set_in_proxies("")
    objects.delete(manifest(), namespace=NAMESPACE)


def send_at_once() -> None:
    """Have each proxy of the reader's namespace and of Istio's send a span as soon as it has one, until it restarts.

    Stands for `pilot-agent request POST` in each: Envoy keeps spans until it has five, or for five seconds.
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/trace/v3/opentelemetry.proto
    """
    _set_in_proxies("1")


def _set_in_proxies(spans: str) -> None:
    """After how many spans a proxy sends; "" for as many as without us. One that is on its way out need not hear it.

    https://www.envoyproxy.io/docs/envoy/latest/operations/admin#post--runtime_modify?key1=value1&key2=value2&keyN=valueN
    """

    def tell(pod: Pod) -> None:
        where = [pod["metadata"]["name"], f"--namespace={pod['metadata']['namespace']}", f"--container={PROXY}"]
        request = ["pilot-agent", "request", "POST", f"runtime_modify?{_SPANS}={spans}"]
        backend.run(["kubectl", "exec", *where, "--", *request], check=False)

    with backend.threads() as pool:
        list(pool.map(tell, [*with_proxy(READER), *with_proxy(NAMESPACE)]))


def follow(path: str = bookinfo.PAGE, headers: Mapping[str, str] | None = None, times: int = 1) -> pd.DataFrame:
    """Open a page through the gateway, and wait for what the proxies tell of it: see `spans`.

    Of so many pages, the one of which most is told. Each request brings a `traceparent` of its own, so that it is known
    by its trace (https://www.w3.org/TR/trace-context/#traceparent-header), and `x-client-trace-id`, so that it is kept
    (https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-client-trace-id). Where the
    two sides of a call do not come in 6 s, longer than a proxy holds its spans back, it is told without them. Raises
    LabError where nothing comes at all.
    """
    traces = [_asked(path, headers) for _ in range(times)]
    until = backend.now() + _PATIENCE
    return _frame(max((_followed(trace, until) for trace in traces), key=len))


def freshness(times: int = 20, path: str = bookinfo.PAGE) -> pd.Series:
    """Milliseconds from a page's answer until the whole of its trace is in the store, for so many pages.

    NaN where it is not whole after 6 s: what a proxy cannot send it drops. The store is asked every 50 ms.
    """
    import pandas as pd

    return pd.Series([_fresh_after(path) for _ in range(times)], name="milliseconds")


def kept(times: int, path: str = bookinfo.PAGE) -> int:
    """Open a page so many times, in no trace of the caller's: how many of them the gateway decided to keep.

    Before it counts, it waits longer than a proxy holds its spans back.
    """
    newest = max((row["at"] for row in _newest()), default=0)
    for _ in range(times):
        bookinfo.fetch(path)
    backend.sleep(_PATIENCE)
    found = _get("traces", {**_AT_THE_GATEWAY, "limit": str(2 * times), "start": f"{newest + 1:.0f}"})
    return sum(min((row["at"] for row in parse(_mapping(trace))), default=0) > newest for trace in found)


def services() -> list[str]:
    """Those that Jaeger has spans of, sorted, as NAME.NAMESPACE. Raises LabError where it is not there or not ready."""
    return sorted(map(str, _get("services", {})))


def spans(trace: str) -> pd.DataFrame:
    """What the proxies told of a request, a call before those that it led to; empty where the store knows nothing.

    Columns: trace, span, parent (identifiers; parent is "" for the first), service, side ("client" tells of a request
    that a proxy sent, "server" of one that it took), peer (whom a client called, else ""), begins (ms after the first
    span), milliseconds, status (HTTP; 0 where no answer came), flags (Envoy's response flags, "" for none), error.
    Raises LabError where Jaeger is not installed or not ready.
    """
    return _frame(_stored(trace))


def tags(trace: str, service: str) -> dict[str, str]:
    """What the service's own proxy noted of a request that it took: tag → value, as text; {} where it told nothing.

    https://istio.io/latest/docs/tasks/observability/distributed-tracing/telemetry-api/#customizing-tags
    """
    took = [row for row in _stored(trace) if row["service"] == service and row["side"] == "server"]
    return dict(took[0]["tags"]) if took else {}


def find(service: str, slower_than: float = 0, errors: bool = False, limit: int = 20) -> pd.DataFrame:
    """The newest traces that lead through a service, the newest first, one a row.

    service: its name, followed by its namespace where that is not the reader's (`jaeger.istio-system`). slower_than:
    milliseconds that a span of the service's took at least. errors: only those in which a span of the service's failed.
    Where there is none, it waits for one for 6 s, longer than a proxy holds its spans back.
    Columns: trace, begun (UTC), spans, services (how many of each), milliseconds (from the first moment to the last),
    errors (spans that failed). Raises LabError where Jaeger is not installed or not ready.
    """
    import pandas as pd

    asked = {"service": service if "." in service else f"{service}.{READER}", "limit": str(limit), "lookback": "1h"}
    asked |= {"minDuration": f"{slower_than:g}ms"} if slower_than else {}
    asked |= {"tags": json.dumps({"error": "true"})} if errors else {}
    until = backend.now() + _PATIENCE
    found = backend.wait(
        f"A trace through {service}",
        observe=lambda: _get("traces", asked),
        done=lambda found: bool(found) or backend.now() > until,
        state=lambda found: f"{len(found)} of them",
        timeout=2 * _PATIENCE,
    )
    rows = [_summary(parse(trace)) for trace in found]
    columns = ["trace", "begun", "spans", "services", "milliseconds", "errors"]
    frame = pd.DataFrame(rows, columns=columns).sort_values("begun", ascending=False, ignore_index=True)
    return frame.assign(begun=pd.to_datetime(frame["begun"], unit="us", utc=True).dt.round("ms"))


def parse(trace: Mapping[str, Any]) -> list[Span]:
    """A trace as Jaeger's API tells it: rows of `spans` in their order, with `at` (µs since 1970), `tags` and `cause`
    beside: the span that led to it, whether the store has that or not.

    What is missing there, or of another type, is empty: spans come from whoever sends some.
    https://www.jaegertracing.io/docs/latest/architecture/apis/
    """
    names = {key: _text(_mapping(each).get("serviceName")) for key, each in _mapping(trace.get("processes")).items()}
    rows = {row["span"]: row for row in (_row(_mapping(span), names) for span in _list(trace.get("spans")))}
    rooted = [{**row, "parent": row["cause"] if row["cause"] in rows else ""} for row in rows.values()]
    first = min((row["at"] for row in rooted), default=0)
    return [{**row, "begins": (row["at"] - first) / 1000} for row in _by_call(rooted)]


def is_whole(rows: list[Span], cause: str) -> bool:
    """Whether all that belongs together is there: one beginning, which the span `cause` led to, and for each call that
    reached a proxy its other side.

    rows: of `parse`. A call that the caller's own proxy answered, as a fault or for want of a server, has one side.
    """
    beginnings = [row["cause"] for row in rows if not row["parent"]]
    served = {row["parent"] for row in rows if row["side"] == "server"}
    sent = [row for row in rows if row["side"] == "client" and not row["error"]]
    return beginnings == [cause] and all(row["span"] in served for row in sent)


def _followed(trace: str, until: float) -> list[Span]:
    return backend.wait(
        f"Trace {trace} in Jaeger",
        observe=lambda: _stored(trace),
        done=lambda rows: bool(rows) and (is_whole(rows, _cause(trace)) or backend.now() > until),
        state=lambda rows: f"{len(rows)} spans of it" if rows else "nothing of it",
        timeout=2 * _PATIENCE,
        every=0.05,
    )


def _asked(path: str, headers: Mapping[str, str] | None = None) -> str:
    """Open a page in a trace of its own, which is to be kept; its identifier."""
    trace = str(backend.work("name a trace", lambda _: secrets.token_hex(16)))
    known = {"traceparent": f"00-{trace}-{_cause(trace)}-01", "x-client-trace-id": trace}
    bookinfo.fetch(path, {**(headers or {}), **known})
    return trace


def _cause(trace: str) -> str:
    """The span that we pretend to be."""
    return trace[:16]


def _fresh_after(path: str) -> float:
    trace = _asked(path)
    answered = backend.now()
    rows = _followed(trace, answered + _PATIENCE)
    return round((backend.now() - answered) * 1000, 1) if is_whole(rows, _cause(trace)) else float("nan")


def _newest() -> list[Span]:
    """By the store's own clock, which need not be this machine's."""
    return [row for trace in _get("traces", {**_AT_THE_GATEWAY, "limit": "1"}) for row in parse(_mapping(trace))]


def _stored(trace: str) -> list[Span]:
    return [row for found in _get(f"traces/{trace}", {}) for row in parse(_mapping(found))]


def _get(path: str, asked: Mapping[str, str]) -> list[Any]:
    try:
        return _list(_mapping(json.loads(backend.kubernetes("GET", f"{_API}/{path}", query=asked))).get("data"))
    except backend.KubernetesError as error:
        if error.status == 404 and "trace not found" in error.why:
            return []
        raise _explained(error) from None


def _explained(error: backend.KubernetesError) -> LabError:
    if error.status == 404:
        return LabError("Jaeger is not installed.", error.why, _DEPLOY)
    if error.status == 503:
        return LabError("Jaeger is not ready.", error.why, _DEPLOY)
    return error


def _answers() -> bool:
    try:
        return bool(backend.kubernetes("GET", f"{_API}/services"))
    except backend.KubernetesError as error:
        if error.status == 503:  # available, and not yet behind its Service
            return False
        raise


def _row(span: Mapping[str, Any], names: Mapping[str, str]) -> Span:
    tags = {_text(tag.get("key")): _tag(tag.get("value")) for tag in map(_mapping, _list(span.get("tags")))}
    flags, cluster = tags.get("response_flags", "-"), tags.get("upstream_cluster", "")
    side = tags.get("span.kind", "")
    host = cluster.split("|")[3] if cluster.count("|") == 3 else ""
    return {
        "trace": _text(span.get("traceID")),
        "span": _text(span.get("spanID")),
        "cause": next((_text(_mapping(each).get("spanID")) for each in _list(span.get("references"))), ""),
        "service": names.get(_text(span.get("processID")), "").partition(".")[0],
        "side": side,
        "peer": host.partition(".")[0] if side == "client" else "",
        "at": _number(span.get("startTime")),
        "milliseconds": _number(span.get("duration")) / 1000,
        "status": int(_number(tags.get("http.status_code"))),
        "flags": "" if flags == "-" else flags,
        "error": tags.get("error") == "true",
        "tags": tags,
    }


def _by_call(rows: list[Span]) -> list[Span]:
    """Each span before those that it led to, and these in the order of time; none twice, whatever leads in a circle."""
    waiting = sorted(rows, key=lambda row: row["at"], reverse=True)
    below: dict[str, list[Span]] = {}
    for row in waiting:
        below.setdefault(row["parent"], []).append(row)
    ordered, stack = {}, below.get("", [])
    while stack:
        row = stack.pop()
        ordered[row["span"]] = row
        stack += [each for each in below.get(row["span"], []) if each["span"] not in ordered]
    return list(ordered.values())


def _summary(rows: list[Span]) -> dict[str, Any]:
    first = min((row["at"] for row in rows), default=0)
    return {
        "trace": rows[0]["trace"] if rows else "",
        "begun": first,
        "spans": len(rows),
        "services": len({row["service"] for row in rows}),
        "milliseconds": max((row["begins"] + row["milliseconds"] for row in rows), default=0.0),
        "errors": sum(row["error"] for row in rows),
    }


def _frame(rows: list[Span]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{column: row[column] for column in SPANS} for row in rows], columns=SPANS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if isfinite(number) else 0.0
