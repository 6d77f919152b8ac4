"""The course's own kind cluster: made once, found again, and never confused with anybody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from labkit import backend, state
from labkit.backend import places
from labkit.cluster import engine
from labkit.cluster.source import Source
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import GATEWAY_HOST, GATEWAY_NODE_PORT, Settings, settings

PORTS_TRIED = 20
HIGHEST_PORT = 65535
MARKS = "/etc/istio-lab"  # where an empty folder of the course's is mounted into its node


@dataclass(frozen=True)
class Node:
    """The container that a cluster of the course's name runs in."""

    name: str
    container: str
    running: bool
    ours: bool
    port: int | None


def node() -> Node | None:
    """The node as the engine has it now, None if there is none. Raises LabError where no engine answers."""
    name = f"{settings().cluster}-control-plane"
    answer = backend.run(["docker", "container", "inspect", "--format", "{{json .}}", name], check=False)
    found = engine.printed(answer.stdout)
    if answer.returncode or not found:
        engine.require()
        return None
    bindings = (found["HostConfig"].get("PortBindings") or {}).get(f"{GATEWAY_NODE_PORT}/tcp") or [{}]
    return Node(
        name=name,
        container=found["Id"],
        running=found["State"]["Running"],
        ours=any(mount["Destination"] == mark(settings()) for mount in found["Mounts"]),
        port=int(bindings[0]["HostPort"]) if bindings[0].get("HostPort") else None,
    )


def is_up() -> bool:
    """Whether the course's cluster is whole, runs and answers. Raises LabError where no engine answers."""
    return backend.work("look for the cluster", lambda _: _is_up())


def up(source: Source, progress: Progress) -> None:
    """Bring the cluster up, from whatever state it is in; its kubeconfig is the course's own.

    Raises LabError: no engine, no port, a cluster of this name that is not the course's, kind's own failure.
    """
    engine.require()
    for program in ("kind", "kubectl"):
        source.tool(program, progress)
    remove_half_made(progress)
    if existing := node():
        _wake(existing, progress)
        _write_down(existing)
    else:
        _create(source.node_image(progress), source.origin, progress)
    _wait_until_ready(progress)


def remove_half_made(progress: Progress) -> None:
    """Delete what an interrupted `up` left. Raises LabError for a cluster of this name that is not the course's."""
    existing = node()
    if existing and not existing.ours:
        raise _not_ours(existing)
    if not (existing and _was_finished(existing)):
        settings().kubeconfig.unlink(missing_ok=True)
        if existing:
            _delete(existing, progress, "half-made: removed")


def answers() -> bool:
    """Whether the API server of a cluster that `up` is at work on may be used already: seconds before kind is done.

    The course's kubeconfig is in place from then on.
    """
    if not settings().kubeconfig.exists():
        if node() is None:
            return False
        found = backend.run([_kind(), "get", "kubeconfig", "--name", settings().cluster], check=False)
        if found.returncode:
            return False
        state.write_text(settings().kubeconfig, found.stdout)
    try:
        backend.kubernetes("GET", "/api/v1/namespaces/default")  # refused until kubeadm has made its owner an admin
    except backend.KubernetesError:
        return False
    return True


def down(progress: Progress) -> bool:
    """Delete the cluster and what was written down about it; False if there was none."""
    engine.require()
    existing = node()
    if existing and not existing.ours:
        raise _not_ours(existing)
    if existing:
        _delete(existing, progress, "deleted")
    for path in (settings().kubeconfig, settings().cluster_record):
        path.unlink(missing_ok=True)
    return existing is not None


def free_port() -> int:
    """The gateway's port: the wanted one, or the next that is free. Raises LabError."""
    wanted = settings().port
    tried = range(wanted, min(wanted + PORTS_TRIED, HIGHEST_PORT + 1))
    for port in tried:
        if backend.port_is_free(GATEWAY_HOST, port):
            return port
    raise LabError(
        f"No port is free for the gateway between {wanted} and {tried[-1]}.",
        "other programs listen on all of them",
        "set LABKIT_PORT to a port that is free, then run it again",
    )


def configuration(s: Settings, port: int, cgroup_version: int) -> str:
    """The kind configuration (https://kind.sigs.k8s.io/docs/user/configuration/), as YAML."""
    document = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": s.cluster,
        "nodes": [
            {
                "role": "control-plane",
                "extraPortMappings": [
                    {"containerPort": GATEWAY_NODE_PORT, "hostPort": port, "listenAddress": GATEWAY_HOST}
                ],
                "extraMounts": [{"hostPath": str(_marking(s)), "containerPath": mark(s), "readOnly": True}],
            }
        ],
    }
    document["kubeadmConfigPatches"] = [yaml.safe_dump(patch) for patch in _patches(cgroup_version)]
    return yaml.safe_dump(document, sort_keys=False)


def _patches(cgroup_version: int) -> Iterator[dict[str, Any]]:
    alone = {"extraArgs": {"leader-elect": "false"}}  # nobody to elect against, and seconds until it is done
    api = "kubeadm.k8s.io/v1beta3"
    yield {"kind": "ClusterConfiguration", "apiVersion": api, "controllerManager": alone, "scheduler": alone}
    if cgroup_version == 1:
        # from Kubernetes 1.35 on, the kubelet refuses cgroup v1 unless it is told not to
        yield {"kind": "KubeletConfiguration", "failCgroupV1": False}


def mark(s: Settings) -> str:
    """Where the course's folder is mounted in its node: the proof that a cluster is this home's own.

    Engines keep that path as it was asked for. Of the folder's path on this machine Docker Desktop and the snap's
    Docker tell their own versions.
    """
    return f"{MARKS}/{hashlib.sha256(str(s.home).encode()).hexdigest()[:16]}"


def _marking(s: Settings) -> Path:
    return s.home / "owner"


def _was_finished(existing: Node) -> bool:
    """Whether `up` came to the end of making it. A note of that which was damaged since is a note still."""
    s = settings()
    noted = places.made().get("container")
    is_of_it = noted == existing.container if isinstance(noted, str) else s.cluster_record.exists()
    return s.kubeconfig.exists() and is_of_it


def _is_up() -> bool:
    engine.require()
    existing = node()
    return bool(existing and existing.ours and existing.running and _was_finished(existing)) and _readyz() == "ok"


def _wake(existing: Node, progress: Progress) -> None:
    if existing.running:
        return
    with progress.stage("start the node"):
        backend.run(["docker", "start", existing.name])


def _kind() -> Path:
    return settings().bin / "kind"


def _create(image: str, origin: str, progress: Progress) -> None:
    s = settings()
    _marking(s).mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = configuration(s, port, engine.require().cgroup_version)
    with progress.stage("create the cluster") as note, TemporaryDirectory() as scratch:
        if port != s.port:
            note(f"port {s.port} is taken: the gateway will be at {GATEWAY_HOST}:{port}")
        fresh = Path(scratch, "kubeconfig")
        options = ["--image", image, "--kubeconfig", str(fresh), "--config", "-"]
        completed = backend.run(
            [_kind(), "create", "cluster", *options],
            stdin=config,
            on_line=lambda line: note(_step(line)),
            check=False,
        )
        if completed.returncode:
            raise _creation_failed(completed)
        state.write_text(s.kubeconfig, fresh.read_text())
        note(f"gateway at {GATEWAY_HOST}:{port}")
    made = node()
    if made is None:
        raise LabError("The cluster is gone already.", "kind made it, and then its node was not there", "run it again")
    _write_down(made, origin)


def _write_down(made: Node, origin: str = "") -> None:
    """What the course knows of its cluster, where that is not there or was damaged. origin: of a new one's images."""
    s = settings()
    known = {"container": made.container, "gateway": f"http://{GATEWAY_HOST}:{made.port}"}
    if source := origin or places.made().get("source"):
        known["source"] = source
    if places.made() != known:
        state.write(s.cluster_record, known)
    if not _is_kubeconfig(s.kubeconfig):
        found = backend.run([_kind(), "get", "kubeconfig", "--name", s.cluster])
        state.write_text(s.kubeconfig, found.stdout)


def _is_kubeconfig(path: Path) -> bool:
    try:
        document = yaml.safe_load(path.read_bytes())
        return bool(document["clusters"] and document["contexts"] and document["users"])
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError, RecursionError):
        return False


def _delete(existing: Node, progress: Progress, outcome: str) -> None:
    with progress.stage("delete the cluster") as note:
        backend.run(["docker", "rm", "--force", "--volumes", existing.container])
        note(outcome)


def _wait_until_ready(progress: Progress) -> None:
    with progress.stage("API server") as note:
        backend.wait(
            "An API server that is ready",
            observe=_readyz,
            done=lambda seen: seen == "ok",
            timeout=120,
            report=note,
        )


def _readyz() -> str:
    try:
        return backend.kubernetes("GET", "/readyz")
    except backend.KubernetesError as error:
        return f"not ready: {error.why.splitlines()[0]}"


def _step(line: str) -> str:
    return line.strip(" •✓✗.").strip()


def _not_ours(existing: Node) -> LabError:
    return LabError(
        f"There is a kind cluster `{settings().cluster}` already, and it is not this course's.",
        f"its node {existing.name} was not made by this course from {settings().home}",
        "set LABKIT_CLUSTER to another name, and leave that cluster alone",
    )


def _creation_failed(completed: backend.Completed) -> LabError:
    output = completed.stderr + completed.stdout
    causes = {
        "port is already allocated": "another program took the gateway's port meanwhile; run it again",
        "address already in use": "another program took the gateway's port meanwhile; run it again",
        "no space left on device": "the engine is out of disk; `docker system df` shows what uses it",
        "permission denied": "let your user use the engine: `labkit doctor` says how",
    }
    fix = next((fix for cause, fix in causes.items() if cause in output), "run `labkit doctor`, then `labkit up` again")
    return LabError("kind could not create the cluster.", "\n".join(output.strip().splitlines()[-12:]), fix)
