"""JSON that comes from a file, and the shape that it must have before anything is done with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

DEEPEST = 50  # lists and objects in each other
_DIGITS = 18  # of a number: more than any size, time or status has


class Malformed(ValueError):
    """Why something was refused, and where."""


def parsed(line: bytes, where: str) -> Any:
    """A line's JSON. Raises Malformed for what two readers could take for two things, or what is no JSON."""
    try:
        text = line.decode()
        value = json.loads(
            text, object_pairs_hook=_unrepeated, parse_constant=_refused, parse_int=_int, parse_float=_float
        )
        if "\\ud" in text or "\\uD" in text:  # no other letters begin an escape of half a pair
            json.dumps(value, ensure_ascii=False).encode()  # half of a pair is no character
    except RecursionError:
        raise Malformed(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"{where} could not be read: {error}") from None
    return value


def checked(value: Any, shape: Any, where: str) -> Any:
    """The value, which has the shape. Raises Malformed with the place where it has not.

    A shape is a type; a list of one shape, for any number of items; a tuple of shapes; an object of shapes by name, of
    exactly these names, or {...: shape} for any; or a function of the value and its place that raises Malformed.
    """
    if isinstance(shape, type):
        is_number = shape is float and type(value) is int
        _expect(is_number or type(value) is shape, where, shape.__name__)
    elif isinstance(shape, dict):
        _expect(isinstance(value, dict), where, "object")
        names = value.keys() if ... in shape else shape.keys()
        _expect(value.keys() == names, where, f"object with {', '.join(names)}")
        for name, item in value.items():
            checked(item, shape.get(..., shape.get(name)), f"{where}, {name}")
    elif isinstance(shape, list | tuple):
        _expect(isinstance(value, list), where, "list")
        _expect(isinstance(shape, list) or len(value) == len(shape), where, f"list of {len(shape)}")
        for number, item in enumerate(value):
            checked(item, shape[0] if isinstance(shape, list) else shape[number], f"{where}, item {number}")
    else:
        shape(value, where)
    return value


def count(value: Any, where: str) -> None:
    """A whole number from 0."""
    _expect(type(value) is int and value >= 0, where, "whole number from 0")


def time(value: Any, where: str) -> None:
    """A time in ISO 8601."""
    checked(value, str, where)
    try:
        datetime.fromisoformat(value)
    except ValueError:
        _expect(False, where, "time")


def anything(value: Any, where: str, deep: int = 0) -> None:
    """Any JSON that is not nested more deeply than what works on it can follow."""
    if deep > DEEPEST:
        raise Malformed(f"{where} is nested too deeply")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        anything(item, where, deep + 1)


def either(*shapes: Any) -> Callable[[Any, str], None]:
    """One of the shapes."""

    def one(value: Any, where: str) -> None:
        for shape in shapes[:-1]:
            try:
                checked(value, shape, where)
            except Malformed:
                continue
            return
        checked(value, shapes[-1], where)

    return one


def _expect(fits: bool, where: str, what: str) -> None:
    if not fits:
        raise Malformed(f"{where} is no {what}")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in an object twice")
    return found


def _int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number is too long")
    return int(digits)


def _float(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError("a number is too large")
    return number


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
