"""`labkit up` against the documented path, side by side on one machine, with the same images.

The documented path is what Istio's and kind's own pages say, command by command:
https://istio.io/latest/docs/setup/getting-started/ and https://kind.sigs.k8s.io/docs/user/quick-start/
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from labkit import backend
from labkit.cluster import engine, images, kind, sources
from labkit.cluster.source import ensure_release
from labkit.maintain.benchmark.around import NOT_TIMED, RUNS, Figures, apart, cluster, memory
from labkit.mesh import bookinfo
from labkit.progress import Progress
from labkit.settings import GATEWAY_HOST, GATEWAY_NODE_PORT, NODE_IMAGE, settings


def measure(progress: Progress) -> Figures:
    """Medians of three runs of each, in turn; the node's peak memory is the highest of them."""
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
    with apart("up") as env, progress.stage(f"labkit up, run {turn}") as note, memory(cluster("up")) as peak:
        started = backend.now()
        backend.run([sys.executable, "-m", "labkit.cli", "up"], env=env, on_line=note, timeout=NOT_TIMED)
        seconds = backend.now() - started
        backend.sleep(30)
        note(f"{seconds:.1f} s")
    return seconds, peak()


def _documented_path(progress: Progress, turn: int) -> dict[str, float]:
    """Seconds of each stage, as a reader of the two pages would run them."""
    s = settings()
    istioctl, samples = s.release_folder / "bin" / "istioctl", s.release_folder / "samples" / "bookinfo"
    with apart("documented") as env, progress.stage(f"documented path, run {turn}") as note:
        own, port = replace(s, home=Path(env["LABKIT_HOME"]), cluster=env["LABKIT_CLUSTER"]), kind.free_port()
        config = kind.configuration(own, port, engine.state().cgroup_version)
        wanted = images.wanted(s.release_folder, istioctl)
        seconds: dict[str, float] = {}

        def timed(stage: str, *argv: object, stdin: str | None = None) -> None:
            note(stage)
            started = backend.now()
            backend.run([str(word) for word in argv], env=env, stdin=stdin, timeout=NOT_TIMED)
            seconds[stage] = seconds.get(stage, 0) + backend.now() - started

        timed("create", "kind", "create", "cluster", "--image", NODE_IMAGE, "--config", "-", stdin=config)
        timed("load", "kind", "load", "docker-image", "--name", own.cluster, *_of_the_page(wanted))
        timed("install", istioctl, "install", "--set", "profile=demo", "-y")
        patch = json.dumps({"spec": {"ports": [{"port": 80, "nodePort": GATEWAY_NODE_PORT}]}})
        timed("install", "kubectl", "patch", "service", "istio-ingressgateway", "-n", "istio-system", "-p", patch)
        timed("bookinfo", "kubectl", "label", "namespace", "default", "istio-injection=enabled")
        timed("bookinfo", "kubectl", "apply", "-f", samples / "platform" / "kube" / "bookinfo.yaml")
        timed("bookinfo", "kubectl", "apply", "-f", samples / "networking" / "bookinfo-gateway.yaml")
        timed("bookinfo", "kubectl", "wait", "--for=condition=available", "deployment", "--all", "--timeout=300s")
        started = backend.now()
        _until_the_page(f"http://{GATEWAY_HOST}:{port}{bookinfo.PAGE}")
        seconds["page"] = backend.now() - started
        note(f"{sum(seconds.values()):.1f} s")
    return seconds


def _of_the_page(wanted: list[str]) -> list[str]:
    """Only what this path runs: a reader of the pages loads no more."""
    return [image for image in wanted if any(part in image for part in ("/pilot:", "/proxyv2:", "examples-bookinfo"))]


def _until_the_page(url: str) -> None:
    def status() -> str:
        try:
            return str(backend.http("GET", url, timeout=2).status)
        except backend.Unreachable as error:
            return error.why

    backend.wait(f"{url} with status 200", status, lambda seen: seen == "200", timeout=120)
