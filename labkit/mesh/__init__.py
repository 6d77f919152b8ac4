"""Read and change the mesh. Raw answers come in; frozen dataclasses and DataFrames go out."""

from labkit.mesh import (
    access,
    access_log,
    bookinfo,
    certificates,
    dns,
    helm,
    injection,
    istio,
    leftovers,
    proxy,
    telemetry,
    tokens,
    tracing,
    traffic,
)
from labkit.mesh.workloads import pods, services

__all__ = [
    "access", "access_log", "bookinfo", "certificates", "dns", "helm", "injection", "istio", "leftovers", "pods",
    "proxy", "services", "telemetry", "tokens", "tracing", "traffic",
]  # fmt: skip
