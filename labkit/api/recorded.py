"""A recorded cluster's API: what its API server would answer to whoever looks, from a state that was written down.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

Key = tuple[str, str]
State = Mapping[Key, str]

# What a state holds beside its objects, which go by their collection's path
DOCUMENT, COLUMNS, LOG = "document", "columns", "log"
# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

PATH = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<beneath>[^/]+))?)?"
)
GROUPS = "/apis"  # lists all groups that there are
LOOKS = ("GET", "HEAD")
RECORDED = "the mesh is a recorded one"  # begins each refusal that a live API server would not have uttered
# https://kubernetes.io/blog/2025/04/24/endpoints-deprecation/
_DEPRECATED = {"/api/v1/endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
# The columns that tell how long ago, and the fields that they are reckoned from, the first that there is
_AGE = {
    "Age": ("metadata.creationTimestamp",),
    "Last Seen": ("series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "eventTime"),
    "First Seen": ("firstTimestamp", "deprecatedFirstTimestamp", "eventTime"),
}
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
_REQUIREMENT = re.compile(
    r"\s*(?:(?P<not>!)?(?P<exists>[\w./-]+)\s*$|(?P<key>[\w./-]+)\s*"
    r"(?:(?P<sign>==|=|!=)\s*(?P<value>[\w./-]*)|(?P<set>in|notin)\s*\((?P<values>[^)]*)\)))\s*"
)


@dataclass(frozen=True)
class Asked:
    """A request to an API server. query: each parameter's first value. sent: the media type of the body."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str = ""
    sent: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What it answers: a status and a text, of JSON unless it is a log. watch: it goes on, and nothing comes.

    warning: what an API server says of a kind that it is about to give up.
    """

    status: int
    text: str
    media_type: str = "application/json"
    watch: bool = False
    warning: str = ""


class Refusal(Exception):
    """Why a request is not answered, as a Status tells it."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details or {}


def answer(state: State, at: float, asked: Asked) -> Answer:
    """What the API server would have answered at that moment; at: seconds since 1970."""
    return replace(told(lambda: _answer(state, at, asked)), warning=_warning(asked.path))


def told(answering: Callable[[], Answer]) -> Answer:
    """An answer; a refusal as the API server tells it.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """
    try:
        return answering()
    except Refusal as refusal:
        status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(refusal),
            "reason": refusal.reason, "details": refusal.details, "code": refusal.code,
        }  # fmt: skip
        return Answer(refusal.code, json.dumps(status))


def _warning(path: str) -> str:
    found = PATH.fullmatch(path)
    return _DEPRECATED.get(f"{found['root']}/{found['resource']}", "") if found else ""


def knows(state: State, asked: Asked) -> bool:
    """Whether a state says what is asked, be it that there is no such thing."""
    found = PATH.fullmatch(asked.path)
    if (DOCUMENT, asked.path) in state or not found:
        return (DOCUMENT, asked.path) in state
    told = (DOCUMENT, found["root"]) in state or (DOCUMENT, GROUPS) in state  # which groups there are not, too
    return told and found["beneath"] in (None, "log", "status", "scale")


def _answer(state: State, at: float, asked: Asked) -> Answer:
    if asked.method not in LOOKS:
        raise Refusal(405, "MethodNotAllowed", f"{RECORDED}: it can be looked at, and not be changed")
    path = asked.path.rstrip("/")
    if (DOCUMENT, path) in state:
        return Answer(200, state[DOCUMENT, path])
    found = PATH.fullmatch(path)
    if not found or (DOCUMENT, found["root"]) not in state:
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    collection, version = collection_of(state, found["root"], found["resource"])
    if found["beneath"] == "log":
        return _log(state, found, asked.query)
    names = [name for what, name in state if what == collection and _is_in(name, found["namespace"])]
    if found["name"]:
        names = [name for name in names if name.rpartition("/")[2] == found["name"]]
        if not names or found["beneath"] not in (None, "status", "scale"):
            raise Refusal(404, "NotFound", f'{of_group(found)} "{found["name"]}" not found')
    held = [json.loads(state[collection, name]) for name in sorted(names)]
    chosen = [each for each in held if _matches(each["object"], asked.query)]
    if "sendInitialEvents" in asked.query:  # who is refused this lists first, and then watches
        raise Refusal(422, "Invalid", f"sendInitialEvents is forbidden: {RECORDED}")
    if asked.query.get("watch") in ("true", "1"):
        return Answer(200, "", watch=True)
    if "as=Table" in asked.accept:
        return Answer(200, json.dumps(_table(state, collection, chosen, at, asked.query)))
    objects = [{**each["object"], "apiVersion": version} for each in chosen]
    if found["name"]:
        return Answer(200, json.dumps(objects[0]))
    return Answer(200, json.dumps({**_list_kind(state, found), "metadata": {"resourceVersion": "1"}, "items": objects}))


def collection_of(state: State, root: str, resource: str) -> tuple[str, str]:
    """Where the objects stand, and the version to tell them in: defined kinds stand once, under one version."""
    version = root.removeprefix("/apis/").removeprefix("/api/")
    known = {each["name"]: each for each in json.loads(state[DOCUMENT, root])["resources"]}
    if resource not in known:
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    own = f"{root}/{resource}"
    return (own if (COLUMNS, own) in state else _elsewhere(state, root, resource) or own), version


def _elsewhere(state: State, root: str, resource: str) -> str:
    """The collection of the same kind under another version of its group; "" where there is none."""
    group = root.rpartition("/")[0]
    others = (name for what, name in state if what == COLUMNS and name.startswith(f"{group}/"))
    return next((name for name in others if name.removeprefix(group).split("/")[2:] == [resource]), "")


def _list_kind(state: State, found: re.Match[str]) -> dict[str, str]:
    told = json.loads(state[DOCUMENT, found["root"]])
    kind = next(each["kind"] for each in told["resources"] if each["name"] == found["resource"])
    return {"kind": f"{kind}List", "apiVersion": told["groupVersion"]}


def of_group(found: re.Match[str]) -> str:
    """The resource that a path names, as errors call it: RESOURCE.GROUP."""
    group = found["root"].removeprefix("/apis/").partition("/")[0] if found["root"] != "/api/v1" else ""
    return f"{found['resource']}.{group}" if group else found["resource"]


def _is_in(name: str, namespace: str | None) -> bool:
    return namespace is None or name.startswith(f"{namespace}/")


# -- logs -----------------------------------------------------------------------------------------
def _log(state: State, found: re.Match[str], query: Mapping[str, str]) -> Answer:
    pod = f"{found['namespace']}/{found['name']}"
    containers = [name.rpartition("/")[2] for what, name in state if what == LOG and name.startswith(f"{pod}/")]
    if ("/api/v1/pods", pod) not in state:
        raise Refusal(404, "NotFound", f'pods "{found["name"]}" not found')
    container = query.get("container") or (containers[0] if len(containers) == 1 else "")
    if container not in containers:
        raise Refusal(
            400, "BadRequest",
            f"container {container} is not valid for pod {found['name']}" if container else
            f"a container name must be specified for pod {found['name']}, choose one of: [{' '.join(containers)}]",
        )  # fmt: skip
    lines = state[LOG, f"{pod}/{container}"].splitlines(keepends=True)
    tail = query.get("tailLines", "")
    return Answer(200, "".join(lines[-int(tail) :] if tail.isdigit() and int(tail) else lines), "text/plain")


# -- selectors --------------------------------------------------------------------------------------
def _matches(object_: dict[str, Any], query: Mapping[str, str]) -> bool:
    labels = object_["metadata"].get("labels") or {}
    by_label = all(_label_fits(labels, each) for each in _split(query.get("labelSelector", "")))
    return by_label and all(_field_fits(object_, each) for each in query.get("fieldSelector", "").split(",") if each)


def _split(selector: str) -> Iterator[str]:
    """The requirements of a selector, by the commas that stand in no brackets."""
    yield from (each for each in re.split(r",(?![^(]*\))", selector) if each.strip())


def _label_fits(labels: Mapping[str, str], requirement: str) -> bool:
    said = _REQUIREMENT.fullmatch(requirement)
    if not said:
        raise Refusal(400, "BadRequest", f"unable to parse requirement: {requirement}")
    if said["exists"]:
        return (said["exists"] in labels) != bool(said["not"])
    value = labels.get(said["key"])
    if said["set"]:
        among = value in {each.strip() for each in said["values"].split(",")}
        return among if said["set"] == "in" else not among
    return (value == said["value"]) != (said["sign"] == "!=")


def _field_fits(object_: dict[str, Any], requirement: str) -> bool:
    field, sign, value = (
        re.split(r"(!=|==|=)", requirement, maxsplit=1) if "=" in requirement else (requirement, "", "")
    )
    if not sign:
        raise Refusal(400, "BadRequest", f"invalid field selector: {requirement}")
    found = _at(object_, field.strip())
    return (("" if found is None else str(found)) == value.strip()) != (sign == "!=")


# -- tables -----------------------------------------------------------------------------------------
def _table(state: State, collection: str, held: list[dict[str, Any]], at: float, query: Mapping[str, str]) -> Any:
    columns = json.loads(state.get((COLUMNS, collection), "[]"))
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"},
        "columnDefinitions": columns,
        "rows": [
            {"cells": _cells(columns, each, at), "object": _beside(each["object"], query.get("includeObject", ""))}
            for each in held
        ],
    }  # fmt: skip


def _beside(object_: dict[str, Any], include: str) -> Any:
    if include == "Object":
        return object_
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object_["metadata"]}


def _cells(columns: list[dict[str, Any]], held: dict[str, Any], at: float) -> list[Any]:
    """An age is that of the moment: a row stands as it was when its object last changed."""
    cells = list(held["cells"])
    for place, column in enumerate(columns[: len(cells)]):
        if column["name"] in _AGE and (since := _since(held["object"], column["name"])):
            cells[place] = age(at - since)
    return cells


def ageless(columns: list[dict[str, Any]], held: dict[str, Any]) -> list[Any]:
    """A row's cells without the ages, which a moment tells: so that time alone makes no row another."""
    pairs = zip(columns, held["cells"], strict=False)
    return ["" if column["name"] in _AGE and _since(held["object"], column["name"]) else cell for column, cell in pairs]


def _since(object_: dict[str, Any], column: str) -> float:
    """Since when, in seconds since 1970; 0.0 where the object does not say."""
    told = next((value for field in _AGE[column] if (value := _at(object_, field))), None)
    return datetime.fromisoformat(told).timestamp() if isinstance(told, str) else 0.0


def _at(object_: Any, field: str) -> Any:
    """What stands at a field, its parts with dots between them; none where nothing does."""
    for part in field.split("."):
        object_ = object_.get(part) if isinstance(object_, dict) else None
    return object_


def age(seconds: float) -> str:
    """As kubectl writes it: https://pkg.go.dev/k8s.io/apimachinery/pkg/util/duration#HumanDuration"""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{rest}s" if (rest := whole % 60) else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{rest}m" if (rest := minutes % 60) else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{rest}h" if (rest := hours % 24) else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"
