"""Read and change the mesh. Raw answers come in; frozen dataclasses and DataFrames go out."""

from labkit.mesh import bookinfo, certificates, injection, istio, leftovers, proxy, telemetry, traffic
from labkit.mesh.workloads import pods, services

__all__ = [
    "bookinfo", "certificates", "injection", "istio", "leftovers", "pods", "proxy", "services", "telemetry", "traffic",
]  # fmt: skip
