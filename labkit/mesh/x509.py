"""What a certificate says of itself, as text and truth values; and certificates made here."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

LONGEST_COMMON_NAME = 64  # characters: https://www.rfc-editor.org/rfc/rfc5280#appendix-A

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def decoded(text: str) -> str:
    """Bytes of a message's as text; "" for what is no base64."""
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except ValueError:
        return ""


def serial(certificate: x509.Certificate) -> str:
    """Its serial number, as 32 hexadecimal digits."""
    return f"{certificate.serial_number:032x}"


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign others: https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.9"""
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


@dataclass(frozen=True)
class Issued:
    """A server's certificate, the CA's that signed it, and the server's private key, which no text of this shows."""

    certificate: str
    ca: str
    private_key: str = field(repr=False)


def issue(host: str, ca: str, now: datetime, lifetime: timedelta) -> Issued:
    """A CA of this name, and a certificate that it signed for a server of this host name; all PEM.

    Both are valid from a minute ago, for clocks that differ. The CA's own key is gone when this returns: it signs
    nothing else. What they say is what https://www.rfc-editor.org/rfc/rfc5280 asks of them.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signs = [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage("key_cert_sign"), True)]
    serves = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage("digital_signature"), True),
        # critical where nothing else names the server: https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6
        (x509.SubjectAlternativeName([x509.DNSName(host)]), len(host) > LONGEST_COMMON_NAME),
    ]
    dates = now - timedelta(minutes=1), now + lifetime
    return Issued(
        certificate=_certificate(host, server, serves, dates, ca, authority),
        ca=_certificate(ca, authority, signs, dates, ca, authority),
        private_key=server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def _certificate(
    subject: str,
    key: EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
    dates: tuple[datetime, datetime],
    issuer: str,
    signer: EllipticCurvePrivateKey,
) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    keys = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    number = x509.random_serial_number()
    builder = x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), number, *dates)
    for extension, is_critical in [*extensions, *keys]:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _name(common_name: str) -> x509.Name:
    """Without one where it is too long for that: a host's name stands among the alternative names all the same."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    if len(common_name) > LONGEST_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(one: str) -> x509.KeyUsage:
    from cryptography import x509

    all_ = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
              "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]  # fmt: skip
    return x509.KeyUsage(**{name: name == one for name in all_})
