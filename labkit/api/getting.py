"""`kubectl get` where there is no kubectl: its usual forms, from a recorded state.

https://kubernetes.io/docs/reference/kubectl/generated/kubectl_get/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from labkit.api.recorded import COLUMNS, DOCUMENT, TABLE, Answer, Asked, State, answer
from labkit.commands import Words
from labkit.settings import NAMESPACE

_TAKES = {"all-namespaces", "field-selector", "namespace", "no-headers", "output", "selector", "show-labels"}
_FORMS = ("", "wide", "yaml", "json", "name")
_GAP, _NARROWEST = 3, 6  # kubectl's columns: https://pkg.go.dev/k8s.io/cli-runtime/pkg/printers#GetNewTabWriter


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class _Kind:
    root: str
    plural: str
    singular: str
    names: frozenset[str]
    namespaced: bool
    listed: bool
    in_all: bool

    @property
    def group(self) -> str:
        return "" if self.root == "/api/v1" else self.root.split("/")[2]

    @property
    def prefix(self) -> str:
        return f"{self.singular}.{self.group}" if self.group else self.singular


class _Wrong(Exception):
    """What kubectl would say of it."""


def get(state: State, at: float, said: Words) -> Said | None:
    """What `kubectl get` prints of a state; None for a form that this does not know."""
    form = said.flags.get("output", [""])[-1]
    if said.verb != ("get",) or set(said.flags) - _TAKES or form not in _FORMS or not said.arguments:
        return None
    try:
        wanted = list(_wanted(state, said.arguments))
        found = [(kind, _asked(state, at, said, kind, name)) for kind, name in wanted]
        return _printed(said, form, found)
    except _Wrong as wrong:
        return Said(1, stderr=f"{wrong}\n")


def _wanted(state: State, arguments: Sequence[str]) -> Iterator[tuple[_Kind, str]]:
    """Kinds, each with a name or without: `pod`, `pod a b`, `pod,svc`, `pod/a svc/b`."""
    kinds = list(_kinds(state))
    if any("/" in each for each in arguments):
        for each in arguments:
            word, _, name = each.partition("/")
            yield _called(kinds, word), name
        return
    first, *names = arguments
    for word in first.split(","):
        several = [kind for kind in kinds if kind.in_all and kind.listed] if word == "all" else [_called(kinds, word)]
        yield from ((kind, name) for kind in several for name in names or [""])


def _kinds(state: State) -> Iterator[_Kind]:
    for what, root in state:
        if what == DOCUMENT and (root == "/api/v1" or root.startswith("/apis/")):
            for each in json.loads(state[DOCUMENT, root])["resources"]:
                if "/" not in each["name"] and "get" in each["verbs"]:
                    yield _kind(state, root, each)


def _kind(state: State, root: str, told: Mapping[str, Any]) -> _Kind:
    singular = told["kind"].lower()
    names = frozenset({told["name"], singular, *told.get("shortNames", ())})
    listed = (COLUMNS, f"{root}/{told['name']}") in state
    in_all = "all" in told.get("categories", ())
    return _Kind(root, told["name"], singular, names, told.get("namespaced", False), listed, in_all)


def _called(kinds: Sequence[_Kind], word: str) -> _Kind:
    name, _, group = word.lower().partition(".")
    found = [kind for kind in kinds if name in kind.names and kind.group.startswith(group) and kind.listed]
    if not found:
        raise _Wrong(f'error: the server doesn\'t have a resource type "{word}"')
    return min(found, key=lambda kind: (kind.group != "", "k8s.io" in kind.group))


def _asked(state: State, at: float, said: Words, kind: _Kind, name: str) -> Mapping[str, Any]:
    everywhere = said.on("all-namespaces") or not kind.namespaced
    namespace = "" if everywhere else f"/namespaces/{said.flags.get('namespace', [NAMESPACE])[-1]}"
    query = {"includeObject": "Object"}
    for flag, parameter in (("selector", "labelSelector"), ("field-selector", "fieldSelector")):
        query |= {parameter: said.flags[flag][-1]} if flag in said.flags else {}
    path = f"{kind.root}{namespace}/{kind.plural}" + (f"/{name}" if name else "")
    found: Answer = answer(state, at, Asked("GET", path, query, TABLE))
    told = json.loads(found.text)
    if found.status >= 400:
        raise _Wrong(f"Error from server ({told['reason']}): {told['message']}")
    return told


def _printed(said: Words, form: str, found: Sequence[tuple[_Kind, Mapping[str, Any]]]) -> Said:
    rows = [(kind, row) for kind, table in found for row in table["rows"]]
    named = len(said.arguments) > 1 or "/" in said.arguments[0]
    if form in ("json", "yaml"):
        objects = [row["object"] for _, row in rows]
        whole = objects[0] if named and len(objects) == 1 else {
            "apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""},
        }  # fmt: skip
        return Said(0, _as_json(whole) if form == "json" else yaml.dump(whole, Dumper=_Dumper, width=1 << 20))
    if form == "name":
        return Said(0, "".join(f"{kind.prefix}/{row['object']['metadata']['name']}\n" for kind, row in rows))
    if not rows:
        where = f" in {said.flags.get('namespace', [NAMESPACE])[-1]} namespace"
        everywhere = said.on("all-namespaces") or not found[0][0].namespaced
        return Said(0, stderr=f"No resources found{'' if everywhere else where}{'' if everywhere else '.'}\n")
    several = len({kind for kind, _ in found}) > 1 or said.arguments[0] == "all"
    by_kind = dict.fromkeys(kind for kind, _ in rows)
    tables = [_table(said, form, several, [(k, table) for k, table in found if k == kind]) for kind in by_kind]
    return Said(0, "\n".join(tables))


def _table(said: Words, form: str, several: bool, found: Sequence[tuple[_Kind, Mapping[str, Any]]]) -> str:
    columns = found[0][1]["columnDefinitions"]
    shown = [n for n, column in enumerate(columns) if form == "wide" or not column.get("priority")]
    in_all = said.on("all-namespaces") and found[0][0].namespaced
    head = [*(["NAMESPACE"] if in_all else []), *(columns[n]["name"].upper() for n in shown)]
    lines = [] if said.on("no-headers") else [[*head, *(["LABELS"] if said.on("show-labels") else [])]]
    for kind, table in found:
        for row in table["rows"]:
            metadata = row["object"]["metadata"]
            cells = [_cell(row["cells"][n]) for n in shown]
            cells[0] = f"{kind.prefix}/{cells[0]}" if several else cells[0]
            before = [metadata["namespace"]] if in_all else []
            lines.append([*before, *cells, *([_labels(metadata)] if said.on("show-labels") else [])])
    widths = [max(_NARROWEST, _GAP + max(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    return "".join("".join(map(str.ljust, line[:-1], widths)) + line[-1] + "\n" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "<none>" if value is None else str(value)


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """YAML as kubectl writes it: what must be quoted stands in double quotes, and lines in a block."""


def _quoted(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_other = dumper.resolve(yaml.ScalarNode, text, (True, False)) != "tag:yaml.org,2002:str"
    plain = not is_other and dumper.analyze_scalar(text).allow_block_plain
    style = "|" if "\n" in text else None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _quoted)


def _labels(metadata: Mapping[str, Any]) -> str:
    told = ",".join(f"{key}={value}" for key, value in sorted((metadata.get("labels") or {}).items()))
    return told or "<none>"
