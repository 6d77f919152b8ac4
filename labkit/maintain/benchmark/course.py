"""All notebooks in their order, as the tests run them: on a cluster of their own, which they make and delete."""

from __future__ import annotations

import sys

from labkit import backend
from labkit.maintain.benchmark.around import NOT_TIMED, Figures, memory
from labkit.progress import Progress
from labkit.settings import REPOSITORY

CLUSTER = "istio-lab-test"  # as tests/pytest_live.py calls it


def measure(progress: Progress) -> Figures:
    """One run: its seconds, and the node's peak memory in MiB."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-sanitize-with=tests/sanitize.cfg", "notebooks"]
    with progress.stage("all notebooks") as note, memory(CLUSTER) as peak:
        started = backend.now()
        backend.run(command, cwd=REPOSITORY, on_line=note, timeout=NOT_TIMED)
        seconds = backend.now() - started
    return {"course_live_seconds": round(seconds, 1), "course_peak_mib": round(peak())}
