"""What a lab is: what stands at its start, what is predicted on its way, what is claimed at its end, and a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labkit.course.checks import Check
from labkit.course.components import Component
from labkit.course.predictions import Prediction

Path = Literal["two hours", "a day", "everything"]
PATHS: tuple[Path, ...] = get_args(Path)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A task with its hints, and a solution in kubectl's and istioctl's own words, run in the release's folder.

    fault: the commands that plant what the task is to find and to mend; without any, something is to be made.
    """

    task: str
    hints: tuple[str, ...]
    solution: tuple[str, ...]
    checks: tuple[Check, ...]
    fault: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lab:
    """`start`: the components that are ready when it begins, and nothing else. programs: what its cells run beside
    kubectl and istioctl; it may stay.

    path: the shortest of the three ways through the course that it lies on; the longer ones take it in.
    exam, pages: what the map tells of it: topics of the exam as `domain: topic`, and pages below Istio's docs.
    source: the only source whose images it can run on, and `because`: why; "" where any will do. Such a lab may wait
    for its recording (see labkit.course.availability).
    The predictions are known as `NUMBER.1`, `NUMBER.2` … in their order, and so are the exercises.
    """

    number: str
    title: str
    path: Path
    exam: tuple[str, ...] = ()
    pages: tuple[str, ...]
    start: tuple[Component, ...]
    source: str = ""
    because: str = ""
    programs: tuple[Component, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    checks: tuple[Check, ...]
    exercises: tuple[Exercise, ...]
