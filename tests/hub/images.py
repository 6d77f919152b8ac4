"""The images of the hub's tests, built like the course's own, and brought to a node that runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from labkit import backend
from labkit.cluster import images
from labkit.cluster.packages import go
from labkit.cluster.packages.build import build, key
from labkit.cluster.packages.recipes import Recipe
from labkit.cluster.packages.steps import Note, Step, run
from labkit.maintain import hub
from labkit.settings import HUB, REPOSITORY, settings

HERE = Path(__file__).parent
IMAGE = "istio-lab/hub"
BASE = "istio-lab/hub-base"
FIREWALL = "istio-lab/kube-router:latest"
LOCKS = ("requirements.lock", "requirements-hub.lock")
UNUSED = ("playwright", "mypy", "mypyc", "hypothesis", "ruff-*", "mypy-*", "bin")


def participants(note: Note) -> str:
    """The image of the servers, and of the hub; its tag is the version of the course."""
    name, base = f"{IMAGE}:{hub.version()}", Recipe("base", {"rootfs.tar": (_debian(), "rootfs.tar")})
    build({BASE: base}, note)
    files = {
        "chp": (_proxy(), ""), "site": (_site(), ""), "home": (_tools(), ""), "course": (_course(), ""),
    }  # fmt: skip
    build({name: Recipe(str(HERE / "image"), files, {"base": key(BASE, base)})}, note)
    listed = backend.run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", IMAGE]).stdout.split()
    if outdated := [each for each in listed if each != name]:
        backend.run(["docker", "rmi", *outdated], check=False)
    return name


def firewall(note: Note) -> str:
    """kube-router, for its network policies alone."""
    module = "github.com/cloudnativelabs/kube-router/v2"
    program = go.Program("kube-router", {module: HUB["kube_router"]}, (f"{module}/cmd/kube-router",))
    files = {"kube-router": (program.step(), "kube-router")}
    build({FIREWALL: Recipe(str(HERE / "kube-router"), files, parent="istio-lab/iptables")}, note)
    return FIREWALL


def bring(names: list[str], node: str) -> None:
    """Into containerd of a node that runs; those alone that it lacks."""
    there = backend.run(["docker", "exec", node, *images.CTR, "list", "--quiet"]).stdout.split()
    missing = [name for name in names if f"docker.io/{name}" not in there]
    if missing:
        save = shlex.join(["docker", "save", *missing])
        load = shlex.join(["docker", "exec", "-i", node, *images.CTR, "import", "-"])
        backend.run(["bash", "-o", "pipefail", "-c", f"{save} | {load}"])


def _debian() -> Step:
    release = HUB["debian"]

    def bootstrap(into: Path, note: Note) -> None:
        root = into / "root"
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", release, root], "hub-debian", note)
        run(["tar", "-C", root, "-cf", into / "rootfs.tar", "."], "hub-debian", note)
        shutil.rmtree(root)

    return Step("hub-debian", (release,), bootstrap)


def _site() -> Step:
    """What environment.yml and postBuild install, for the image's Python rather than this machine's."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[settings().architecture]
    options = ["--python-version", HUB["python"], "--python-platform", f"{machine}-unknown-linux-gnu"]
    locks = [REPOSITORY / name for name in LOCKS]

    def install(into: Path, note: Note) -> None:
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        wanted = [word for lock in locks for word in ("-r", str(lock))]
        command = [uv, "pip", "install", "--target", into, "--only-binary", ":all:", "--require-hashes"]
        run([*command, *options, *wanted], "hub-site", note)
        for pattern in UNUSED:
            for path in into.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return Step("hub-site", (*options, *UNUSED, *locks), install)


def _proxy() -> Step:
    package = f"configurable-http-proxy@{HUB['configurable_http_proxy']}"

    def install(into: Path, note: Note) -> None:
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", package], "hub-proxy", note, cwd=into)

    return Step("hub-proxy", (package,), install)


def _tools() -> Step:
    """What `labkit tools` fetches: it is on this machine already."""
    release, kubectl = settings().release_folder, settings().bin / "kubectl"

    def copy(into: Path, note: Note) -> None:
        (into / "bin").mkdir()
        shutil.copy2(kubectl, into / "bin" / "kubectl")
        shutil.copytree(release, into / "cache" / release.name, symlinks=True)

    return Step("hub-tools", (release / ".archive", kubectl), copy)


def _course() -> Step:
    def copy(into: Path, note: Note) -> None:
        stamped = hub.stage(into / "course")
        for path in stamped.iterdir():
            path.rename(into / path.name)
        stamped.rmdir()

    return Step("hub-course", (hub.version(),), copy)
