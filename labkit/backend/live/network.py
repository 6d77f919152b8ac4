"""The way to the internet: through the reader's proxy, trusting whom the reader's machine trusts.

Nothing of it stands between the course and what is its own, on this machine.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from labkit.errors import LabError
from labkit.settings import settings, why_no_address

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NOT_PROXIED = "NO_PROXY"
SCHEMES = ("http", "https", "socks5", "socks5h")
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # OpenSSL's and Go's two, and one of requests


# -- proxies ------------------------------------------------------------------------------------


def environment(readers: Mapping[str, str]) -> dict[str, str]:
    """The reader's environment for a command: their proxies, with a way around them to the course's own cluster."""
    given = dict(readers)
    if not any(given.get(name) or given.get(name.lower()) for name in PROXIED):
        return given
    ours = [*LOOPBACK, f"{settings().cluster}-control-plane", ".svc", ".cluster.local"]
    around = dict.fromkeys([*_direct(given), *ours])
    return {**given, NOT_PROXIED: ",".join(around), NOT_PROXIED.lower(): ",".join(around)}


def proxy_for(url: str) -> str | None:
    """The address of the proxy on the way to `url`, user and password included; None where there is none.

    It is the environment's, by the rules of curl and of Go's net/http; on macOS, else the system's. Raises LabError
    for one that names no proxy.
    """
    target = urlsplit(url)
    host = target.hostname or ""
    listed = proxy_bypass(target.netloc.rpartition("@")[2]) or _in_a_network(host, _direct(os.environ))
    if listed or is_own(url):
        return None
    found = getproxies()
    if not (named := found.get(target.scheme) or found.get("all")):
        return None
    proxy = named.strip() if "://" in named else f"http://{named.strip()}"
    if why := why_no_address(proxy, SCHEMES):  # never with the address itself: it may hold a password
        variable = f"{target.scheme}_proxy" if found.get(target.scheme) else "all_proxy"
        raise LabError(
            f"The proxy that {variable.upper()} (or {variable}) names cannot be used.",
            why,
            f"set it to http://HOST:PORT, or unset it; {NOT_PROXIED} lists the hosts that are reached without it",
        )
    return proxy


def variables() -> list[str]:
    """The names by which `environment` tells a command of its proxies; their values may hold a password."""
    names = [*PROXIED, NOT_PROXIED]
    told = environment(os.environ)
    return [name for name in (*names, *map(str.lower, names)) if told.get(name)]


def is_own(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(url: str) -> str:
    """An address as it may be printed: without user and password."""
    before, scheme, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return before + scheme + host.rpartition("@")[2] + slash + path


def _direct(given: Mapping[str, str]) -> list[str]:
    """What the reader reaches without a proxy: the words of NO_PROXY and no_proxy."""
    words = ",".join(given.get(name, "") for name in (NOT_PROXIED, NOT_PROXIED.lower()))
    return [word.strip() for word in words.split(",") if word.strip()]


def _in_a_network(host: str, words: list[str]) -> bool:
    """As Go's net/http and curl read a network in NO_PROXY, such as 10.0.0.0/8; urllib does not."""
    for word in words:
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(word, strict=False):
                return True
        except ValueError:
            continue
    return False


# -- whom to trust --------------------------------------------------------------------------------


def trusted() -> ssl.SSLContext:
    """The authorities that the reader's variables name; else the system's, a company's own among them.

    Raises LabError where a variable names what cannot be read.
    """
    return _context(*(os.environ.get(name, "") for name in AUTHORITIES))


def authorities() -> str:
    """The same as PEM, for a container on this machine; "" where they are in no files, as on macOS."""
    if named := _named():
        return named
    paths = ssl.get_default_verify_paths()
    return _pem(Path(paths.cafile or paths.capath or os.devnull))


@functools.cache  # to read them takes longer than most answers
def _context(*_named_by: str) -> ssl.SSLContext:
    import certifi
    import truststore

    if named := _named():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=named)
        return context
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())  # for a machine that has none
    return context


def _named() -> str:
    found = (_authorities_of(name, value) for name in AUTHORITIES if (value := os.environ.get(name)))
    return "".join(dict.fromkeys(found))


def _authorities_of(variable: str, value: str) -> str:
    folders = value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]
    try:
        found = "".join(_pem(Path(folder)) for folder in folders)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except (OSError, ValueError) as error:
        raise LabError(
            f"The authorities that {variable} names cannot be read.",
            f"{value}: {error.strerror or error if isinstance(error, OSError) else 'no certificate in it'}",
            f"set {variable} to PEM certificates, or unset it: without it, those of the system are trusted",
        ) from error
    return found


def _pem(path: Path) -> str:
    """The certificates in a file, or in a folder's files, each once."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    texts = dict.fromkeys(file.read_text("utf-8", "replace") for file in files if not file.is_dir())
    return "".join(f"{text}\n" for text in texts if "BEGIN CERTIFICATE" in text)


def free_port() -> int:
    """A port of this machine's own address that nothing listens on now."""
    with socket.create_server((LOOPBACK[0], 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
