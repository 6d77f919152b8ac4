"""What was asked, as a recording keeps it: enough to know the same request again, and nothing secret."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.recordings.scrub import compared, each_text
from labkit.settings import MANIFESTS

LONG = 600  # characters; of a longer input a digest is kept
_OURS = re.compile(r"(?:\$\{?LABKIT_MANIFESTS\}?\"?|⟨course⟩/manifests)/([\w.-]+)")
# What each command may do that changes nothing; whatever else it is told changes something.
_READS = {
    "kubectl": {
        "api-resources", "auth", "config", "describe", "diff", "exec", "explain", "get", "logs", "version", "wait",
    },
    "istioctl": {
        "analyze", "experimental", "kube-inject", "manifest", "profile", "proxy-config", "proxy-status", "version",
    },
}  # fmt: skip
_CHANGES = re.compile(
    r"\bkubectl (?:apply|create|delete|label|annotate|patch|scale|set|rollout restart|replace|run)\b"
    r"|\bistioctl (?:install|uninstall)\b|\binstall -m"
)


def command(argv: Sequence[str], stdin: str | None) -> dict[str, Any]:
    """A command: its words, its input, and the digests of the course's manifests that it names."""
    words = [compared(str(word)) for word in argv]
    names = sorted({name for word in words for name in _OURS.findall(word)})
    request: dict[str, Any] = {"argv": words}
    if stdin is not None:
        request["stdin"] = _short(compared(stdin))
    if names:
        request["manifests"] = {name: _digest(name) for name in names}
    return request


def kubernetes(method: str, path: str, body: object, query: Mapping[str, str]) -> dict[str, Any]:
    """A request to the API server."""
    request: dict[str, Any] = {"method": method, "path": path}
    if query:
        request["query"] = each_text(dict(query), compared)
    if body is not None:
        request["body"] = _short(compared(json.dumps(body, sort_keys=True)))
    return request


def http(method: str, url: str, headers: Mapping[str, str], body: str | None) -> dict[str, Any]:
    """A request over HTTP; of its headers only the names, for cookies and tokens are values."""
    request: dict[str, Any] = {"method": method, "url": compared(url)}
    if headers:
        request["headers"] = sorted(name.lower() for name in headers)
    if body is not None:
        request["body"] = _short(compared(body))
    return request


def changes(kind: str, request: Mapping[str, Any]) -> bool:
    """Whether something is another after it."""
    if kind == "kubernetes":
        return request["method"] not in ("GET", "HEAD")
    if kind == "work":
        return request["name"].partition(" ")[0] in ("bring", "unpack", "remove", "copy", "put")
    return kind == "run" and _command_changes(request["argv"])


def said(kind: str, request: Mapping[str, Any]) -> str:
    """A request in a reader's words."""
    if kind == "run":
        words = request["argv"]
        return words[-1].strip() if words[0] == "bash" else " ".join([_program(words[0]), *words[1:]])
    if kind in ("kubernetes", "http"):
        return f"{request['method']} {request.get('path') or request['url']}"
    if kind in ("get", "forward"):
        return f"GET {request['pod']}:{request['port']}{request.get('path', '')}"
    return " ".join([kind, *map(str, request.values())])


def _command_changes(argv: Sequence[str]) -> bool:
    program, words = _program(argv[0]), list(argv[1:])
    if program == "bash":
        commands = re.split(r"[|;&\n]+", argv[-1].replace("\\\n", " "))
        return any(_CHANGES.search(each) and "--dry-run" not in each for each in commands)
    if program not in _READS or any(word.startswith("--dry-run") for word in words):
        return False
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb == "rollout":
        return "status" not in words
    return verb not in _READS[program]


def _program(path: str) -> str:
    return path.rpartition("/")[2]


def _digest(manifest: str) -> str:
    path = MANIFESTS / manifest
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "missing"


def _short(text: str) -> str:
    if len(text) <= LONG:
        return text
    return f"{len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
