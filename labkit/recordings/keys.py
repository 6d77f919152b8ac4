"""What was asked, as a recording keeps it: enough to know the same request again, and nothing secret."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from labkit.backend.requests import Command, Request, key
from labkit.recordings.scrub import compared, each_text, placed
from labkit.settings import MANIFESTS

LONG = 600  # characters; of a longer input a digest is kept


def kept(request: Request[Any]) -> dict[str, Any]:
    """A request as it is compared. Long inputs stand there by their digest, the course's manifests that a command
    names with theirs, and what is made anew each time is left out.
    """
    asked = each_text(request.asked(), compared)
    for name in {"stdin", "body"} & set(asked):
        asked[name] = _short(asked[name])
    if isinstance(request, Command) and (names := _manifests(asked["argv"])):
        asked["manifests"] = {name: _digest(name) for name in names}
    return asked


def wanted(request: Request[Any]) -> str:
    """The key by which a recording is asked for a request."""
    return key(request.kind, kept(request))


def _manifests(words: list[str]) -> list[str]:
    ours = re.compile(rf'(?:\$\{{?LABKIT_MANIFESTS\}}?"?|{re.escape(str(MANIFESTS))})/([\w.-]+)')
    return sorted({name for word in words for name in ours.findall(word)})


def _digest(manifest: str) -> str:
    path = MANIFESTS / manifest
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "missing"


def _short(text: str) -> str:
    """Of a long text a digest, the same wherever the course's folders lie."""
    text, short = placed(text), text
    if len(text) <= LONG:
        return short
    return f"{len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
