"""The container engine: what state it is in, and a Docker engine for a Debian machine that has none."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import backend
from labkit.cluster import debian
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import settings

SHIM = Path(__file__).parent / "runc-without-sys-resource"
INSTALLED_SHIM = "/usr/local/sbin/runc-without-sys-resource"
CONFIGURATION = "/etc/docker/daemon.json"
DAEMON = "/usr/sbin/dockerd"
CAP_SYS_RESOURCE = 24  # its bit, see capabilities(7)
# what kind asks of a kernel: https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
PATIENCE = 1.2  # seconds in which an engine that is well has answered, for who can do without it
PATIENT = 30.0  # for who cannot, and rather waits for one that is waking up, or on a machine that is busy
GRACE = 0.2  # seconds to end what gave no answer
LONGEST = 300  # characters of an engine's own words that are passed on
RESTART = "restart the container engine, until `docker info` answers"
NETWORK = ("tcp://", "http://", "https://", "ssh://")  # of https://docs.docker.com/reference/cli/docker/#host-flag
LOOPBACK = re.compile(r"[a-z]+://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/?$")
PODMAN = (
    "`docker` is podman here, and the course does not support podman: kind's provider for it is experimental, "
    "and the node image is made by Docker's own commands"
)
TO_LINUX = "Docker Desktop: `Switch to Linux containers`"
TO_HERE = "`unset DOCKER_HOST DOCKER_CONTEXT` and `docker context use default`, with an engine on this machine"
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


def state(patience: float = PATIENCE) -> Engine:
    """Look at the engine: there or not, allowed or not, running or not, on this machine or not, and what it has.

    Never raises: what `docker` prints is not relied on, and one that is silent for `patience` seconds is no engine.
    """
    seen = backend.together({"engine": lambda: _look(patience)}, patience + GRACE)
    return seen.get("engine") or _silent(patience)


def require() -> Engine:
    """The engine, for who cannot do without; raises LabError unless it is usable."""
    engine = state(PATIENT)
    if not engine.usable:
        raise LabError("No container engine can be used.", engine.why, engine.fix)
    return engine


def _look(patience: float) -> Engine:
    if not backend.which("docker"):
        return Engine(False, "there is no `docker` command on the PATH", _how_to_get_one())
    try:
        answer = backend.run(["docker", "info", "--format", "{{json .}}"], check=False, timeout=patience)
        engine = described(answer.stdout, answer.stderr)
        return _on_this_machine(engine, patience) if engine.usable else engine
    except LabError as error:
        return Engine(False, error.what, RESTART)


def described(stdout: str, stderr: str = "") -> Engine:
    """What `docker info` (https://docs.docker.com/reference/cli/docker/system/info/) says of an engine.

    Whatever it printed: a daemon that is down is told by `ServerErrors`, or by empty values, or on standard error.
    """
    info = printed(stdout)
    if "host" in info and "store" in info:  # https://docs.podman.io/en/latest/markdown/podman-info.1.html
        return Engine(False, PODMAN, _how_to_get_one())
    errors = info.get("ServerErrors")
    if errors:
        return _unusable(" ".join(map(str, errors)) if isinstance(errors, list) else str(errors))
    engine = Engine(
        usable=True,
        name="Docker Desktop" if "Desktop" in _word(info, "OperatingSystem") else "Docker",
        version=_word(info, "ServerVersion"),
        cpus=_count(info, "NCPU"),
        memory=_count(info, "MemTotal"),
        cgroup_version=2 if _word(info, "CgroupVersion") == "2" else 1,  # engines that do not say know v1 alone
        storage_driver=_word(info, "Driver"),
        data_folder=_word(info, "DockerRootDir"),
    )
    if not (engine.version and engine.cpus and engine.memory):
        return _unusable(stderr or stdout)
    if _word(info, "OSType") not in ("", "linux"):
        return Engine(False, "it runs Windows containers, and the cluster takes Linux ones", TO_LINUX)
    return engine


def printed(text: str) -> dict[str, Any]:
    """The JSON object in what a command printed, with warnings before and after it; empty if there is none."""
    for candidate in (text, *(line for line in text.splitlines() if line.startswith("{"))):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _word(info: dict[str, Any], key: str) -> str:
    return value if isinstance(value := info.get(key), str) else ""


def _count(info: dict[str, Any], key: str) -> int:
    return value if isinstance(value := info.get(key), int) and not isinstance(value, bool) and value > 0 else 0


def _on_this_machine(engine: Engine, patience: float) -> Engine:
    """Elsewhere, the gateway's port would be mapped on that machine's 127.0.0.1, and nothing here would reach it."""
    ask = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    host = backend.run(ask, check=False, timeout=patience).stdout.strip()
    if not host.startswith(NETWORK) or LOOPBACK.match(host):
        return engine
    return Engine(False, f"`docker` works on another machine ({host}), whose ports are not this machine's", TO_HERE)


def _silent(patience: float) -> Engine:
    return Engine(False, f"`docker info` gave no answer within {patience:.1f} s", RESTART)


def _unusable(said: str) -> Engine:
    words = said.strip().splitlines() or ["it says nothing of an engine"]
    why = f"`docker info`: {words[-1][:LONGEST]}"
    if "permission denied" in said.lower():
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
            debian.install("docker.io", "iptables", on_line=note)
        if not state(PATIENT).usable:
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
    by_pid = ["--stop", "--oknodo", "--retry", "30", "--pidfile", str(_pid()), "--exec", DAEMON]
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
    background = ["--start", "--background", "--make-pidfile", "--pidfile", str(_pid()), "--output", str(_log())]
    backend.run(["start-stop-daemon", *background, "--exec", DAEMON])


def _pid() -> Path:
    return settings().home / "dockerd.pid"


def _log() -> Path:
    return settings().home / "dockerd.log"
