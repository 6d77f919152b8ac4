"""Requests to the mesh, and what became of each: one by one, steadily, or as many as it takes."""

from labkit.mesh.traffic.breaker import OVERFLOWS, breaker_sweep
from labkit.mesh.traffic.client import CLIENT, deploy_client, requests
from labkit.mesh.traffic.fortio import Load, deploy_fortio, load
from labkit.mesh.traffic.share import Share, binomial, share
from labkit.mesh.traffic.steady import Sent, Steady, start, stop

__all__ = [
    "CLIENT", "OVERFLOWS", "Load", "Sent", "Share", "Steady",
    "binomial", "breaker_sweep", "deploy_client", "deploy_fortio", "load", "requests", "share", "start", "stop",
]  # fmt: skip
