"""The container engine: what state it is in, and a Docker engine for a Debian machine that has none."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from labkit import backend
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import settings

SHIM = Path(__file__).parent / "runc-without-sys-resource"
INSTALLED_SHIM = "/usr/local/sbin/runc-without-sys-resource"
CONFIGURATION = "/etc/docker/daemon.json"
DAEMON = "/usr/sbin/dockerd"
CAP_SYS_RESOURCE = 24  # its bit, see capabilities(7)
# what kind asks of a kernel: https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
INOTIFY = {"fs.inotify.max_user_watches": 524288, "fs.inotify.max_user_instances": 512}


@dataclass(frozen=True)
class Engine:
    """The container engine as it is now. `why` and `fix` are empty where it is usable, and say what to do where not.

    memory: bytes that it has for containers. data_folder: where it keeps images, on its own machine.
    """

    usable: bool
    why: str = ""
    fix: str = ""
    name: str = ""
    version: str = ""
    cpus: int = 0
    memory: int = 0
    cgroup_version: int = 0
    storage_driver: str = ""
    data_folder: str = ""


def state() -> Engine:
    """Look at the engine: there or not, allowed or not, running or not, and what it has."""
    if not backend.which("docker"):
        return Engine(False, "there is no `docker` command on the PATH", _how_to_get_one())
    answer = backend.run(["docker", "info", "--format", "{{json .}}"], check=False, timeout=30)
    if answer.returncode:
        return _unusable(answer.stderr.strip() or answer.stdout.strip())
    return described(json.loads(answer.stdout))


def require() -> Engine:
    """The engine; raises LabError unless it is usable."""
    engine = state()
    if not engine.usable:
        raise LabError("No container engine can be used.", engine.why, engine.fix)
    return engine


def described(info: dict) -> Engine:
    """What `docker info` (https://docs.docker.com/reference/cli/docker/system/info/) says of a running engine."""
    return Engine(
        usable=True,
        name=info["OperatingSystem"] if "Desktop" in info["OperatingSystem"] else "Docker",
        version=info["ServerVersion"],
        cpus=info["NCPU"],
        memory=info["MemTotal"],
        cgroup_version=int(info["CgroupVersion"]),
        storage_driver=info["Driver"],
        data_folder=info["DockerRootDir"],
    )


def _unusable(why: str) -> Engine:
    if "permission denied" in why.lower():
        return Engine(False, why, "let your user use it: `sudo usermod -aG docker $USER`, then sign out and in again")
    starting = {
        "darwin": "start Docker Desktop, or `colima start`",
        "linux": "`sudo systemctl start docker`; or, as root on a Debian without systemd: `labkit engine install`",
    }
    return Engine(False, why, starting.get(settings().system, "start it, then run this again"))


def _how_to_get_one() -> str:
    return {
        "darwin": "install Docker Desktop, or `brew install colima docker` and `colima start --cpu 2 --memory 6`",
        "linux": "as root on Debian: `labkit engine install`; elsewhere https://docs.docker.com/engine/install/",
    }.get(settings().system, "install Docker Desktop: https://docs.docker.com/desktop/")


# -- a Docker engine of Debian's own packages -----------------------------------------------------


def install(progress: Progress) -> Engine:
    """A running Docker engine on this Debian machine; nothing is done where one answers already. Root only.

    Raises LabError where the machine is another, with what to do there, and where the daemon does not come up.
    """
    if (engine := state()).usable:
        return engine
    _refuse_elsewhere()
    with progress.stage("Docker engine") as note:
        _work_around_missing_capability()
        _raise_inotify_limits()
        if not backend.which("dockerd"):
            for command in (["update"], ["install", "--yes", "docker.io", "iptables"]):
                backend.run(["apt-get", *command], env={"DEBIAN_FRONTEND": "noninteractive"}, on_line=note)
        if not state().usable:
            _start()
        return backend.wait(
            "A Docker engine that answers",
            state,
            lambda engine: engine.usable,
            timeout=60,
            state=lambda engine: f"{engine.why} (its own words: {_log()})",
            report=note,
        )


def stop() -> bool:
    """End the daemon if `install` started it; whether it did."""
    if not _pid().exists():
        return False
    by_pid = ["--stop", "--oknodo", "--retry", "30", "--pidfile", _pid(), "--exec", DAEMON]
    backend.run(["start-stop-daemon", *by_pid])
    _pid().unlink()
    return True


def _refuse_elsewhere() -> None:
    if not _is_debian():
        raise LabError(
            "A Docker engine is not installed here.",
            "this is done on Debian only, from Debian's own packages",
            _how_to_get_one(),
        )
    if os.geteuid() != 0:
        raise LabError(
            "A Docker engine is not installed.",
            "that needs root",
            "run it as root: `sudo labkit engine install`",
        )


def _is_debian() -> bool:
    if settings().system != "linux":
        return False
    release = platform.freedesktop_os_release()
    return "debian" in [release["ID"], *release.get("ID_LIKE", "").split()]


def _work_around_missing_capability() -> None:
    """Where root itself lacks CAP_SYS_RESOURCE, runc cannot give it to a container, and fails.

    A configuration of the engine that is there already is left as it is.
    """
    status = backend.run(["cat", "/proc/self/status"]).stdout
    configured = backend.run(["test", "-e", CONFIGURATION], check=False).returncode == 0
    if configured or has_capability(status, CAP_SYS_RESOURCE):
        return
    backend.run(["install", "-D", "--mode=755", SHIM, INSTALLED_SHIM])
    runtime = {"runtimes": {"istio-lab": {"path": INSTALLED_SHIM}}, "default-runtime": "istio-lab"}
    backend.run(
        ["install", "-D", "--mode=644", "/dev/stdin", CONFIGURATION], stdin=json.dumps(runtime, indent=2) + "\n"
    )


def _raise_inotify_limits() -> None:
    """Two clusters with Istio use up a kernel's default; their proxies then fail with "too many open files"."""
    for name, wanted in INOTIFY.items():
        if int(backend.run(["sysctl", "--values", name]).stdout) < wanted:
            backend.run(["sysctl", "--quiet", "--write", f"{name}={wanted}"])


def has_capability(status: str, bit: int) -> bool:
    """Whether a process, described by its /proc/PID/status, could hand that capability on (its bounding set)."""
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding, 16) >> bit & 1)


def _start() -> None:
    """In a session of its own, so that it outlives this command; its log and its process ID are below home."""
    settings().home.mkdir(parents=True, exist_ok=True)
    background = ["--start", "--background", "--make-pidfile", "--pidfile", _pid(), "--output", _log()]
    backend.run(["start-stop-daemon", *background, "--exec", DAEMON])


def _pid() -> Path:
    return settings().home / "dockerd.pid"


def _log() -> Path:
    return settings().home / "dockerd.log"
