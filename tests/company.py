"""A company's network, on loopback: a proxy that asks for a password, and a server whose CA no machine knows."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOGIN = "reader:s3cret"


@dataclass
class Proxy:
    """An HTTP proxy, to which every name leads to 127.0.0.1. `asked` lists each request's method and target."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://{LOGIN}@127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n")[0].split()
            self.asked.append((method, target))
            if base64.b64encode(LOGIN.encode()).decode() not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            else:
                await _relay(method, target, head, reader, writer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()


async def _relay(
    method: str, target: str, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    there = urlsplit(target if method != "CONNECT" else f"//{target}")
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", there.port)
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        path = target.removeprefix(f"{there.scheme}://{there.netloc}")
        far_writer.write(head.replace(target, path, 1).encode())
    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


@contextmanager
def proxy() -> Iterator[Proxy]:
    """A Proxy that listens for as long as the block lasts."""
    it = Proxy()

    async def listen(ready: threading.Event, over: asyncio.Event) -> None:
        server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
        it.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()

    with _in_a_loop(listen):
        yield it


@contextmanager
def _in_a_loop(listen) -> Iterator[None]:
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def run(main: Coroutine) -> None:
        loop.run_until_complete(main)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, args=(listen(ready, over),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@dataclass(frozen=True)
class Authority:
    """A CA of the company's. `certificate` is its PEM file."""

    certificate: Path
    _key: ec.EllipticCurvePrivateKey
    _name: x509.Name

    @classmethod
    def made(cls, folder: Path) -> Authority:
        key, name = ec.generate_private_key(ec.SECP256R1()), _named("A company's CA")
        signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _certificate(name, key)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(signs, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        file = folder / "company.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(file, key, name)

    def server(self, *names: x509.GeneralName) -> ssl.SSLContext:
        """What a server of these names needs for TLS."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(_named("server"), key)
            .issuer_name(self._name)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            # Python 3.13 takes no certificate without it
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        file = self.certificate.with_name("server.pem")
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, form, plain)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
