"""What the checks of lab 02 look at, and the lab."""

from __future__ import annotations

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
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


def size_of_the_archive(size: int) -> str:
    return nearest(size / 2**20, {"about 3 MiB": 3, "about 30 MiB": 30, "about 300 MiB": 300})


def equal_digits(sums: tuple[str, str]) -> str:
    same = sum(one == other for one, other in zip(*sums, strict=True))
    return nearest(same, {"all but one": 63, "about half": 32, "a few, as by chance": 4})


def version_without_istio(said: str) -> str:
    if "not present" not in said:
        return "an error, and nothing else"
    return "its own version, and that there is no Istio"


PREDICTIONS = (
    Prediction(
        question="istioctl, all manifests and all samples in one archive: how large is it?",
        choices=("about 3 MiB", "about 30 MiB", "about 300 MiB"),
        measured=size_of_the_archive,
        why="Nearly all of it is istioctl, one Go program with everything that it needs inside; the rest is text.",
    ),
    Prediction(
        question="One bit of the archive changes. How many of the 64 digits of its SHA-256 stay the same?",
        choices=("all but one", "about half", "a few, as by chance"),
        measured=equal_digits,
        why=(
            "Any change makes a new sum that has nothing to do with the old one: of 64 digits with 16 "
            "values each, four agree by chance on average."
        ),
    ),
    Prediction(
        question=(
            "There is no Istio in this cluster. What does `istioctl version` say when it asks the cluster all the same?"
        ),
        choices=(
            "its own version, and that there is no Istio",
            "an error, and nothing else",
            "the same version three times",
        ),
        measured=version_without_istio,
        why="istioctl is a client like kubectl: it works without a mesh, and says what it does not find.",
    ),
)


LAB = Lab(
    number="02",
    title="Download Istio",
    path="a day",
    exam=("installation: istioctl or Helm",),
    pages=("setup/additional-setup/download-istio-release/",),
    start=(components.CLUSTER,),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the release's folder is complete",
            observe=release_is_unpacked,
            hint="The release is one archive. Which cell unpacks it?",
            remedy=("release.unpack(release.download())",),
        ),
        Check(
            claim="istioctl is on the PATH",
            observe=istioctl_is_on_the_path,
            hint="The archive holds istioctl in `bin/`. A command is found where `$LABKIT_BIN` is.",
            remedy=(
                "%%shell",
                'install -m 755 bin/istioctl "$LABKIT_BIN/"',
            ),
        ),
        Check(
            claim="istioctl is the release's own version",
            observe=istioctl_is_the_pinned_version,
            hint="`%istioctl version --remote=false` says which one you call.",
            remedy=(
                "%%shell",
                'install -m 755 bin/istioctl "$LABKIT_BIN/"',
            ),
        ),
    ),
    exercises=(
        Exercise(
            task="Deploy another of the samples, httpbin, in a namespace called `samples`.",
            hints=("`%%shell` with `ls samples/httpbin` shows its manifests.", "`kubectl apply` takes `--namespace`."),
            solution=(
                "kubectl create namespace samples",
                "kubectl apply --namespace samples -f samples/httpbin/httpbin.yaml",
                "kubectl wait --namespace samples --for=condition=available deployment/httpbin --timeout=120s",
            ),
            checks=(
                Check(
                    claim="httpbin is available in namespace samples",
                    observe=httpbin_answers,
                ),
            ),
        ),
    ),
)
