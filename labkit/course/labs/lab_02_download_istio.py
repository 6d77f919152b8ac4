"""What the checks of lab 02 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh.workloads import deployments
from labkit.settings import ISTIO as VERSION
from labkit.settings import settings


def release_is_unpacked() -> Seen:
    folder = settings().istio_folder
    wanted = ("bin/istioctl", "manifests/profiles", "samples/bookinfo")
    missing = [name for name in wanted if not backend.exists(folder / name)]
    return Seen(not missing, f"{folder.name}: " + (f"{', '.join(missing)} missing" if missing else "complete"))


def istioctl_is_on_the_path() -> Seen:
    path = backend.which("istioctl")
    installed = path == str(settings().bin / "istioctl")
    return Seen(installed, "istioctl: " + ("in $LABKIT_BIN" if installed else path or "nowhere"))


def istioctl_is_the_pinned_version() -> Seen:
    answer = backend.run(["istioctl", "version", "--remote=false", "--short"]).stdout.strip()
    return Seen(answer.endswith(VERSION), answer)


def httpbin_answers() -> Seen:
    found = deployments("samples").get("httpbin", {"status": {}})
    available = found["status"].get("availableReplicas", 0)
    return Seen(available > 0, f"httpbin: {available} available")


LAB = Lab(
    "02",
    "Download Istio",
    (parts.CLUSTER,),
    (
        Check("the release's folder is complete", release_is_unpacked, "run the cell with `release.unpack`"),
        Check(
            "istioctl is on the PATH",
            istioctl_is_on_the_path,
            "run the cell that installs bin/istioctl into $LABKIT_BIN",
        ),
        Check(
            "istioctl is the release's own version",
            istioctl_is_the_pinned_version,
            "install bin/istioctl from the folder that you unpacked",
        ),
    ),
    Exercise(
        "Deploy another of the samples, httpbin, in a namespace called `samples`.",
        ("`%%shell` with `ls samples/httpbin` shows its manifests.", "`kubectl apply` takes `--namespace`."),
        (
            "kubectl create namespace samples",
            "kubectl apply --namespace samples -f samples/httpbin/httpbin.yaml",
            "kubectl wait --namespace samples --for=condition=available deployment/httpbin --timeout=120s",
        ),
        (
            Check(
                "httpbin is available in namespace samples",
                httpbin_answers,
                "make the namespace, and apply samples/httpbin/httpbin.yaml in it",
            ),
        ),
    ),
)
