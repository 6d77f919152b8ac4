"""A proxy's configuration as frames, with istioctl proxy-config's own columns.

https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-proxy-config
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from labkit import backend
from labkit.mesh.diff import flatten
from labkit.mesh.proxy import describe
from labkit.mesh.proxy.dump import Message, Snapshot, snapshot
from labkit.mesh.proxy.pods import admin, find
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

_PASSTHROUGH = "PassthroughCluster"
_NO_ROUTE = {"match": {"prefix": "/"}}
_ABSENT = "-"


def listeners(pod: str) -> pd.DataFrame:
    """Where Envoy listens, one filter chain a row: addresses, port (int; 0 for none), match, destination."""
    rows = [
        {**_listener(message), "match": describe.chain_match(chain), "destination": describe.chain_destination(chain)}
        for message in _section(pod, "listeners")
        for chain in describe.filter_chains(message)
    ]
    return _frame(rows, ["addresses", "port", "match", "destination"], ["port", "addresses"])


def routes(pod: str) -> pd.DataFrame:
    """Where HTTP requests go, one route a row: name, vhost_name, domains, match, virtual_service (text).

    `virtual_service` is the NAME.NAMESPACE of the object that made the route, "" for one that Istio makes by itself,
    "404" for a virtual host without any. Routes that let everything through are left out.
    """
    rows = [
        {
            "name": config.get("name", ""),
            "vhost_name": host["name"],
            "domains": ", ".join(host.get("domains", [])),
            "match": describe.route_match(route["match"]),
            "virtual_service": "404" if route is _NO_ROUTE else describe.made_by(route),
        }
        for config in _section(pod, "routes")
        for host in config.get("virtual_hosts", [])
        for route in host.get("routes") or [_NO_ROUTE]
        if route.get("route", {}).get("cluster") != _PASSTHROUGH
    ]
    return _frame(rows, ["name", "vhost_name", "domains", "match", "virtual_service"])


def clusters(pod: str) -> pd.DataFrame:
    """Where Envoy can send traffic, one cluster a row: service_fqdn, port, subset, direction, type, destination_rule.

    All text; "-" for what the cluster's name does not say, "" where no DestinationRule had a hand in it.
    """
    rows = [
        {
            **_cluster_name(message["name"]),
            "type": message.get("cluster_type", {}).get("name") or message.get("type", "STATIC"),
            "destination_rule": describe.made_by(message),
        }
        for message in _section(pod, "clusters")
    ]
    columns = ["service_fqdn", "port", "subset", "direction", "type", "destination_rule"]
    return _frame(rows, columns, ["service_fqdn", "subset", "port", "direction"])


def endpoints(pod: str) -> pd.DataFrame:
    """The addresses behind each cluster: endpoint, status, outlier_check ("OK" or "FAILED"), cluster (text).

    `status` is what istiod says of it (HEALTHY, UNHEALTHY, DRAINING …), `outlier_check` what this proxy found itself.
    """
    with admin(find(pod)) as get:
        rows = read_endpoints(get)
    return _frame(rows, ["endpoint", "status", "outlier_check", "cluster"], ["cluster", "endpoint"])


def read_endpoints(get: Callable[[str], str]) -> list[dict[str, str]]:
    """The rows of `endpoints`, over a connection that is open already."""
    return [
        {
            "endpoint": describe.address(host.get("address", {})),
            "status": host.get("health_status", {}).get("eds_health_status", "UNKNOWN"),
            "outlier_check": "FAILED" if host.get("health_status", {}).get("failed_outlier_check") else "OK",
            "cluster": cluster,
        }
        for cluster, host in hosts(get)
    ]


def hosts(get: Callable[[str], str]) -> Iterator[tuple[str, Message]]:
    """Each cluster's name with each of its hosts, as Envoy shows them.

    https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/clusters.proto
    """
    for cluster in json.loads(get("/clusters?format=json")).get("cluster_statuses", []):
        yield from ((cluster["name"], host) for host in cluster.get("host_statuses", []))


def secrets(pod: str) -> pd.DataFrame:
    """The certificates that Envoy holds, never a key: resource_name, type ("Cert Chain", "CA"), status (text),
    valid_cert (by this machine's clock), serial_number (hexadecimal text), not_after, not_before (UTC timestamps).
    """
    import pandas as pd

    now = pd.Timestamp(backend.unix_time(), unit="s", tz="UTC")
    rows = [_secret(message, now) for message in _section(pod, "secrets")]
    columns = ["resource_name", "type", "status", "valid_cert", "serial_number", "not_after", "not_before"]
    return _frame(rows, columns, ["resource_name"])


def bootstrap(pod: str) -> pd.DataFrame:
    """What Envoy was started with, before istiod told it anything: field (`node.id`, `admin.address...`), value."""
    [message] = _section(pod, "bootstrap")
    rows = [{"field": field, "value": value} for field, value in flatten(message).items()]
    return _frame(rows, ["field", "value"])


def made_from(pod: str, kind: str, name: str, namespace: str = NAMESPACE) -> pd.DataFrame:
    """What an Istio object became in a proxy, one piece a row: section, resource, field, envoy (YAML).

    For VirtualServices and DestinationRules, whose names istiod leaves in what it makes of them, and for
    AuthorizationPolicies; empty where this proxy holds nothing of it.
    """
    rows = [
        {"section": section, "resource": resource, "field": field, "envoy": yaml.safe_dump(piece, sort_keys=False)}
        for section, resource, field, piece in pieces(snapshot(pod), kind, name, namespace)
    ]
    return _frame(rows, ["section", "resource", "field", "envoy"])


def pieces(held: Snapshot, kind: str, name: str, namespace: str) -> Iterator[tuple[str, str, str, Message]]:
    """The pieces of a configuration that an Istio object became: section, resource, field, Envoy's message."""
    kebab = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    path, policy = f"/namespaces/{namespace}/{kebab}/{name}", f"ns[{namespace}]-policy[{name}]-rule["

    def is_it(key: str, message: Mapping[str, Any]) -> bool:
        named = kind == "AuthorizationPolicy" and key.startswith(policy)
        return named or describe.config_path(message).endswith(path)

    for section, resources in held.sections.items():
        for resource, message in resources.items():
            for field, piece in _find(message, is_it):
                yield section, resource, field, piece


def _find(
    value: Any, is_it: Callable[[str, Mapping[str, Any]], bool], path: str = "", key: str = ""
) -> Iterator[tuple[str, Message]]:
    if isinstance(value, Mapping):
        if is_it(key, value):
            yield path, dict(value)
            return
        for name, item in value.items():
            yield from _find(item, is_it, f"{path}.{name}".lstrip("."), name)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            label = item.get("name", position) if isinstance(item, Mapping) else position
            yield from _find(item, is_it, f"{path}[{label}]", "")


def _section(pod: str, section: str) -> list[Message]:
    return list(snapshot(pod).sections[section].values())


def _frame(rows: list[dict[str, Any]], columns: list[str], order: Iterable[str] = ()) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(list(order), ignore_index=True, kind="stable") if order else frame


def _listener(message: Message) -> dict[str, Any]:
    addresses = [message.get("address", {}), *(more["address"] for more in message.get("additional_addresses", []))]
    sockets = [address["socket_address"] for address in addresses if "socket_address" in address]
    if not sockets:
        return {"addresses": message.get("name", ""), "port": 0}
    return {
        "addresses": ", ".join(socket["address"] for socket in sockets),
        "port": sockets[0].get("port_value", 0),
    }


def _cluster_name(name: str) -> dict[str, str]:
    """istiod names its clusters DIRECTION|PORT|SUBSET|HOST."""
    direction, port, subset, fqdn = name.split("|") if name.count("|") == 3 else ("", "", "", name)
    named = {"service_fqdn": fqdn, "port": port, "subset": subset, "direction": direction}
    return {column: value or (_ABSENT if column != "service_fqdn" else "") for column, value in named.items()}


def _secret(message: Message, now: pd.Timestamp) -> dict[str, Any]:
    import pandas as pd

    before, after = (pd.to_datetime(message.get(field), utc=True) for field in ("not_before", "not_after"))
    return {
        "resource_name": message["name"],
        "type": message.get("type", ""),
        "status": message["status"],
        "valid_cert": before is not None and bool(before < now < after),
        "serial_number": message.get("serial_number", ""),
        "not_after": after,
        "not_before": before,
    }
