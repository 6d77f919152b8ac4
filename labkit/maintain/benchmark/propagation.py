"""How soon a change is in every proxy, by the propagation clock, and by asking istioctl again and again."""

from __future__ import annotations

from typing import Any

from labkit import backend
from labkit.maintain.benchmark.around import Figures, mesh, quantile
from labkit.mesh import objects, proxy
from labkit.progress import Progress
from labkit.settings import NAMESPACE

CHANGES = 20
POLLED_CHANGES = 10
POLLED = "productpage-v1"
_TIMEOUT = 30.0  # seconds


def measure(progress: Progress) -> Figures:
    """Milliseconds over all proxies and changes; those of istioctl for the one proxy that it is asked about."""
    with mesh("propagation", progress):
        proxy.propagate(_delayed(1))
        with progress.stage("the propagation clock"):
            clock = [each for turn in range(CHANGES) for each in proxy.propagate(_delayed(2 + turn)).milliseconds]
        with progress.stage("asking istioctl"):
            polled = [_polled(_delayed(90 - turn), f'"0.0{90 - turn}s"') for turn in range(POLLED_CHANGES)]
    return {
        "propagation_p50_ms": round(quantile(clock, 50)),
        "propagation_p95_ms": round(quantile(clock, 95)),
        "propagation_istioctl_p50_ms": round(quantile(polled, 50)),
        "propagation_istioctl_p95_ms": round(quantile(polled, 95)),
    }


def _delayed(milliseconds: int) -> dict[str, Any]:
    """A route that is another one for each delay; hardly a request is delayed."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
        "spec": {
            "hosts": ["reviews"],
            "http": [
                {
                    "fault": {"delay": {"percentage": {"value": 0.1}, "fixedDelay": f"{milliseconds}ms"}},
                    "route": [{"destination": {"host": "reviews"}}],
                }
            ],
        },
    }


def _polled(document: dict[str, Any], text: str) -> float:
    """Milliseconds from the change until `istioctl proxy-config routes` shows it."""
    argv = ["istioctl", "proxy-config", "routes", f"deploy/{POLLED}", "--namespace", NAMESPACE, "--output", "json"]
    began = backend.now()
    objects.put(document)
    backend.wait(
        f"{text} in the routes of {POLLED}",
        observe=lambda: backend.run(argv).stdout,
        done=lambda routes: text in routes,
        state=lambda routes: f"{len(routes):,} characters without it",
        timeout=_TIMEOUT,
    )
    return (backend.now() - began) * 1000
