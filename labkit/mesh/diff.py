"""What differs between two objects, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# A list item is known by one of these, so that a new first container does not make all others look changed.
_IDENTITY = ("name", "mountPath", "containerPort", "type")


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested mappings and lists under its path: `spec.containers[istio-proxy].image`.

    A list of plain values, such as a container's arguments, is one leaf.
    """
    if isinstance(value, Mapping) and value:
        children = {f"{path}.{key}".lstrip("."): item for key, item in value.items()}
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        children = {f"{path}[{key}]": item for key, item in _items(value)}
    else:
        return {path: value}
    return {leaf: found for child, item in children.items() for leaf, found in flatten(item, child).items()}


def diff(before: Any, after: Any) -> pd.DataFrame:
    """One row a leaf that differs: field, change, before, after (text; "" where absent).

    `change` is "added", "removed" or "changed".
    """
    import pandas as pd

    old, new = flatten(before), flatten(after)
    rows = [
        {"field": field, "change": _change(field, old, new), "before": _text(old, field), "after": _text(new, field)}
        for field in sorted(old.keys() | new.keys())
        if old.get(field) != new.get(field) or (field in old) != (field in new)
    ]
    return pd.DataFrame(rows, columns=["field", "change", "before", "after"])


def diff_each(before: Mapping[str, Any], after: Mapping[str, Any]) -> pd.DataFrame:
    """The same for many objects, told apart by name: object, field, change, before, after.

    An object that only one side has is one row without a field.
    """
    import pandas as pd

    names = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    frames = [_diff_one(name, before, after).assign(object=name) for name in names]
    columns = ["object", "field", "change", "before", "after"]
    differing = [frame for frame in frames if len(frame)]
    return pd.concat(differing, ignore_index=True)[columns] if differing else pd.DataFrame(columns=columns)


def _diff_one(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if name in before and name in after:
        return diff(before[name], after[name])
    change = "removed" if name in before else "added"
    return pd.DataFrame([{"field": "", "change": change, "before": "", "after": ""}])


def _items(items: list[Any]) -> list[tuple[str, Any]]:
    """Each item under what it is known by, which then needs no row of its own."""
    for identity in _IDENTITY:
        keys = [str(item[identity]) for item in items if isinstance(item, Mapping) and identity in item]
        if len(set(keys)) == len(items):
            rest = [{field: value for field, value in item.items() if field != identity} for item in items]
            return list(zip(keys, rest, strict=True))
    return [(str(position), item) for position, item in enumerate(items)]


def _change(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if field not in old:
        return "added"
    return "changed" if field in new else "removed"


def _text(leaves: Mapping[str, Any], field: str) -> str:
    value = leaves.get(field, "")
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
