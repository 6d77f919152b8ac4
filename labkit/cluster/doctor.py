"""What this machine can do: every finding with its remedy, in time whatever hangs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

from labkit import backend
from labkit.cluster import engine, kind, sources
from labkit.cluster.downloads import ARCHITECTURES, SYSTEMS
from labkit.errors import LabError
from labkit.settings import GATEWAY_HOST, HELM, ISTIO, KIND, KUBERNETES, settings

GIB = 1 << 30
QUICK = 1.4  # seconds for every probe; all there is where no engine answers
PATIENCE = 3.0  # seconds more, where one does, for a slow network
KERNEL = "zcat /proc/config.gz 2>/dev/null || cat /boot/config-$(uname -r)"
NETFILTER = {  # modules, and the options that build them; a table of iptables may stand on nftables
    "iptable_nat": {"IP_NF_NAT", "NFT_COMPAT"},
    "xt_REDIRECT": {"NETFILTER_XT_TARGET_REDIRECT"},
    "xt_conntrack": {"NETFILTER_XT_MATCH_CONNTRACK"},
    "xt_owner": {"NETFILTER_XT_MATCH_OWNER"},
    "xt_tcpudp": {"NETFILTER_XTABLES"},
}
INOTIFY = {"max_user_watches": 524288, "max_user_instances": 512}  # https://kind.sigs.k8s.io/docs/user/known-issues/

Status = Literal["good", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table. `remedy` is empty where there is nothing to do."""

    subject: str
    value: str
    status: Status
    remedy: str = ""


def examine() -> list[Finding]:
    """What was found, in the order of the table. Never raises: what cannot be found out is a finding too."""
    return [Finding(**found) for found in backend.work("doctor", lambda _: [vars(found) for found in _examine()])]


def _examine() -> list[Finding]:
    probes: dict[str, Callable[[], list[Finding]]] = {
        "container engine": _engine,
        "gateway port": _port,
        "netfilter": _netfilter,
        "inotify": _inotify,
        "architecture": _platform,
        "image source": _source,
        "tools": _tools,
        "commands": _commands,
    }
    seen = _asked(probes, QUICK)
    if any(found.subject == "container engine" and found.status == "good" for found in chain(*seen.values())):
        seen |= _asked({subject: probe for subject, probe in probes.items() if subject not in seen}, PATIENCE)
    return [finding for subject in probes for finding in seen.get(subject, [_silent(subject)])]


def _asked(probes: Mapping[str, Callable[[], list[Finding]]], seconds: float) -> dict[str, list[Finding]]:
    return backend.together(
        {subject: partial(_without_raising, subject, probe) for subject, probe in probes.items()}, seconds
    )


def can_run_live(findings: Sequence[Finding]) -> bool:
    """Whether a live mesh can be brought up here: nothing is bad."""
    return not any(finding.status == "bad" for finding in findings)


TOOLS = {"kind": KIND, "kubectl": KUBERNETES, "istioctl": ISTIO, "helm": HELM}
COMMANDS = ("curl", "make", "openssl", "tar")  # what cells ask of this machine beside a shell's usual ones


def _without_raising(subject: str, probe: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return probe()
    except LabError as error:
        return [Finding(subject, error.why, "bad", error.fix)]


def _silent(subject: str) -> Finding:
    """Only the engine and the network are slow to answer, and the engine must answer."""
    if subject == "container engine":
        return Finding(subject, "no answer", "bad", engine.RESTART)
    return Finding(subject, "no answer in time", "warning", "look again once the engine and the network answer")


# -- probes -------------------------------------------------------------------------------------


def _engine() -> list[Finding]:
    found = engine.state()
    if not found.usable:
        return [Finding("container engine", found.why, "bad", found.fix)]
    return [
        Finding("container engine", f"{found.name} {found.version}", "good"),
        _cpus(found.cpus),
        _memory(found.memory),
        _disk(_free(found.data_folder)),
        _cgroups(found.cgroup_version),
    ]


def _free(folder: str) -> int | None:
    """Bytes free where the engine keeps its data; None where that is inside a virtual machine."""
    if settings().system != "linux":
        return None
    answer = backend.run(["df", "-Pk", folder], check=False, timeout=QUICK)
    return None if answer.returncode else int(answer.stdout.splitlines()[-1].split()[3]) * 1024


def _port() -> list[Finding]:
    port = settings().port
    address = f"{GATEWAY_HOST}:{port}"
    if backend.port_is_free(GATEWAY_HOST, port):
        return [Finding("gateway port", f"{address} is free", "good")]
    if _is_ours(port):
        return [Finding("gateway port", f"{address} leads to the course's cluster", "good")]
    remedy = "nothing to do: the course takes the next free port; LABKIT_PORT names another"
    return [Finding("gateway port", f"{address} is taken by another program", "warning", remedy)]


def _is_ours(port: int) -> bool:
    try:
        node = kind.node()
    except LabError:
        return False
    return node is not None and node.ours and node.running and node.port == port


def _netfilter() -> list[Finding]:
    """What of the kernel takes a pod's traffic to its sidecar; nothing where a kernel does not tell how it was built.

    https://istio.io/latest/docs/ops/deployment/platform-requirements/
    """
    if settings().system != "linux":
        return []
    built = backend.run(["sh", "-c", KERNEL], check=False, timeout=QUICK).stdout
    return [_redirects(frozenset(re.findall(r"^CONFIG_(\w+)=[ym]$", built, re.MULTILINE)))] if built else []


def _inotify() -> list[Finding]:
    """The limits of the kernel that a node shares with this machine; elsewhere the engine's own machine sets them."""
    files = [f"/proc/sys/fs/inotify/{name}" for name in INOTIFY]
    if settings().system != "linux" or (answer := backend.run(["cat", *files], check=False)).returncode:
        return []
    return [_inotify_limits(dict(zip(INOTIFY, map(int, answer.stdout.split()), strict=True)))]


def _platform() -> list[Finding]:
    return [_published_for(settings().system, settings().architecture)]


def _source() -> list[Finding]:
    source = sources.choose()
    # who names a source is taken at their word, not here
    if settings().source and not source.is_here() and (why := source.reachable()):
        return [
            Finding("image source", f"{source.name}: {why}", "bad", "unset LABKIT_SOURCE: the course picks another")
        ]
    return [Finding("image source", source.name, "good")]


def _tools() -> list[Finding]:
    return [_tool(program, version) for program, version in TOOLS.items()]


def _tool(program: str, version: str) -> Finding:
    where = "in the course's folder" if (settings().bin / program).exists() else "fetched when it is needed"
    return Finding(program, f"{version}, {where}", "good")


def _commands() -> list[Finding]:
    return [_lacking([command for command in COMMANDS if backend.which(command) is None])]


# -- judgements ---------------------------------------------------------------------------------


def _cpus(count: int) -> Finding:
    if count >= 2:
        return Finding("CPU", f"{count} cores for the engine", "good")
    return Finding(
        "CPU", f"{count} core for the engine", "warning", "give the engine two cores; one takes twice as long"
    )


def _memory(size: int) -> Finding:
    """In bytes. Istio's demo profile and Bookinfo run in 1.6 GiB; the labs' tools come on top."""
    remedy = "give the container engine 4 GiB (Docker Desktop: Settings, Resources)"
    return _graded("memory", f"{size / GIB:.1f} GiB for the engine", size / GIB, bad=2.5, good=4, remedy=remedy)


def _disk(free: int | None) -> Finding:
    if free is None:
        return Finding("disk", "inside the engine's own machine", "good")
    value = f"{free / GIB:.0f} GiB free where the engine keeps its data"
    return _graded(
        "disk", value, free / GIB, bad=5, good=10, remedy="`docker system df` shows what fills it; free 10 GiB"
    )


def _graded(subject: str, value: str, measure: float, *, bad: float, good: float, remedy: str) -> Finding:
    """Below `bad` nothing works; from `good` on there is nothing to do."""
    if measure >= good:
        return Finding(subject, value, "good")
    return Finding(subject, value, "bad" if measure < bad else "warning", remedy)


def _cgroups(version: int) -> Finding:
    if version >= 2:
        return Finding("cgroup version", str(version), "good")
    remedy = "nothing to do: the course sets failCgroupV1; newer Kubernetes wants a kernel that starts with cgroup v2"
    return Finding("cgroup version", str(version), "warning", remedy)


def _redirects(built: frozenset[str]) -> Finding:
    missing = [module for module, options in NETFILTER.items() if not built & options]
    if not missing:
        return Finding("netfilter", ", ".join(NETFILTER), "good")
    value = f"this kernel lacks {', '.join(missing)}, which sidecars need"
    return Finding("netfilter", value, "bad", "use a kernel that has them, such as a distribution's own")


def _inotify_limits(limits: Mapping[str, int]) -> Finding:
    value = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    low = " ".join(f"fs.inotify.{name}={wanted}" for name, wanted in INOTIFY.items() if limits[name] < wanted)
    if not low:
        return Finding("inotify", value, "good")
    return Finding("inotify", value, "warning", f"`sudo sysctl {low}`, should pods fail with too many open files")


def _lacking(commands: Sequence[str]) -> Finding:
    if not commands:
        return Finding("commands", ", ".join(COMMANDS), "good")
    value = f"this machine lacks {', '.join(commands)}, which some cells run"
    return Finding("commands", value, "warning", f"install {' and '.join(commands)} with the system's package manager")


def _published_for(system: str, architecture: str) -> Finding:
    value = f"{system}/{architecture}"
    if system in SYSTEMS and architecture in ARCHITECTURES:
        return Finding("architecture", value, "good")
    remedy = f"use {' or '.join(SYSTEMS)} on {' or '.join(ARCHITECTURES)}; on Windows, WSL 2 is one"
    return Finding("architecture", value, "bad", remedy)
