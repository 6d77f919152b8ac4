"""The course's verbs as a notebook says them: with their progress and their results drawn in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit import backend
from labkit.cluster import doctor as examination
from labkit.course import verbs
from labkit.course.checks import Report
from labkit.course.verbs import Place, what_changed
from labkit.notebook.watching import stop, watch
from labkit.progress import Progress
from labkit.settings import settings
from labkit.show import progress

if TYPE_CHECKING:
    from labkit.show.tables import Table

__all__ = [
    "check", "doctor", "goto", "hint", "solution", "solve", "stage", "stop", "up", "watch", "what_changed",
]  # fmt: skip


def doctor() -> Table:
    """What this machine can do, as a table: subject, value, status, remedy."""
    import pandas as pd

    from labkit.show import table

    return table(pd.DataFrame([vars(finding) for finding in examination.examine()]))


def up(until: str = "bookinfo") -> None:
    """Bring up the cluster, Istio on it, Bookinfo in it, or as far as `until`: cluster, istio or bookinfo."""
    with _drawn() as listener:
        verbs.up(until, listener)


def goto(number: str) -> Place:
    """Bring any cluster, in whatever state, to the start of a lab: `goto("05")`."""
    with _drawn() as listener:
        return verbs.goto(number, listener)


def check(number: str) -> Report:
    """Observe what a lab (`"05"`) or an exercise (`"05.1"`) should have brought about."""
    return verbs.check(number)


def hint(number: str) -> None:
    """The next hint of an exercise: `hint("05.1")`."""
    print(verbs.hint(number))


def solution(number: str) -> None:
    """One solution of an exercise, as a diff: `solution("05.1")`."""
    print(verbs.solution(number))


def solve(number: str) -> None:
    """Take the solution of an exercise: `solve("05.1")`."""
    with _drawn() as listener:
        verbs.solve(number, listener)


@contextmanager
def stage(name: str) -> Iterator[Callable[[str], None]]:
    """Draw the progress of what takes a while: `with stage("Bookinfo") as note: mesh.bookinfo.deploy(report=note)`."""
    with _drawn() as listener, Progress(listener, backend.now).stage(name) as note:
        yield note


@contextmanager
def _drawn() -> Iterator[progress.Notebook]:
    listener = progress.Notebook(settings().headless)
    try:
        yield listener
    finally:
        listener.close()
