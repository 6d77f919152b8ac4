"""`labkit images`: from nothing, and with nothing left to do."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import backend
from labkit.cluster import images
from labkit.cluster.packages import build
from labkit.maintain.benchmark.around import NOT_TIMED, RUNS, Figures
from labkit.progress import Progress


def measure(progress: Progress) -> Figures:
    """Cold once, with none of the caches of compilers and packagers; unchanged, the median of three runs."""
    unchanged = []
    _labkit_images({}, progress, "once, so that nothing is left to do")
    for turn in range(1, RUNS + 1):
        unchanged.append(_labkit_images({}, progress, f"unchanged, run {turn}"))
    _forget_images()
    with TemporaryDirectory(prefix="istio-lab-cold-") as folder:
        caches = {"LABKIT_CACHE": "cache", "GOCACHE": "go-build", "GOMODCACHE": "go-mod", "PIP_CACHE_DIR": "pip",
                  "npm_config_cache": "npm", "MAVEN_OPTS": "maven"}  # fmt: skip
        env = {name: str(Path(folder) / value) for name, value in caches.items()}
        env["MAVEN_OPTS"] = f"-Dmaven.repo.local={folder}/maven"
        cold = _labkit_images({**env, "GOFLAGS": "-modcacherw"}, progress, "cold")
    return {"images_cold_seconds": round(cold, 1), "images_unchanged_seconds": round(statistics.median(unchanged), 1)}


def _forget_images() -> None:
    """What the course built in the engine; the cold run builds it again."""
    for mark in (f"label={build.LABEL}", f"reference={images.NODE}"):
        found = backend.run(["docker", "image", "ls", "--quiet", "--filter", mark]).stdout.split()
        if found:
            backend.run(["docker", "image", "rm", "--force", *dict.fromkeys(found)])


def _labkit_images(env: dict[str, str], progress: Progress, what: str) -> float:
    with progress.stage(f"labkit images, {what}") as note:
        started = backend.now()
        backend.run([sys.executable, "-m", "labkit.cli", "images"], env=env, on_line=note, timeout=2 * NOT_TIMED)
        return backend.now() - started
