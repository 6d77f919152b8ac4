"""What a recording must not hold, and what stands in its place.

Secrets and what tells of the machine go as they are written down. Folders become words that playing back turns into
the reader's own. What a request makes up anew each time, such as a key, is left out of what is compared.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

from labkit.settings import REPOSITORY, settings

SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
    "a private key in base64": re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{0,16}UFJJVkFURSBLRVkt[A-Za-z0-9+/=]*"),
    "a token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a bearer token": re.compile(r"(?i)\bbearer [\w.~+/-]{16,}=*"),
    "a client key": re.compile(r"(?i)client-key-data[\"']?: ?[\"']?[A-Za-z0-9+/=]{16,}"),
    "a session": re.compile(r"\bsession=(?!scrubbed)[^;\s\"']{8,}"),
}
_IN_THEIR_PLACE = {"a session": "session=scrubbed"}
# A node tells of the machine that it runs on: https://kubernetes.io/docs/reference/node/node-status/#info
_MACHINE = re.compile(r'("(?:machineID|systemUUID|bootID|kernelVersion|osImage)": ?")[^"]*"')
# The modulus of an RSA key of 2048 bits, in base64url (RFC 7518, 6.3.1).
_MODULUS = re.compile(r"(?<![\w-])[\w-]{342}(?![\w-])")


def secrets(text: str) -> list[str]:
    """Which secrets a text holds, in words, without repeating them."""
    return [what for what, pattern in SECRETS.items() if pattern.search(text)]


def scrubbed(text: str) -> str:
    """A text as it may be written down."""
    return _host().sub("⟨host⟩", placed(_nameless(text)))


def placed(text: str) -> str:
    """A text with a word in place of each of the course's folders, where it stands as a path of its own."""
    for word, folder in _folders().items():
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w-])", word, text)
    return text


def expanded(text: str) -> str:
    """A text that was written down, with the reader's own folders in it."""
    for word, folder in _folders().items():
        text = text.replace(word, folder)
    return text


def compared(text: str) -> str:
    """A request's text as it is compared: without secrets, and without the keys that were made for it.

    Nothing in it depends on the machine: folders are expanded in what was recorded, and stay in what is asked.
    """
    if "PRIVATE KEY" in text:
        return "⟨holds a private key⟩"
    return _MODULUS.sub("⟨modulus⟩", _nameless(text))


def _nameless(text: str) -> str:
    for what, pattern in SECRETS.items():
        text = pattern.sub(_IN_THEIR_PLACE.get(what, f"⟨{what}⟩"), text)
    return _MACHINE.sub(r'\1⟨machine⟩"', text)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: each_text(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [each_text(item, change) for item in value]
    return value


def _folders() -> dict[str, str]:
    """The longest first: the cache may lie in the home, and both in the repository."""
    s = settings()
    folders = {"⟨cache⟩": str(s.cache), "⟨home⟩": str(s.home), "⟨course⟩": str(REPOSITORY)}
    return dict(sorted(folders.items(), key=lambda item: -len(item[1])))


@cache
def _host() -> re.Pattern[str]:
    """This machine's name and the reader's own folder, where they are words that tell of nothing else."""
    words = {socket.gethostname(), os.path.expanduser("~")} - {"", "/", "localhost", "kind"}
    return re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in sorted(words)) or r"(?!)")
