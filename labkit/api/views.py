"""What proxies and istiod show of themselves over HTTP, written down: Envoy's dump piece by piece, for most stays.

A piece stands once, by a digest of its text, in whichever proxies and moments it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from labkit.api.recorded import Key, State
from labkit.backend.requests import Kubernetes
from labkit.settings import STATS_PORT

# The counters that are asked of a proxy, a hundredth of what it counts, by the names that Envoy calls them inside, and
# its `filter` looks for: `istiocustom.istio_requests_total…` in Istio's Envoy, `istio.requests_total…` in upstream's.
# https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--stats
COUNTERS = "istio.request(s_total|_duration_milliseconds)"
_PROXIED = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+:\d+)/proxy(/.*)")

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


def stats(pod: str) -> Kubernetes:
    """The question for a proxy's counters, through the API server. pod: NAMESPACE/POD."""
    namespace, _, name = pod.partition("/")
    path = f"/api/v1/namespaces/{namespace}/pods/{name}:{STATS_PORT}/proxy/stats/prometheus"
    return Kubernetes("GET", path, query={"filter": COUNTERS})


def counted(pod: str) -> Key:
    """Where a proxy's counters are kept."""
    return VIEW, f"{pod}:{STATS_PORT} /stats/prometheus?{urlencode({'filter': COUNTERS})}"


def proxied(state: State, path: str, query: Mapping[str, str]) -> str | None:
    """What a pod answered over HTTP through the API server; None where that was not written down.

    https://kubernetes.io/docs/tasks/administer-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
    """
    found = _PROXIED.fullmatch(path)
    asked = f"?{urlencode(query)}" if query else ""
    return shown(state, f"{found[1]}/{found[2]}", f"{found[3]}{asked}") if found else None


def _whole(state: State, value: str | list[str]) -> Any:
    if isinstance(value, list):
        return [json.loads(state[PIECE, each]) for each in value]
    return json.loads(state[PIECE, value])
