"""What an Envoy counted of a service that it calls.

https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.mesh.proxy.describe import address, whole_service
from labkit.mesh.proxy.frames import hosts
from labkit.mesh.proxy.pods import admin, find
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd


def counters(pod: str, service: str, *names: str, namespace: str = NAMESPACE) -> pd.Series:
    """Some of an Envoy's counters for a service (`upstream_rq_retry`), by name, in the order asked for; int.

    They count since the proxy started: what one came to meanwhile is the difference of two. Raises LabError where the
    proxy keeps no such counter: Istio's create few unless the pod's `proxyStatsMatcher` asks for more, and one that is
    not there is not 0.
    https://istio.io/latest/docs/ops/configuration/telemetry/envoy-stats/
    """
    import pandas as pd

    with admin(find(pod)) as get:
        values = read(get, service, names, namespace)
    return pd.Series(values, dtype=int, name=service)


def endpoint_requests(pod: str, service: str, namespace: str = NAMESPACE) -> pd.Series:
    """How many requests an Envoy sent to each endpoint of a service since it knows it, by address and port; int.

    The caller's own count: it holds whatever the servers take the requests for. `rq_total` of
    https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--clusters
    """
    import pandas as pd

    whole = whole_service(service, namespace)
    with admin(find(pod)) as get:
        called = [host for cluster, host in hosts(get) if whole in cluster]
    sent = {
        address(host.get("address", {})): sum(
            int(stat.get("value", 0)) for stat in host.get("stats", []) if stat["name"] == "rq_total"
        )
        for host in called
    }
    return pd.Series(sent, dtype=int, name=service)


def read(get: Callable[[str], str], service: str, names: tuple[str, ...], namespace: str) -> dict[str, int]:
    """The same over a connection that is open already; the ports of a service are added up, its subsets left out."""
    path = f"/stats?format=json&filter={service}.{namespace}.svc.*({'|'.join(names)})$"
    host = whole_service(service, namespace)
    kept = [stat for stat in json.loads(get(path))["stats"] if host in stat.get("name", "")]
    values = {name: [stat["value"] for stat in kept if stat["name"].endswith(f".{name}")] for name in names}
    missing = [name for name, found in values.items() if not found]
    if missing:
        raise LabError(
            f"The proxy does not count {', '.join(missing)} of {service}.",
            "it knows no such service, or its pod's `proxyStatsMatcher` leaves these counters out",
            "ask the Envoy of `deploy/fortio-deploy`, which keeps them all, once it has called the service",
        )
    return {name: sum(found) for name, found in values.items()}
