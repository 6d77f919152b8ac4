"""What a circuit breaker turns away, for each pair of load and limit.

https://istio.io/latest/docs/tasks/traffic-management/circuit-breaking/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.mesh import objects
from labkit.mesh.proxy.clock import propagate
from labkit.mesh.proxy.counters import read
from labkit.mesh.proxy.pods import admin, find
from labkit.mesh.traffic.fortio import FORTIO, load
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

OVERFLOWS = "upstream_rq_pending_overflow"
CALLER = f"deploy/{FORTIO}"
RATE = 25  # requests a second on each connection; all connections ask at the same moments
_GROUP = "networking.istio.io"
_COLUMNS = ["connections", "pending_limit", "calls", "refused", "overflows", "overflow_share"]


def breaker_sweep(
    service: str,
    url: str,
    connections: Sequence[int] = (1, 2, 4, 8),
    pending_limits: Sequence[int] = (1, 2, 4),
    rounds: int = 12,
    namespace: str = NAMESPACE,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[pd.DataFrame]:
    """Let fortio ask `url` over each number of connections, with each limit of requests that may wait for one of the
    service's single connection; each connection asks `rounds` times. Yields the whole frame whenever a row is measured.

    Columns: connections, pending_limit (http1MaxPendingRequests), calls, refused (answers 503, by fortio), overflows
    (by the counter upstream_rq_pending_overflow of fortio's Envoy), overflow_share (overflows by calls, 0 to 1; NaN in
    rows that are still to come).

    The limits are set in the service's DestinationRule, or one that is made for it; however the sweep ends, it is as it
    was before. Raises as `load`, `mesh.proxy.counters` and `propagate` do.
    """
    import pandas as pd

    caller = f"{CALLER}.{namespace}"
    pairs = list(product(pending_limits, connections))
    measured: list[tuple[float, ...]] = []
    with admin(find(caller)) as get, _own_rule(service, namespace) as rule:
        before = _overflows(get, service, namespace)
        for limit, number in pairs:
            report(f"pending limit {limit}, {number} connections")
            if number == connections[0]:
                propagate(_limited(rule, limit), pods=[caller])
            seen = load(url, number, rounds * number, qps=RATE * number, namespace=namespace)
            after = _overflows(get, service, namespace)
            overflows, before = after - before, after
            measured.append(
                (number, limit, seen.calls, seen.codes.get(503, 0), overflows, overflows / seen.calls),
            )
            yield pd.DataFrame([*measured, *map(_to_come, pairs[len(measured) :])], columns=_COLUMNS)


def _to_come(pair: tuple[int, int]) -> tuple[float, ...]:
    limit, number = pair
    return (number, limit, *[math.nan] * (len(_COLUMNS) - 2))


def _overflows(get: Callable[[str], str], service: str, namespace: str) -> int:
    return read(get, service, (OVERFLOWS,), namespace)[OVERFLOWS]


@contextmanager
def _own_rule(service: str, namespace: str) -> Iterator[dict[str, Any]]:
    """The service's DestinationRule, or one to begin with; afterwards things are as they were."""
    rules = objects.list_("destinationrules", namespace, group=_GROUP)
    there = next((rule for rule in rules if rule["spec"]["host"].partition(".")[0] == service), None)
    name = there["metadata"]["name"] if there else service
    rule = {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": namespace},
        "spec": there["spec"] if there else {"host": service},
    }
    try:
        yield rule
    finally:
        if there:
            propagate(rule, pods=[f"{CALLER}.{namespace}"])
        else:
            backend.run(["kubectl", "delete", "destinationrule", name, "--namespace", namespace, "--ignore-not-found"])


def _limited(rule: dict[str, Any], pending: int) -> dict[str, Any]:
    """The rule with a single connection, and so many requests that may wait for it."""
    pool = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": pending}}
    policy = {**rule["spec"].get("trafficPolicy", {}), "connectionPool": pool}
    return {**rule, "spec": {**rule["spec"], "trafficPolicy": policy}}
