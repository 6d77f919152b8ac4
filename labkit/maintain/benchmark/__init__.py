"""What `make bench` measures, a part a file; the figures go to bench.json."""

from __future__ import annotations

import json
import platform

from labkit import backend
from labkit.cluster import sources
from labkit.errors import LabError
from labkit.maintain.benchmark import course, goto, images, propagation, recorded, telemetry, up
from labkit.maintain.benchmark.around import Figures
from labkit.progress import Progress, Report
from labkit.settings import ISTIO, KIND, KUBERNETES, REPOSITORY, settings

RESULT = REPOSITORY / "bench.json"
PARTS = {
    "up": up.measure,
    "images": images.measure,
    "telemetry": telemetry.measure,
    "propagation": propagation.measure,
    "goto": goto.measure,
    "course": course.measure,
    "recorded": recorded.measure,
}
_MIB = 2**20


def run(parts: list[str], report: Report) -> Figures:
    """Measure some of PARTS, all without any; merge the figures into bench.json and return it."""
    progress = Progress(report, backend.now)
    if unknown := set(parts) - set(PARTS):
        raise LabError(
            f"There is nothing called {', '.join(sorted(unknown))} to measure.",
            f"the parts are {', '.join(PARTS)}",
            "name one of them, or none for all",
        )
    figures = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in parts or PARTS:
        figures |= PARTS[part](progress)
    figures |= _machine()
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def _machine() -> Figures:
    import psutil

    return {
        "cpus": psutil.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // _MIB,
        "architecture": settings().architecture,
        "kernel": platform.release(),
        "istio": ISTIO,
        "kubernetes": KUBERNETES,
        "kind": KIND,
        "source": sources.choose().name,
    }
