"""What may be asked of somebody else's cluster: whatever only looks, and changes in the reader's own namespace.

Who may do what is up to the API server. This keeps a reader who may do more than they know from doing it by a slip. A
request is judged by its method, its path and its body, as the API server reads them, whichever program sends it.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from labkit.api import protobuf
from labkit.commands.kinds import KINDS

NO_NAMESPACES = "a namespace is made and removed by those who run the cluster"
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_LOOKS = ("GET", "HEAD", "OPTIONS")
_CONNECTS = {"attach", "exec", "portforward", "proxy"}  # subresources that lead into a pod, a Service or a node
_OF_A_NAMESPACE = ("finalize", "status")  # subresources of a namespace, where others have the kinds in it
_REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")  # they ask whether somebody might; nothing is kept
# a sidecar's ports for these: https://istio.io/latest/docs/ops/deployment/application-requirements/
_METRICS = ("15020", "15090")


@dataclass(frozen=True)
class Asked:
    """A request. target: path and query, as they were sent. upgrades: it asks for another protocol than HTTP.

    looks_into_pods: a port may be forwarded outside of the reader's namespace, for a command known to look only.
    """

    method: str
    target: str
    body: bytes = b""
    content_type: str = "application/json"
    upgrades: bool = False
    looks_into_pods: bool = False


@dataclass(frozen=True)
class _Place:
    """Where a path leads. namespace: "" outside of any. beneath: the subresource and what follows it."""

    group: str
    namespace: str
    resource: str
    name: str
    beneath: tuple[str, ...]

    @property
    def connects(self) -> bool:
        return not _CONNECTS.isdisjoint(self.beneath[:1])


def why_not(asked: Asked, namespace: str) -> str:
    """Why a request is not let through to a cluster of which `namespace` is the reader's; "" where it is."""
    path, _, query = asked.target.partition("?")
    place = _place(unquote(path))
    if place is None:
        return f"{path} is no path that a Kubernetes API has"
    if place.namespace == namespace:
        return _in_the_readers(asked, place)
    if asked.method in _LOOKS and not asked.upgrades and not place.connects:
        return ""
    if _is_an_exception(asked, place, query):
        return ""
    return _whose(place)


def _place(path: str) -> _Place | None:
    """None for what only a path that means to mislead holds: no name needs any of it."""
    segments = path.rstrip("/").split("/")[1:]
    if {".", ".."} & set(segments):
        return None
    root, rest = (segments or [""])[0], []
    if root == "api":
        group, rest = "", segments[2:]
    elif root == "apis":
        group, rest = (segments[1:2] or [""])[0], segments[3:]
    else:
        return _Place("", "", "", "", ())
    if rest[:1] == ["proxy"]:  # as very old API servers spelled it
        return _Place(group, "", "", "", ("proxy",))
    rest = rest[1:] if rest[:1] == ["watch"] else rest
    scope, named = ("", rest)
    if rest[:1] == ["namespaces"] and len(rest) > 1:
        scope, named = rest[1], rest if len(rest) == 2 or rest[2] in _OF_A_NAMESPACE else rest[2:]
    if named[:1] == ["namespaces"]:
        scope = scope if group == "" else ""
    resource, name, *beneath = [*named, "", ""][: max(2, len(named))]
    if "" in segments[: len(segments) - len(beneath)] or any("%" in each for each in (scope, resource, name)):
        return None
    return _Place(group, scope, resource, name, tuple(beneath))


def _in_the_readers(asked: Asked, place: _Place) -> str:
    if asked.method in _LOOKS or place.connects:
        return ""
    if place.resource == "namespaces" and (asked.method != "PATCH" or place.beneath):
        return NO_NAMESPACES
    return _leads_out(asked, place.resource)


def _leads_out(asked: Asked, resource: str) -> str:
    """Why a change in the reader's namespace is none of that namespace's alone: a pod that is its node's."""
    try:
        found = _out_of_a_pod(asked, resource) if asked.body.strip() else []
    except (ValueError, RecursionError) as error:
        return f"its {asked.content_type} cannot be read here: {error}"
    return f"{found[0]} leads out of a pod, to the node that it runs on" if found else ""


def _out_of_a_pod(asked: Asked, resource: str) -> list[str]:
    """The fields in a body that lead there. Of a name that an object holds twice, the API server merges the values."""
    import yaml

    kind = asked.content_type.partition(";")[0].strip()
    if kind == _PROTOBUF:
        return protobuf.leads_out(resource, asked.body)
    if kind.endswith("json"):
        document = json.loads(asked.body, object_pairs_hook=_Pairs)
    elif kind.endswith("yaml"):
        try:
            document = yaml.safe_load(asked.body)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    else:
        raise ValueError("it is neither JSON, YAML nor protobuf")
    return sorted(set(_names(document)) & set(protobuf.LEADS))


class _Pairs(list[tuple[str, Any]]):
    """An object with each of its names, as often as it holds it."""


def _names(document: Any) -> Iterator[str]:
    """The fields that are set in an object, or by a patch: https://www.rfc-editor.org/rfc/rfc6902"""
    left = [document]
    while left:
        each = left.pop()
        if isinstance(each, _Pairs | Mapping):
            pairs = list(each.items()) if isinstance(each, Mapping) else each
            yield from (str(name) for name, value in pairs if value not in (None, False))
            yield from (part for name, value in pairs if name == "path" for part in str(value).split("/"))
            left += [value for _, value in pairs]
        elif isinstance(each, list):
            left += each


def _is_an_exception(asked: Asked, place: _Place, query: str) -> bool:
    if place.connects:
        return _reads_metrics(asked, place) or (asked.looks_into_pods and place.beneath == ("portforward",))
    if asked.method == "POST" and place.group in _REVIEWS and place.resource.endswith("reviews"):
        return True
    # not DELETE, whose body has a word in this that the query has not
    is_tried = parse_qs(query, keep_blank_values=True).get("dryRun") == ["All"]
    return is_tried and asked.method in ("PATCH", "POST", "PUT") and not place.beneath


def _reads_metrics(asked: Asked, place: _Place) -> bool:
    _, _, port = place.name.partition(":")
    is_a_proxys = place.resource == "pods" and port in _METRICS and place.beneath[1:] == ("stats", "prometheus")
    return asked.method == "GET" and not asked.upgrades and is_a_proxys


def _whose(place: _Place) -> str:
    kind = next((kind.singular for kind in KINDS if (kind.plural, kind.group) == (place.resource, place.group)), "")
    what = " ".join(filter(None, [kind or place.resource, place.name])) or "it"
    if place.resource == "namespaces":
        return f"{what} is somebody else's" if place.name else NO_NAMESPACES
    if place.namespace:
        return f"{what} is in namespace {place.namespace}, which is somebody else's"
    return f"{what} belongs to no namespace"
