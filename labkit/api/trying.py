"""A change that a recorded mesh is asked to try: refused as its API server would have refused it, or done and not kept.

https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.api import protobuf
from labkit.api.admission import Fault, Kind
from labkit.api.recorded import (
    DOCUMENT,
    PATH,
    RECORDED,
    Answer,
    Asked,
    Refusal,
    State,
    answer,
    collection_of,
    of_group,
    told,
)

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCHES = ("application/merge-patch+json", _STRATEGIC)
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def tried(state: State, schemas: State, at: float, asked: Asked) -> Answer:
    """What the API server would have said to a dry run; to a change that is meant, that it cannot be.

    schemas: its OpenAPI v3 documents.
    """
    found = PATH.fullmatch(asked.path.rstrip("/"))
    if not found or (DOCUMENT, found["root"]) not in state:
        return answer(state, at, asked)
    return told(lambda: _tried(state, schemas, at, asked, found) if _is_dry(asked) else answer(state, at, asked))


def _is_dry(asked: Asked) -> bool:
    said = _body(asked) if asked.method == "DELETE" and asked.body else {}
    return asked.query.get("dryRun") == "All" or said.get("dryRun") == ["All"]


def _tried(state: State, schemas: State, at: float, asked: Asked, found: re.Match[str]) -> Answer:
    collection_of(state, found["root"], found["resource"])
    if asked.method == "DELETE":
        return answer(state, at, Asked("GET", asked.path, {}))
    sent = _body(asked)
    if asked.sent == _PROTOBUF:  # of its fields all are known to whoever wrote it so
        return Answer(201, json.dumps(_after(state, at, asked, Kind("", ""), found, sent)[1]))
    kind = _kind(state, schemas, found)
    if unknown := kind.unknown(sent):
        version = found["root"].rpartition("/")[2]
        named = _kind_name(state, found)
        fields = ", ".join(f'unknown field "{each}"' for each in unknown)
        raise Refusal(400, "BadRequest", f'{named} in version "{version}" cannot be handled as a {named}: '
                      f"strict decoding error: {fields}")  # fmt: skip
    before, after = _after(state, at, asked, kind, found, sent)
    if _is_defined(state, found):
        after = kind.defaulted(after)
        if faults := kind.faults(after, before):
            raise _invalid(_kind_name(state, found), found, after, faults)
    return Answer(201 if asked.method == "POST" else 200, json.dumps(after))


def _after(state: State, at: float, asked: Asked, kind: Kind, found: re.Match[str], sent: Any) -> tuple[Any, Any]:
    """The object as it is, none where there is none, and as it would be then."""
    name = found["name"] or sent.get("metadata", {}).get("name", "")
    path = asked.path.rstrip("/") + ("" if found["name"] else f"/{name}")
    held = answer(state, at, Asked("GET", path, {}))
    if asked.method == "POST" and held.status == 200:
        raise Refusal(409, "AlreadyExists", f'{of_group(found)} "{name}" already exists')
    if asked.method == "POST":
        return None, sent
    if held.status != 200:
        raise Refusal(404, "NotFound", f'{of_group(found)} "{name}" not found')
    before = json.loads(held.text)
    if asked.method == "PUT":
        return before, sent
    if asked.sent not in _PATCHES:
        raise Refusal(415, "UnsupportedMediaType", f"{RECORDED}, and takes patches as {' and '.join(_PATCHES)}")
    return before, kind.patched(before, sent, strategic=asked.sent == _STRATEGIC)


def _body(asked: Asked) -> Any:
    try:
        if asked.sent == _PROTOBUF:
            return {"metadata": {"name": protobuf.name(asked.body)}}
        body = json.loads(asked.body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "BadRequest", f"the body could not be read: {error}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "BadRequest", "the body is no object")
    return body


def _kind(state: State, schemas: State, found: re.Match[str]) -> Kind:
    document = schemas.get((DOCUMENT, f"/openapi/v3{found['root']}"))
    if document is None:
        raise Refusal(404, "NotFound", f"{RECORDED}, and which fields this kind has was not written down")
    return Kind(document, _kind_name(state, found))


def _kind_name(state: State, found: re.Match[str]) -> str:
    resources: Sequence[Mapping[str, str]] = json.loads(state[DOCUMENT, found["root"]])["resources"]
    return next(each["kind"] for each in resources if each["name"] == found["resource"])


def _is_defined(state: State, found: re.Match[str]) -> bool:
    return (_DEFINITIONS, of_group(found)) in state


def _invalid(kind: str, found: re.Match[str], after: Any, faults: Sequence[Fault]) -> Refusal:
    group, name = of_group(found).partition(".")[2], after.get("metadata", {}).get("name", "")
    causes = [{"reason": each.reason, "message": each.message, "field": each.field} for each in faults]
    said = list(dict.fromkeys(f"{each.field}: {each.message}" for each in faults))
    listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return Refusal(422, "Invalid", f'{kind}.{group} "{name}" is invalid: {listed}', details)
