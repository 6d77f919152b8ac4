"""A proxy's whole configuration at one moment.

The shapes are those of Envoy's config_dump:
https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.errors import LabError
from labkit.mesh.proxy import describe
from labkit.mesh.proxy.meaning import renamed, unique
from labkit.mesh.proxy.pods import admin, find
from labkit.mesh.x509 import decoded, is_ca, serial

SECTIONS = ("bootstrap", "listeners", "routes", "clusters", "endpoints", "secrets")
DUMP = "/config_dump?include_eds"
Message = dict[str, Any]
# Each section's lists in a dump, and the field of their items that holds the resource. What is still warming up is not
# held yet, and what is draining is not held any more; secrets alone are shown on their way, as istioctl does.
_LISTS = {
    "listeners": {"static_listeners": "listener", "dynamic_listeners": "listener"},
    "routes": {"static_route_configs": "route_config", "dynamic_route_configs": "route_config"},
    "clusters": {"static_clusters": "cluster", "dynamic_active_clusters": "cluster"},
    "endpoints": {"static_endpoint_configs": "endpoint_config", "dynamic_endpoint_configs": "endpoint_config"},
    "secrets": {
        "static_secrets": "secret",
        "dynamic_active_secrets": "secret",
        "dynamic_warming_secrets": "secret",
    },
}
_SENSITIVE = {"private_key", "private_key_provider", "password", "session_ticket_keys", "generic_secret"}


@dataclass(frozen=True)
class Rejection:
    """A resource that Envoy refused: its details are Envoy's own words, `last_update_attempt` RFC 3339 or ""."""

    section: str
    resource: str
    details: str
    last_update_attempt: str


@dataclass(frozen=True)
class Snapshot:
    """What one proxy was configured with.

    sections: by section (bootstrap, listeners, routes, clusters, endpoints, secrets) and name, Envoy's own message as
    its JSON has it; of a secret only what its certificate says of itself, of a cluster's endpoints one each address.
    updated: by "SECTION/NAME", when Envoy took the resource up (RFC 3339, its own clock); endpoints have no such time.
    rejected: what it refused since.
    """

    pod: str
    namespace: str
    sections: Mapping[str, Mapping[str, Message]]
    updated: Mapping[str, str]
    rejected: tuple[Rejection, ...]


def snapshot(pod: str) -> Snapshot:
    """A proxy's whole configuration, now. Raises LabError where the pod, its proxy or the permission is missing."""
    found = find(pod)
    with admin(found) as get:
        return read(found, get)


def read(pod: Mapping[str, Any], get: Callable[[str], str]) -> Snapshot:
    """The same over a connection that is open already."""
    return parse(get(DUMP), pod["metadata"]["name"], pod["metadata"]["namespace"])


def parse(dump: str, pod: str, namespace: str) -> Snapshot:
    """A config_dump's text as a Snapshot. What is private never gets out of here."""
    sections: dict[str, dict[str, Message]] = {section: {} for section in SECTIONS}
    updated: dict[str, str] = {}
    configs = _load(dump)
    for section, found in _resources(configs):
        for name, (message, time) in found.items():
            sections[section][name] = message
            updated |= {f"{section}/{name}": time} if time else {}
    _drop_learned_endpoints(sections)
    return Snapshot(pod, namespace, sections, updated, tuple(_rejections(configs)))


def first_certificate(pem: str) -> dict[str, str]:
    """What the first certificate in a chain says of itself: type, serial_number, not_before, not_after (RFC 3339)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    except (ValueError, UnsupportedAlgorithm):
        return {}
    return {
        "type": "CA" if is_ca(certificate) else "Cert Chain",
        "serial_number": serial(certificate),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


# -- from the dump ------------------------------------------------------------------------------
def _load(dump: str) -> list[Message]:
    try:
        configs = json.loads(dump, object_hook=_public)["configs"]
        return [config for config in configs if isinstance(config, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            "The proxy's configuration could not be read.",
            f"its answer to {DUMP} is no config_dump: {error}",
            "the proxy may be starting or ending; run the cell again",
        ) from None


def _public(message: Message) -> Message:
    """Without what is private; null stands for a field that is not set."""
    return {field: value for field, value in message.items() if field not in _SENSITIVE and value is not None}


def _resources(configs: Iterable[Message]) -> Iterator[tuple[str, dict[str, tuple[Message, str]]]]:
    for config in configs:
        if "bootstrap" in config:
            yield "bootstrap", {"bootstrap": (_without_extensions(config["bootstrap"]), "")}
        for section, lists in _LISTS.items():
            found = [_held(section, name, item) for name in lists for item in config.get(name, [])]
            yield section, unique((_name(message), (message, time)) for message, time in found if message)


def _held(section: str, list_name: str, item: Message) -> tuple[Message, str]:
    """The resource in an item of a dump, and when it was taken up; nothing where it is not (or no more) held."""
    field = _LISTS[section][list_name]
    if list_name == "dynamic_listeners":
        item = item.get("active_state", {})
    message, time = item.get(field, {}), item.get("last_updated", "")
    if section == "endpoints":
        return _endpoints(message), time
    return (_certificate(message, list_name, item) if section == "secrets" else message), time


def _name(message: Message) -> str:
    return message.get("name") or message.get("cluster_name", "")


def _without_extensions(bootstrap: Message) -> Message:
    """A hundred kilobytes of what this Envoy was built with are no configuration."""
    node = {field: value for field, value in bootstrap.get("node", {}).items() if field != "extensions"}
    return {**bootstrap, "node": node}


def _certificate(secret: Message, list_name: str, item: Message) -> Message:
    chain = secret.get("tls_certificate", {}).get("certificate_chain", {})
    trusted = secret.get("validation_context", {}).get("trusted_ca", {})
    pem = decoded((chain or trusted).get("inline_bytes", ""))
    status = "WARMING" if list_name == "dynamic_warming_secrets" else "ACTIVE"
    status = "UNINITIALIZED" if item.get("version_info") == "uninitialized" else status
    return {"name": secret.get("name") or item.get("name", ""), "status": status, **first_certificate(pem)}


def _endpoints(assignment: Message) -> Message:
    """One of each address, in place of lists in lists whose order says nothing."""
    found = [
        (_address(each), _endpoint(each, group))
        for group in assignment.get("endpoints", [])
        for each in group.get("lb_endpoints", [])
    ]
    return {"cluster_name": assignment.get("cluster_name", ""), "endpoints": renamed(found)}


def _address(each: Message) -> str:
    """Of an endpoint that is named alone, its name."""
    address = each.get("endpoint", {}).get("address", {})
    return describe.address(address) if address else each.get("endpoint_name", "")


def _endpoint(each: Message, group: Message) -> Message:
    where = {"locality": group.get("locality", {}), "priority": group.get("priority", 0)}
    return {**{field: value for field, value in each.items() if field != "endpoint"}, **where}


def _drop_learned_endpoints(sections: dict[str, dict[str, Message]]) -> None:
    """An ORIGINAL_DST cluster learns its endpoints from the traffic that passes: they are no configuration."""
    for name, cluster in sections["clusters"].items():
        if cluster.get("type") == "ORIGINAL_DST":
            sections["endpoints"].pop(name, None)


def _rejections(configs: Iterable[Message]) -> Iterator[Rejection]:
    """Of Envoy's resources only listeners remember why they were refused; of the others istiod knows."""
    for listener in (each for config in configs for each in config.get("dynamic_listeners", [])):
        name, state = listener.get("name"), listener.get("error_state")
        if name and state:
            yield Rejection("listeners", name, state.get("details", ""), state.get("last_update_attempt", ""))
