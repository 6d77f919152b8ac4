"""Read and change the mesh. Raw answers come in; frozen dataclasses and DataFrames go out."""

from labkit.mesh import bookinfo, certificates, dns, injection, istio, proxy, telemetry, traffic
from labkit.mesh.workloads import pods, services

__all__ = [
    "bookinfo", "certificates", "dns", "injection", "istio", "pods", "proxy", "services", "telemetry", "traffic",
]  # fmt: skip
