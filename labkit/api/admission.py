"""What an API server says of an object before it takes it: fields that it does not know, and values that cannot be.

https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation ·
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip
_GVK = "x-kubernetes-group-version-kind"
_DIRECTIVE = "$"  # what a strategic merge patch says beside fields: $patch, $retainKeys, $setElementOrder/…


@dataclass(frozen=True)
class Fault:
    """What is wrong at a field: of the kinds FieldValueInvalid, FieldValueNotSupported and FieldValueRequired."""

    field: str
    reason: str
    message: str


_UNCHECKED = Fault(
    "<nil>", "FieldValueInvalid", "Invalid value: null: some validation rules were not checked because the object was "
    "invalid; correct the existing errors to complete validation",
)  # fmt: skip


class Kind:
    """The schema of one kind in an OpenAPI v3 document."""

    def __init__(self, document: str, kind: str) -> None:
        self._schemas: Mapping[str, Schema] = _parsed(document)["components"]["schemas"] if document else {}
        found = (each for each in self._schemas.values() if any(gvk["kind"] == kind for gvk in each.get(_GVK, ())))
        self._own: Schema = next(found, {})

    def unknown(self, value: Any) -> list[str]:
        """The fields that the kind does not have, each by its path."""
        return sorted(self._unknown(self._own, value, ""))

    def faults(self, value: Any) -> list[Fault]:
        """The values that the kind does not take; where it has rules of its own, also that these are unchecked."""
        found = list(self._faults(self._own, value, ""))
        if found and '"x-kubernetes-validations"' in json.dumps(self._own):
            found.append(_UNCHECKED)
        return found

    def patched(self, value: Any, patch: Any, strategic: bool) -> Any:
        """An object after a patch: https://www.rfc-editor.org/rfc/rfc7386, or a strategic merge.

        https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
        """
        return self._patched(self._own, value, patch, strategic)

    # -- what a schema says -------------------------------------------------------------------------
    def _resolved(self, schema: Schema) -> Schema:
        [ref] = [each["$ref"] for each in [schema, *schema.get("allOf", ())] if "$ref" in each] or [""]
        return {**schema, **self._schemas[ref.rpartition("/")[2]]} if ref else schema

    def _beneath(self, schema: Schema, name: str) -> Schema | None:
        """What a field's value is to be; none where there is no such field."""
        known, others = schema.get("properties", {}), schema.get("additionalProperties", "properties" not in schema)
        if name in known:
            return self._resolved(known[name])
        if schema.get("x-kubernetes-preserve-unknown-fields") or others is True:
            return {}
        return self._resolved(others) if isinstance(others, dict) else None

    def _unknown(self, schema: Schema, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from self._unknown(self._resolved(schema.get("items", {})), each, f"{path}[{number}]")
        elif isinstance(value, dict):
            for name, each in value.items():
                beneath = self._beneath(schema, name)
                if beneath is None and not name.startswith(_DIRECTIVE):
                    yield _joined(path, name)
                else:
                    yield from self._unknown(beneath or {}, each, _joined(path, name))

    def _faults(self, schema: Schema, value: Any, path: str) -> Iterator[Fault]:
        wanted = schema.get("type", "")
        if value is None or (schema.get("x-kubernetes-int-or-string") and isinstance(value, int | str)):
            return
        if wanted in _TYPES and not _is(value, wanted):
            told = json.dumps(_type(value))
            why = f"{path} in body must be of type {wanted}: {told}"
            yield Fault(path, "FieldValueTypeInvalid", f"Invalid value: {told}: {why}")
        elif "enum" in schema and value not in schema["enum"]:
            supported = ", ".join(map(json.dumps, schema["enum"]))
            yield Fault(path, "FieldValueNotSupported", f"Unsupported value: {json.dumps(value)}: supported values: "
                        f"{supported}")  # fmt: skip
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield from self._faults(self._resolved(schema.get("items", {})), each, f"{path}[{number}]")
        elif isinstance(value, dict):
            for name, each in value.items():
                yield from self._faults(self._beneath(schema, name) or {}, each, _joined(path, name))
            for name in schema.get("required", ()):
                if name not in value:
                    yield Fault(_joined(path, name), "FieldValueRequired", "Required value")

    def _patched(self, schema: Schema, value: Any, patch: Any, strategic: bool) -> Any:
        key = schema.get("x-kubernetes-patch-merge-key")
        if strategic and key and _are_objects(value) and _are_objects(patch):
            return self._merged(self._resolved(schema.get("items", {})), value, patch, key)
        if not isinstance(patch, dict) or patch.get("$patch") == "replace":
            return _without_directives(patch)
        held = dict(value) if isinstance(value, dict) else {}
        for name, each in patch.items():
            if each is None:
                held.pop(name, None)
            elif not name.startswith(_DIRECTIVE):
                held[name] = self._patched(self._beneath(schema, name) or {}, held.get(name), each, strategic)
        return held

    def _merged(self, schema: Schema, items: list[Any], patch: list[Any], key: str) -> list[Any]:
        merged = {json.dumps(each.get(key)): each for each in items}
        for each in patch:
            of_it = json.dumps(each.get(key))
            if each.get("$patch") == "delete":
                merged.pop(of_it, None)
            else:
                merged[of_it] = self._patched(schema, merged.get(of_it), each, strategic=True)
        return list(merged.values())


# a document may have a million letters, and kubectl asks several times in a row
_parsed = lru_cache(maxsize=4)(json.loads)


def _is(value: Any, wanted: str) -> bool:
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _type(value: Any) -> str:
    return next(name for name in ("boolean", *_TYPES) if _is(value, name))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_directives(each) for name, each in value.items() if not name.startswith(_DIRECTIVE)}
    return [_without_directives(each) for each in value] if isinstance(value, list) else value
