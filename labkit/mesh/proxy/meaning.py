"""What two configurations must have in common to be the same by their meaning, and the names by which that is told.

Envoy goes through routes and through filters in order; through much else it does not.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.mesh.proxy import describe

Message = dict[str, Any]
_UNORDERED = {"virtual_hosts", "domains", "clusters", "server_names", "application_protocols", "prefix_ranges"}


def meaning(value: Any, field: str = "") -> Any:
    """A message without an order where Envoy knows none, so that equal ones are equal."""
    if isinstance(value, Mapping):
        return {key: meaning(item, key) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    items = [meaning(item) for item in value]
    if field == "filter_chains":  # Envoy takes the one that matches most closely, wherever it stands
        return renamed((describe.chain_match(chain), chain) for chain in items)
    return sorted(items, key=_canonical) if field in _UNORDERED else items


def unique(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """By name. Of several of one name that differ all but the first get a number, in an order that is theirs alone."""
    named: dict[str, Any] = {}
    known: set[tuple[str, str]] = set()
    numbers: Counter[str] = Counter()
    for name, identity, item in sorted(
        ((name, _identity(item), item) for name, item in items), key=lambda each: each[:2]
    ):
        if (name, identity) not in known:
            known.add((name, identity))
            numbers[name] += 1
            named[name if numbers[name] == 1 else f"{name} ({numbers[name]})"] = item
    return named


def renamed(items: Iterable[tuple[str, Message]]) -> list[Message]:
    """A list that a diff tells by name, whatever its order."""
    return [{**item, "name": name} for name, item in unique(items).items()]


def _identity(item: Any) -> str:
    return _canonical(meaning(item[0] if isinstance(item, tuple) else item))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
