"""What an API server says of an object before it takes it: fields that it does not know, values that cannot be, and the
kind's own rules that it breaks.

https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation ·
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from labkit.api import rules

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip
_GVK = "x-kubernetes-group-version-kind"
_RULES = "x-kubernetes-validations"
_KEYS = "x-kubernetes-list-map-keys"  # what the items of a list are known by
_DIRECTIVE = "$"  # what a strategic merge patch says beside fields: $patch, $retainKeys, $setElementOrder/…


@dataclass(frozen=True)
class Fault:
    """What is wrong at a field: of the kinds FieldValueInvalid, FieldValueNotSupported, FieldValueRequired, …"""

    field: str
    reason: str
    message: str


# With one of these, the kind's own rules are not asked
_BLOCKING = {
    "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany",
}  # fmt: skip
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

    def faults(self, value: Any, before: Any = None) -> list[Fault]:
        """The values that the kind does not take; where it takes each, the rules of its own that they break.

        before: the object that it is to replace; what stays as it is breaks no rule.
        """
        found = list(self._faults(self._own, value, ""))
        if any(each.reason in _BLOCKING for each in found):
            return [*found, _UNCHECKED] if f'"{_RULES}"' in json.dumps(self._own) else found
        for each in self._broken(self._own, value, before, "", rules.Budget()):
            found.append(each)
            if each.message.endswith(rules.SPENT):
                break
        return found

    def defaulted(self, value: Any) -> Any:
        """An object with what the kind says of the fields that are left out.

        https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting
        """
        return self._defaulted(self._own, value)

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
            return
        if "enum" in schema and value not in schema["enum"]:
            supported = ", ".join(map(json.dumps, schema["enum"]))
            yield Fault(path, "FieldValueNotSupported", f"Unsupported value: {json.dumps(value)}: supported values: "
                        f"{supported}")  # fmt: skip
            return
        yield from _sizes(schema, value, path)
        if isinstance(value, list):
            yield from _twice(schema.get(_KEYS, ()), value, path)
            for number, each in enumerate(value[: schema.get("maxItems")]):  # nobody reads a list of 100,000 faults
                yield from self._faults(self._resolved(schema.get("items", {})), each, f"{path}[{number}]")
        elif isinstance(value, dict):
            for name, each in value.items():
                yield from self._faults(self._beneath(schema, name) or {}, each, _joined(path, name))
            for name in schema.get("required", ()):
                if name not in value:
                    yield Fault(_joined(path, name), "FieldValueRequired", "Required value")

    # -- rules ----------------------------------------------------------------------------------------
    def _broken(self, schema: Schema, value: Any, before: Any, path: str, budget: rules.Budget) -> Iterator[Fault]:
        """Of a field, and of those beneath it. https://kubernetes.io/blog/2024/12/17/kubernetes-v1-32-validation-ratcheting/"""
        if value is None:
            return
        own = [each for each in schema.get(_RULES, ()) if value != before or rules.compares(each)]
        if own:
            held = None if before is None else self._in_cel(schema, before)
            for each in rules.broken(own, schema.get("type", ""), self._in_cel(schema, value), held, budget):
                yield Fault(path + each.beneath, each.reason, each.message)
        if value != before:
            for name, beneath, each, was in self._parts(schema, value, before):
                yield from self._broken(beneath, each, was, path + name if path else name.lstrip("."), budget)

    def _parts(self, schema: Schema, value: Any, before: Any) -> Iterator[tuple[str, Schema, Any, Any]]:
        """What an object or a list consists of: what it is called, its schema, it, and what it was."""
        if isinstance(value, list):
            items, keys = self._resolved(schema.get("items", {})), schema.get(_KEYS, ())
            were = {_known_by(keys, each): each for each in before} if keys and _are_objects(before) else {}
            for number, each in enumerate(value):
                yield f"[{number}]", items, each, were.get(_known_by(keys, each)) if were else None
        elif isinstance(value, dict):
            held = before if isinstance(before, dict) else {}
            for name, each in value.items():
                called = f".{name}" if name in schema.get("properties", {}) else f"[{name}]"
                yield called, self._beneath(schema, name) or {}, each, held.get(name)

    def _in_cel(self, schema: Schema, value: Any) -> Any:
        """A value as rules see it: https://kubernetes.io/docs/reference/using-api/cel/#openapi-v3-types-to-cel-types"""
        if isinstance(value, list):
            return [self._in_cel(self._resolved(schema.get("items", {})), each) for each in value]
        if isinstance(value, dict):
            known = schema.get("properties", {})
            named = {rules.escaped(name) if name in known else name: name for name in value}
            beneath = {name: self._beneath(schema, name) or {} for name in value}
            return {told: self._in_cel(beneath[name], value[name]) for told, name in named.items()
                    if value[name] is not None or beneath[name].get("nullable")}  # fmt: skip
        is_number = schema.get("type") == "number" or (isinstance(value, int) and abs(value) >> 63)
        return float(value) if is_number and not isinstance(value, bool) else value

    def _defaulted(self, schema: Schema, value: Any) -> Any:
        if isinstance(value, list):
            return [self._defaulted(self._resolved(schema.get("items", {})), each) for each in value]
        if not isinstance(value, dict):
            return value
        known = {name: self._resolved(each) for name, each in schema.get("properties", {}).items()}
        absent = {name: each["default"] for name, each in known.items() if "default" in each
                  and (name not in value or (value[name] is None and not each.get("nullable")))}  # fmt: skip
        whole = value | absent
        return {name: self._defaulted(self._beneath(schema, name) or {}, each) for name, each in whole.items()}

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


_LIMITS: Sequence[tuple[tuple[type, ...], str, str, str]] = (
    ((str,), "minLength", "maxLength", "be at least {} chars long"),
    ((list,), "minItems", "maxItems", "have at least {} items"),
    ((dict,), "minProperties", "maxProperties", "have at least {} properties"),
    ((int, float), "minimum", "maximum", "be greater than or equal to {}"),
)


def _sizes(schema: Schema, value: Any, path: str) -> Iterator[Fault]:
    """Where a value is too large, too small, or not of the pattern: in the words of the API server.

    https://pkg.go.dev/k8s.io/kube-openapi/pkg/validation/errors
    """
    for _, least, most, should in (each for each in _LIMITS if isinstance(value, each[0])):
        size = len(value) if isinstance(value, str | list | dict) else value
        if most in schema and size > schema[most]:
            yield _too_large(path, value, size, schema[most])
        elif least in schema and size < schema[least]:
            yield _limited(path, value if isinstance(value, str) else size, should.format(schema[least]))
    if isinstance(value, str) and not rules.matches(value, schema.get("pattern", "")):
        yield _limited(path, value, f"match '{schema['pattern']}'")


def _too_large(path: str, value: Any, size: Any, most: Any) -> Fault:
    several = "" if most == 1 else "s"
    if isinstance(value, str):
        return Fault(path, "FieldValueTooLong", f"Too long: may not be more than {most} byte{several}")
    if isinstance(value, list | dict):
        return Fault(path, "FieldValueTooMany", f"Too many: {size}: must have at most {most} item{several}")
    return _limited(path, value, f"be less than or equal to {most}")


def _limited(path: str, value: Any, should: str) -> Fault:
    told = json.dumps(value, ensure_ascii=False)
    return Fault(path, "FieldValueInvalid", f"Invalid value: {told}: {path} in body should {should}")


def _twice(keys: Sequence[str], items: Sequence[Any], path: str) -> Iterator[Fault]:
    """The items of a list that are known by what another before them is known by."""
    seen = set()
    for number, each in enumerate(items if keys and _are_objects(items) else ()):
        own = _known_by(keys, each)
        if own in seen:
            yield Fault(f"{path}[{number}]", "FieldValueDuplicate", f"Duplicate value: {own}")
        seen.add(own)


def _known_by(keys: Sequence[str], item: Any) -> str:
    found = item if isinstance(item, dict) else {}
    return json.dumps({key: found[key] for key in sorted(keys) if key in found}, separators=(",", ":"))


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
