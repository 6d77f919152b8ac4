"""Envoy's messages in the few words that istioctl has for them.

https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/#deep-dive-into-envoy-configuration
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_TCP_PROXY = "envoy.filters.network.tcp_proxy"
_BLACK_HOLE = "BlackHoleCluster"
_PROTOCOLS = {
    ("http/1.0", "http/1.1", "h2c"): "HTTP",
    ("istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "Istio HTTP Plain",
    ("http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "HTTP TLS",
    ("istio-peer-exchange", "istio"): "TCP TLS",
}


def address(message: Mapping[str, Any]) -> str:
    """10.244.0.5:9080, unix://./etc/istio/proxy/XDS, or envoy://LISTENER/ENDPOINT."""
    if "socket_address" in message:
        socket = message["socket_address"]
        return f"{socket.get('address', '')}:{socket.get('port_value', 0)}"
    if "pipe" in message:
        return f"unix://{message['pipe'].get('path', '')}"
    internal = message.get("envoy_internal_address", {})
    return f"envoy://{internal.get('server_listener_name', '')}/{internal.get('endpoint_id', '')}"


def whole_service(service: str, namespace: str) -> str:
    """What the names of a service's clusters have in common, those of its subsets left out.

    Istio names a cluster DIRECTION|PORT|SUBSET|HOST.
    """
    return f"||{service}.{namespace}.svc."


def filter_chains(listener: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All of them; the one for whatever no other matches comes last."""
    default = listener.get("default_filter_chain")
    return [*listener.get("filter_chains", []), *([default] if default else [])]


def chain_match(chain: Mapping[str, Any]) -> str:
    """What a connection must be like for this filter chain: `Trans: tls; App: HTTP TLS; Addr: *:9080`, or ALL."""
    match = chain.get("filter_chain_match", {})
    port = f":{match['destination_port']}" if "destination_port" in match else ""
    networks = ",".join(f"{r['address_prefix']}/{r.get('prefix_len', 0)}" for r in match.get("prefix_ranges", []))
    protocols = match.get("application_protocols", [])
    words = {
        "SNI": ",".join(match.get("server_names", [])),
        "Trans": match.get("transport_protocol", ""),
        "App": _PROTOCOLS.get(tuple(protocols), ",".join(protocols)),
        "Addr": f"{networks or '*'}{port}" if networks or port else "",
    }
    return "; ".join(f"{name}: {value}" for name, value in words.items() if value) or "ALL"


def chain_destination(chain: Mapping[str, Any]) -> str:
    """Where this filter chain sends it: a route configuration, a cluster, or what stands in the listener itself."""
    for each in chain.get("filters", []):
        config = each.get("typed_config", {})
        if each["name"] == _CONNECTION_MANAGER:
            return _http_destination(config)
        if each["name"] == _TCP_PROXY and config.get("cluster") != _BLACK_HOLE:
            return _cluster(config.get("cluster", ""))
    return "Non-HTTP/Non-TCP"


def route_match(match: Mapping[str, Any]) -> str:
    """`/*`, `PathPrefix:/api`, `/login` or `regex ...`; conditions on headers are left out."""
    words = [
        f"{match['prefix']}*" if match.get("prefix") else "",
        f"PathPrefix:{match['path_separated_prefix']}" if match.get("path_separated_prefix") else "",
        match.get("path", ""),
        f"regex {match['safe_regex']['regex']}" if "safe_regex" in match else "",
    ]
    return " ".join(filter(None, words))


def config_path(message: Mapping[str, Any]) -> str:
    """The Istio object that istiod made this from, as /apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME, or ""."""
    metadata = message.get("metadata", {})
    known = metadata.get("filter_metadata", {}) if isinstance(metadata, Mapping) else {}
    return known.get("istio", {}).get("config", "")


def made_by(message: Mapping[str, Any]) -> str:
    """The same as NAME.NAMESPACE."""
    *_, namespace, _, name = ["", "", "", *config_path(message).split("/")]
    return f"{name}.{namespace}" if namespace else ""


def _http_destination(manager: Mapping[str, Any]) -> str:
    if "route_config" in manager:
        return _inline_route(manager["route_config"])
    name = manager.get("rds", {}).get("route_config_name", "")
    return f"Route: {name}" if name else "HTTP"


def _inline_route(config: Mapping[str, Any]) -> str:
    hosts = config.get("virtual_hosts", [])
    routes = [route for host in hosts for route in host.get("routes", [])]
    everything = len(hosts) == len(routes) == 1 and hosts[0].get("domains") == ["*"]
    if everything and routes[0]["match"].get("prefix") == "/" and routes[0].get("route", {}).get("cluster"):
        return _cluster(routes[0]["route"]["cluster"])
    return f"Inline Route: {'; '.join(map(_virtual_host, hosts))}"


def _virtual_host(host: Mapping[str, Any]) -> str:
    domains = [] if host.get("domains") == ["*"] else host.get("domains", [])
    routes = ", ".join(route_match(route["match"]) for route in host.get("routes", []))
    return f"{'/'.join(domains)} {routes}".strip()


def _cluster(name: str) -> str:
    """PassthroughCluster and its like say by their names what they are."""
    return name if "Cluster" in name else f"Cluster: {name}"
