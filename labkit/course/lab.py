"""What a lab is: what stands at its start, what is claimed at its end, and a task."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.course.checks import Check
from labkit.course.parts import Part


@dataclass(frozen=True)
class Exercise:
    """A task with its hints, and a solution in kubectl's and istioctl's own words, run in the release's folder."""

    task: str
    hints: tuple[str, ...]
    solution: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Lab:
    """`start`: the parts that stand when it begins, and nothing else. `exercise` is known as `NUMBER.1`."""

    number: str
    title: str
    start: tuple[Part, ...]
    checks: tuple[Check, ...]
    exercise: Exercise
