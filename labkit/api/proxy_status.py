"""`istioctl proxy-status` of a recorded mesh: in a live one istioctl asks istiod over gRPC, which nothing here serves.

The form is istioctl's own, what stands in it is what istiod told under /debug/syncz:
https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit.api import views
from labkit.api.getting import Said
from labkit.api.recorded import State, age
from labkit.commands import Words
from labkit.settings import DEBUG_PORT

SYNCZ = "/debug/syncz"
_TAKES = {"namespace", "output", "verbosity"}
_GAP = 5
_ENVOY = "type.googleapis.com/envoy.config"
# In this order; what else is asked for comes after them, by its type's whole name.
_FIRST = {
    f"{_ENVOY}.cluster.v3.Cluster": "CDS", f"{_ENVOY}.listener.v3.Listener": "LDS",
    f"{_ENVOY}.endpoint.v3.ClusterLoadAssignment": "EDS", f"{_ENVOY}.route.v3.RouteConfiguration": "RDS",
}  # fmt: skip
_EXTENSION = f"{_ENVOY}.core.v3.TypedExtensionConfig"
_SHORT = {
    **_FIRST, _EXTENSION: "ECDS", "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret": "SDS",
    "type.googleapis.com/istio.networking.nds.v1.NameTable": "NDS",
    "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig": "PCDS",
}  # fmt: skip


@dataclass(frozen=True)
class _Proxy:
    """What an istiod tells of a proxy that is connected to it. types: what was sent of each, by the type's name."""

    name: str
    cluster: str
    istiod: str
    version: str
    types: Mapping[str, Mapping[str, Any]]


def proxy_status(state: State, at: float, said: Words) -> Said | None:
    """What it prints, all proxies or a namespace's, short or verbose; None for a form that this does not know."""
    form, verbosity = said.flags.get("output", ["table"])[-1], said.flags.get("verbosity", ["0"])[-1]
    if set(said.flags) - _TAKES or said.arguments or form != "table" or verbosity not in ("0", "1"):
        return None
    within = said.flags.get("namespace", [""])[-1]
    found = [each for each in _proxies(state) if within in ("", each.name.rpartition(".")[2])]
    lines = _verbose(found, at) if verbosity == "1" else _short(found)
    return Said(0, _columns([*lines])) if any(what == views.VIEW and SYNCZ in name for what, name in state) else None


def _proxies(state: State) -> list[_Proxy]:
    found = [
        _Proxy(each["proxy"], each["cluster_id"], name.partition("/")[2].partition(":")[0], each["istio_version"],
               each.get("resources") or {})
        for (what, name), text in state.items()
        if what == views.VIEW and name.endswith(f":{DEBUG_PORT} {SYNCZ}")
        for each in json.loads(text)
    ]  # fmt: skip
    return sorted(found, key=lambda proxy: proxy.name)


def _short(proxies: Sequence[_Proxy]) -> Iterator[list[str]]:
    yield ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"]
    for proxy in proxies:
        types = [_SHORT.get(each, each) for each in (*_FIRST, *sorted(proxy.types.keys() - _FIRST.keys()))
                 if each in proxy.types]  # fmt: skip
        subscribed = f"{len(types)} ({','.join(types)})" if types else "0"
        yield [proxy.name, proxy.cluster, proxy.istiod, proxy.version, subscribed]


def _verbose(proxies: Sequence[_Proxy], at: float) -> Iterator[list[str]]:
    types = sorted({*_FIRST, _EXTENSION, *(each for proxy in proxies for each in proxy.types)})
    yield ["NAME", "CLUSTER", *(_SHORT.get(each, each) for each in types), "ISTIOD", "VERSION"]
    for proxy in proxies:
        states = [_status(proxy.types.get(each), at) for each in types]
        yield [proxy.name, proxy.cluster, *states, proxy.istiod, proxy.version]


def _status(sent: Mapping[str, Any] | None, at: float) -> str:
    """https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/status/v3/csds.proto"""
    if sent is None:
        return "IGNORED"
    if not sent.get("sent") and not sent.get("lastError"):
        return "NOT SENT"
    status = "ERROR" if sent.get("lastError") else "SYNCED" if sent["sent"] == sent.get("acked") else "STALE"
    since = datetime.fromisoformat(sent["sentTime"]).timestamp()
    return f"{status} ({age(at - since)})"


def _columns(lines: Sequence[Sequence[str]]) -> str:
    widths = [_GAP + max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("".join(map(str.ljust, line[:-1], widths)) + line[-1] + "\n" for line in lines)
