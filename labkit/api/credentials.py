"""What it takes to speak to the course's own endpoint on 127.0.0.1: a certificate, and a kubeconfig that names both."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from pathlib import Path

HOST = "127.0.0.1"


def written(context: str, namespace: str, port: int, certificate: bytes, token: str) -> str:
    """A kubeconfig that names an address on 127.0.0.1, its certificate and a token, under a context of this name."""
    import yaml

    server = {
        "server": f"https://{HOST}:{port}",
        "certificate-authority-data": base64.b64encode(certificate).decode(),
    }
    place = {"namespace": namespace} if namespace else {}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": server}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context, **place}}],
            "users": [{"name": context, "user": {"token": token}}],
        }
    )


def identity(folder: Path) -> tuple[bytes, Path]:
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
