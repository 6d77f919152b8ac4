"""Envoy in any pod: what it is configured with, what changed in it, and how soon it takes up a change.

All of it is read from Envoy's own administration interface, over a port-forward, as istioctl proxy-config does.
https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/

A pod is named as for istioctl: `NAME`, or `deploy/NAME` for the newest pod of a Deployment, with `.NAMESPACE` behind
it where that is not the course's own: `deploy/istio-ingressgateway.istio-system`.
"""

from labkit.mesh.proxy.changes import diff
from labkit.mesh.proxy.clock import Propagation, propagate, propagation, wait_until_applied
from labkit.mesh.proxy.counters import counters, endpoint_requests
from labkit.mesh.proxy.discovery import discovery
from labkit.mesh.proxy.dump import Snapshot, snapshot
from labkit.mesh.proxy.frames import bootstrap, clusters, endpoints, listeners, made_from, routes, secrets
from labkit.mesh.proxy.outliers import outliers, wait_for_endpoints
from labkit.mesh.proxy.status import rejected, sync_status

__all__ = [
    "Propagation", "Snapshot", "bootstrap", "clusters", "counters", "diff", "discovery", "endpoint_requests",
    "endpoints", "listeners", "made_from", "outliers", "propagate", "propagation", "rejected", "routes", "secrets",
    "snapshot", "sync_status", "wait_for_endpoints", "wait_until_applied",
]  # fmt: skip
