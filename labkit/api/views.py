"""What proxies and istiod show of themselves over HTTP, written down: Envoy's dump piece by piece, for most stays.

A piece stands once, by a digest of its text, in whichever proxies and moments it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from labkit.api.recorded import Key, State

VIEW, DUMP, PIECE = "view", "dump", "piece"
DUMPED = "/config_dump"
WITH_ENDPOINTS = "/config_dump?include_eds"
_ENDPOINTS = "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump"
# Each push counts them up, in every piece: a state would be another one for nothing
_VOLATILE = ("version_info", "last_updated")


def pieces(place: str, dump: str) -> Iterator[tuple[Key, str]]:
    """Envoy's config_dump as it is kept.

    https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
    """
    kept: dict[Key, str] = {}

    def piece(value: Any) -> str:
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name not in _VOLATILE}
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)  # Envoy's order is none
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        kept[PIECE, digest] = text
        return digest

    configs = [
        {
            name: [piece(each) for each in value] if isinstance(value, list) else piece(value)
            for name, value in each.items()
        }
        for each in json.loads(dump)["configs"]
    ]
    yield (DUMP, place), json.dumps(configs, separators=(",", ":"))
    yield from kept.items()


def shown(state: State, place: str, path: str) -> str | None:
    """What `place` (NAMESPACE/POD:PORT) shows at a path; None where that was not written down.

    Of a dump under a mask all is shown, what the mask leaves out, too.
    """
    asked = urlsplit(path)
    query = parse_qs(asked.query, keep_blank_values=True)
    if asked.path != DUMPED or query.keys() - {"include_eds", "mask"}:
        return state.get((VIEW, f"{place} {path}"))
    if (DUMP, place) not in state:
        return None
    configs = [{name: _whole(state, value) for name, value in each.items()} for each in json.loads(state[DUMP, place])]
    chosen = [each for each in configs if "include_eds" in query or each["@type"] != _ENDPOINTS]
    return json.dumps({"configs": chosen}, indent=1)


def _whole(state: State, value: str | list[str]) -> Any:
    if isinstance(value, list):
        return [json.loads(state[PIECE, each]) for each in value]
    return json.loads(state[PIECE, value])
