"""One proxy, looked at until its configuration holds what is waited for.

https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--config_dump
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit import backend
from labkit.mesh.proxy.dump import Snapshot, read
from labkit.mesh.proxy.pods import Pod

QUIET = 0.25  # seconds without news from istiod: what one push brings is all there
Holds = Callable[[Snapshot], bool]
_NEWS = "/stats?filter=xds-grpc.*upstream_cx_rx_bytes_total"
_TIMES = {
    "clusters": "/config_dump?resource=dynamic_active_clusters&mask=last_updated,cluster.name",
    "listeners": "/config_dump?resource=dynamic_listeners&mask=name,active_state.last_updated",
    "routes": "/config_dump?resource=dynamic_route_configs&mask=last_updated,route_config.name",
}


@dataclass(frozen=True)
class Start:
    """The same moment by the clock that never goes back, and by the one that Envoy's may be compared with."""

    now: float = field(default_factory=backend.now)
    unix: float = field(default_factory=backend.unix_time)


class Watched:
    """One proxy under observation. `seconds` from the start until it held the change; None before."""

    def __init__(self, pod: Pod, get: Callable[[str], str], holds: Holds | None) -> None:
        self.pod, self._get, self._holds = pod, get, holds
        self.name = pod["metadata"]["name"]
        self.id = f"{self.name}.{pod['metadata']['namespace']}"
        self._looked_at = self.news_at = self._without_at = backend.now()  # the last look; with news; before the news
        self._news, self.is_unread = get(_NEWS), holds is not None
        self._before = self._times = _times(get)
        self.seconds: float | None = None
        self.resources: set[str] = set()
        self.doubtful = self.gone = False

    @property
    def is_over(self) -> bool:
        """No look could tell anything more."""
        return self.gone or (self._holds is not None and self.seconds is not None)

    @property
    def is_done(self) -> bool:
        """Holds it, and nothing that belongs to it is still on its way."""
        quiet = not self.is_unread and self._looked_at - self.news_at >= QUIET
        return self.is_over or (self.seconds is not None and quiet)

    def begin(self, start: Start, is_awaited: bool) -> None:
        """From now on, what comes is the change's doing."""
        self.news_at = max(self.news_at, start.now)
        self.seconds = None if is_awaited else 0.0

    def look(self, start: Start) -> None:
        """Read the configuration once news have come and no more are coming, so as not to keep Envoy from its work."""
        before, self._looked_at = self._looked_at, backend.now()
        news = self._get(_NEWS)
        if news != self._news:
            self._without_at = self._without_at if self.is_unread else before
            self._news, self.news_at, self.is_unread = news, backend.now(), True
        elif self.is_unread:
            self.is_unread = False
            self._read(start)

    def _read(self, start: Start) -> None:
        times, last = _times(self._get), self._times
        new = {name for name in times.keys() | last.keys() if times.get(name) != last.get(name)}
        held = self._holds(read(self.pod, self._get)) if self._holds else times != self._before
        self._times, self.doubtful = times, not held
        if held and (new or self.seconds is None):
            self.seconds = self._moment(start, [times[name] for name in new if name in times])
            self.resources |= new

    def _moment(self, start: Start, taken_up: list[str]) -> float:
        """When Envoy says it took them up, if that can be: after the last look without them, and before this one."""
        own = max((_unix(time) - start.unix for time in taken_up), default=-1.0)
        earliest, latest = max(self._without_at, start.now) - start.now, backend.now() - start.now
        return own if earliest <= own <= latest else self.news_at - start.now


def _times(get: Callable[[str], str]) -> dict[str, str]:
    """When Envoy took up each resource that it has from istiod (RFC 3339), by SECTION/NAME."""
    found = {section: json.loads(get(path)).get("configs", []) for section, path in _TIMES.items()}
    return dict(pair for section, items in found.items() for item in items if (pair := _time(section, item))[1])


def _time(section: str, item: Mapping[str, Any]) -> tuple[str, str]:
    name = item.get("name") or (item.get("cluster") or item.get("route_config") or {}).get("name", "")
    return f"{section}/{name}", item.get("active_state", item).get("last_updated", "")


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
