"""The labs in their order: one file each, with what its checks look at. A file that is here is a lab of the course.

Clean-up has the last number, and numbers between are free: a lab more renames none.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from labkit.course import notes
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.errors import LabError

Numbered = TypeVar("Numbered")

LABS: tuple[Lab, ...] = tuple(import_module(f"{__name__}.{module.name}").LAB for module in iter_modules(__path__))


def lab(number: str) -> Lab:
    """The lab of a two-digit number; one that it had once will do. Raises LabError."""
    found = [lab for lab in LABS if lab.number == notes.current(number)]
    if not found:
        known = ", ".join(lab.number for lab in LABS)
        raise LabError(f"There is no lab {number!r}.", f"the labs are {known}", "name one of them, as text: '05'")
    return found[0]


def exercise(number: str) -> Exercise:
    """The exercise known as `05.1`. Raises LabError."""
    return _numbered("exercise", number, lab(number.partition(".")[0]).exercises)


def prediction(number: str) -> Prediction:
    """The prediction known as `05.2`. Raises LabError."""
    return _numbered("prediction", number, lab(number.partition(".")[0]).predictions)


def _numbered(what: str, number: str, of_lab: Sequence[Numbered]) -> Numbered:
    number = notes.current(number)
    known = {f"{number.partition('.')[0]}.{place}": each for place, each in enumerate(of_lab, 1)}
    if number not in known:
        first = next(iter(known), "")
        there = f"this lab's are {', '.join(known)}" if known else "this lab has none"
        raise LabError(f"There is no {what} {number!r}.", there, f"name one of them, as text: '{first}'")
    return known[number]
