"""`labkit up` against the documented path, side by side on one machine, with the same images.

The documented path is what Istio's and kind's own pages say, command by command:
https://istio.io/latest/docs/setup/getting-started/ and https://kind.sigs.k8s.io/docs/user/quick-start/
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import venue
from labkit.cluster import engine, images, kind, sources
from labkit.cluster.packages import build
from labkit.cluster.source import ensure_release
from labkit.errors import LabError
from labkit.mesh import bookinfo
from labkit.progress import Progress, Report
from labkit.settings import (
    GATEWAY_HOST,
    GATEWAY_NODE_PORT,
    ISTIO,
    KIND,
    KUBERNETES,
    NODE_IMAGE,
    REPOSITORY,
    Settings,
    settings,
)

RUNS = 3
RESULT = REPOSITORY / "bench.json"
MIB = 2**20
NOT_TIMED = 1800  # seconds; bounds every command of a run


def run(parts: list[str], report: Report) -> dict[str, object]:
    """Measure `parts` ("up", "images", "course"; all without any); merge the figures into bench.json and return it.

    Each figure is the median of three runs, except the cold build of the images, which is run once.
    """
    progress = Progress(report, venue.now)
    known = {"up": _up, "images": _images, "course": _course}
    if unknown := set(parts) - set(known):
        raise LabError(
            f"There is nothing called {', '.join(sorted(unknown))} to measure.",
            f"the parts are {', '.join(known)}",
            "name one of them, or none for all",
        )
    figures = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in parts or known:
        figures |= known[part](progress)
    figures |= _machine()
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


# -- labkit up, and the documented path ---------------------------------------------------------
def _up(progress: Progress) -> dict[str, object]:
    source = sources.choose()
    ensure_release(source, progress)
    source.node_image(progress)
    stages: list[dict[str, float]] = []
    ours: list[float] = []
    peaks: list[float] = []
    for turn in range(1, RUNS + 1):
        stages.append(_documented_path(progress, turn))
        seconds, peak = _labkit_up(progress, turn)
        ours.append(seconds)
        peaks.append(peak)
    medians = {stage: round(statistics.median(run[stage] for run in stages), 1) for stage in stages[0]}
    documented = statistics.median(sum(run.values()) for run in stages)
    return {
        "up_seconds": round(statistics.median(ours), 1),
        "documented_path_seconds": round(documented, 1),
        "up_ratio": round(statistics.median(ours) / documented, 2),
        "node_peak_mib": round(max(peaks)),
        **{f"documented_{stage}_seconds": seconds for stage, seconds in medians.items()},
    }


def _labkit_up(progress: Progress, turn: int) -> tuple[float, float]:
    """Seconds until the page is there, and the node's peak memory in MiB up to half a minute later."""
    with _apart("up") as env, progress.stage(f"labkit up, run {turn}") as note, _memory("istio-lab-bench-up") as peak:
        started = venue.now()
        venue.run([sys.executable, "-m", "labkit.cli", "up"], env=env, on_line=note, timeout=NOT_TIMED)
        seconds = venue.now() - started
        venue.sleep(30)
        note(f"{seconds:.1f} s")
    return seconds, peak()


def _documented_path(progress: Progress, turn: int) -> dict[str, float]:
    """Seconds of each stage, as a reader of the two pages would run them."""
    s = settings()
    istioctl, samples = s.release_folder / "bin" / "istioctl", s.release_folder / "samples" / "bookinfo"
    with _apart("documented") as env, progress.stage(f"documented path, run {turn}") as note:
        apart, port = Settings(home=Path(env["LABKIT_HOME"]), cluster=env["LABKIT_CLUSTER"]), kind.free_port()
        config = kind.configuration(apart, port, engine.state().cgroup_version)
        wanted = images.wanted(s.release_folder, istioctl)
        seconds: dict[str, float] = {}

        def timed(stage: str, *argv: object, stdin: str | None = None) -> None:
            note(stage)
            started = venue.now()
            venue.run([str(word) for word in argv], env=env, stdin=stdin, timeout=NOT_TIMED)
            seconds[stage] = seconds.get(stage, 0) + venue.now() - started

        timed("create", "kind", "create", "cluster", "--image", NODE_IMAGE, "--config", "-", stdin=config)
        timed("load", "kind", "load", "docker-image", "--name", apart.cluster, *_of_the_page(wanted))
        timed("install", istioctl, "install", "--set", "profile=demo", "-y")
        patch = json.dumps({"spec": {"ports": [{"port": 80, "nodePort": GATEWAY_NODE_PORT}]}})
        timed("install", "kubectl", "patch", "service", "istio-ingressgateway", "-n", "istio-system", "-p", patch)
        timed("bookinfo", "kubectl", "label", "namespace", "default", "istio-injection=enabled")
        timed("bookinfo", "kubectl", "apply", "-f", samples / "platform" / "kube" / "bookinfo.yaml")
        timed("bookinfo", "kubectl", "apply", "-f", samples / "networking" / "bookinfo-gateway.yaml")
        timed("bookinfo", "kubectl", "wait", "--for=condition=available", "deployment", "--all", "--timeout=300s")
        started = venue.now()
        _until_the_page(f"http://{GATEWAY_HOST}:{port}{bookinfo.PAGE}")
        seconds["page"] = venue.now() - started
        note(f"{sum(seconds.values()):.1f} s")
    return seconds


def _of_the_page(wanted: list[str]) -> list[str]:
    """Only what this path runs: a reader of the pages loads no more."""
    return [image for image in wanted if any(part in image for part in ("/pilot:", "/proxyv2:", "examples-bookinfo"))]


def _until_the_page(url: str) -> None:
    def status() -> str:
        try:
            return str(venue.http("GET", url, timeout=2).status)
        except venue.Unreachable as error:
            return error.why

    venue.wait(f"{url} with status 200", status, lambda seen: seen == "200", timeout=120)


# -- the images -----------------------------------------------------------------------------------
def _images(progress: Progress) -> dict[str, object]:
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
        found = venue.run(["docker", "image", "ls", "--quiet", "--filter", mark]).stdout.split()
        if found:
            venue.run(["docker", "image", "rm", "--force", *dict.fromkeys(found)])


def _labkit_images(env: dict[str, str], progress: Progress, what: str) -> float:
    with progress.stage(f"labkit images, {what}") as note:
        started = venue.now()
        venue.run([sys.executable, "-m", "labkit.cli", "images"], env=env, on_line=note, timeout=2 * NOT_TIMED)
        return venue.now() - started


# -- the course -----------------------------------------------------------------------------------
def _course(progress: Progress) -> dict[str, object]:
    seconds = []
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-sanitize-with=tests/sanitize.cfg", "notebooks"]
    for turn in range(1, RUNS + 1):
        with progress.stage(f"all notebooks, run {turn}") as note:
            started = venue.now()
            venue.run(command, cwd=REPOSITORY, on_line=note, timeout=NOT_TIMED)
            seconds.append(venue.now() - started)
    return {"course_live_seconds": round(statistics.median(seconds), 1)}


# -- around a run ---------------------------------------------------------------------------------
@contextmanager
def _apart(name: str) -> Iterator[dict[str, str]]:
    """An environment with a home and a cluster of its own; both are gone afterwards."""
    s = settings()
    cluster = f"istio-lab-bench-{name}"
    with TemporaryDirectory(prefix=f"{cluster}-") as home:
        env = {"LABKIT_HOME": home, "LABKIT_CACHE": str(s.cache), "LABKIT_CLUSTER": cluster}
        env["KUBECONFIG"] = f"{home}/kubeconfig"
        try:
            yield env
        finally:
            venue.run(["docker", "rm", "--force", "--volumes", f"{cluster}-control-plane"], check=False)


@contextmanager
def _memory(cluster: str) -> Iterator[Callable[[], float]]:
    """The peak of a node's memory (without page cache, as `docker stats` counts it), in MiB."""
    seen, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(_memory_now(f"{cluster}-control-plane"))
            over.wait(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        over.set()
        thread.join()


def _memory_now(container: str) -> float:
    command = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container]
    used = venue.run(command, check=False).stdout.partition("/")[0].strip()
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return float(used[:-3]) * units[used[-3:]] if used[-3:] in units else 0.0


def _machine() -> dict[str, object]:
    import psutil

    return {
        "cpus": psutil.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // MIB,
        "architecture": settings().architecture,
        "kernel": platform.release(),
        "istio": ISTIO,
        "kubernetes": KUBERNETES,
        "kind": KIND,
        "source": sources.choose().name,
    }
