"""The way into a cluster of the reader's: `kubectl proxy`, the relay in front of it, and kubeconfigs that name that."""

from __future__ import annotations

import atexit
import base64
import datetime
import ipaddress
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from labkit import state
from labkit.api.relay import HOST, Relay
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
        certificate, identity = _identity(folder)
        socket = folder / "kubectl-proxy"
        left.enter_context(_kubectl_proxy(context, socket, environment))
        relay = Relay(socket, namespace, identity)
        identity.unlink()
        relay.start()
        left.callback(relay.close)
        _forget_the_dead(kubeconfig.parent)
        home = kubeconfig.parent / f"home-{os.getpid()}"
        commands = home / ".kube" / "config"
        commands.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, token in ((kubeconfig, relay.looking_token), (commands, relay.token)):
            state.write_text(path, _kubeconfig(context, namespace, relay.port, certificate, token))
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


def _kubeconfig(context: str, namespace: str, port: int, certificate: bytes, token: str) -> str:
    import yaml

    server = {
        "server": f"https://{HOST}:{port}",
        "certificate-authority-data": base64.b64encode(certificate).decode(),
    }
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": server}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
            "users": [{"name": context, "user": {"token": token}}],
        }
    )


def _identity(folder: Path) -> tuple[bytes, Path]:
    """A certificate for 127.0.0.1 that signs itself; and a file that holds it with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "istio-lab relay")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "identity.pem"
    path.touch(mode=0o600)
    path.write_bytes(secret + certificate)
    return certificate, path
