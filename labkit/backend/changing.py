"""Which commands change something."""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def command_changes(argv: Sequence[str]) -> bool:
    """Whether something is another after this command, as far as its words go."""
    program, words = argv[0].rpartition("/")[2], list(argv[1:])
    if program == "bash":
        commands = re.split(r"[|;&\n]+", argv[-1].replace("\\\n", " "))
        return any(_CHANGES.search(each) and "--dry-run" not in each for each in commands)
    if program not in _READS or any(word.startswith("--dry-run") for word in words):
        return False
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb == "rollout":
        return "status" not in words
    return verb not in _READS[program]
