"""What a certificate says of itself, as text and truth values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


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
