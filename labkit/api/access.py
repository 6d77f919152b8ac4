"""The way into a cluster of the reader's: `kubectl proxy`, the relay in front of it, and kubeconfigs that name that."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from labkit import state
from labkit.api.credentials import identity, written
from labkit.api.relay import Relay
from labkit.backend.live import processes
from labkit.errors import LabError

_ANY = "^.*$"
_NONE = "^$"


def start(context: str, namespace: str, kubeconfig: Path, environment: Mapping[str, str]) -> Path:
    """From now on, until this process ends, `kubeconfig` leads to the cluster of `context`, through the relay.

    `environment` has the reader's own KUBECONFIG. Returns the kubeconfig for commands, which alone is allowed less: no
    port of a pod of others. Raises LabError where the cluster cannot be asked.
    """
    with ExitStack() as left:
        folder = Path(left.enter_context(TemporaryDirectory(prefix="istio-lab-")))  # short, as a socket's path must be
        certificate, own_identity = identity(folder)
        socket = folder / "kubectl-proxy"
        left.enter_context(_kubectl_proxy(context, socket, environment))
        relay = Relay(socket, namespace, own_identity)
        own_identity.unlink()
        relay.start()
        left.callback(relay.close)
        _forget_the_dead(kubeconfig.parent)
        home = kubeconfig.parent / f"home-{os.getpid()}"
        commands = home / ".kube" / "config"
        commands.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, token in ((kubeconfig, relay.looking_token), (commands, relay.token)):
            state.write_text(path, written(context, namespace, relay.port, certificate, token))
        for path in (kubeconfig, home):
            left.callback(_remove, path)
        atexit.register(left.pop_all().close)
    return commands


@contextmanager
def _kubectl_proxy(context: str, socket: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Serves inside the block, and no longer than this process lives."""
    kubectl = shutil.which("kubectl", path=environment.get("PATH"))
    if kubectl is None:
        raise LabError(
            "The way into your cluster is through kubectl, which is not there.",
            "no `kubectl` is on the PATH",
            "install it: https://kubernetes.io/docs/tasks/tools/#kubectl",
        )
    argv = [kubectl, "proxy", "--context", context, "--unix-socket", str(socket), "--reject-paths", _NONE]
    argv += ["--accept-paths", _ANY, "--reject-methods", _NONE]
    said = socket.with_suffix(".log")
    with processes.held(argv, environment, said) as stdout:
        if not stdout.readline():
            why = said.read_text(errors="replace").strip()
            raise LabError(
                f"The context {context!r} leads to no cluster.",
                why or "`kubectl proxy` ended without a word",
                f"see that `kubectl --context {context} get namespaces` answers in a terminal, then restart the kernel",
            )
        yield


def _forget_the_dead(folder: Path) -> None:
    """Take away what a process left that was killed."""
    for path in folder.glob("*-[0-9]*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and int(pid) != os.getpid() and not psutil.pid_exists(int(pid)):
            _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
