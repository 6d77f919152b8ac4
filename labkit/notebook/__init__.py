"""The course's verbs as a notebook says them: with their progress and their results drawn in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit import backend, session
from labkit.cluster import doctor as examination
from labkit.course import labs, predictions, verbs
from labkit.course import map as course_map
from labkit.course import progress as readers_progress
from labkit.course.checks import Report
from labkit.course.predictions import Outcome, Question
from labkit.course.progress import CourseProgress
from labkit.course.verbs import Place, what_changed
from labkit.errors import LabError
from labkit.notebook import asking, magics
from labkit.notebook.watching import stop, watch
from labkit.progress import Progress
from labkit.session import Session
from labkit.settings import settings
from labkit.show import progress

if TYPE_CHECKING:
    from labkit.recordings.exploring import Moment
    from labkit.show.tables import Table

__all__ = [
    "break_it", "check", "doctor", "explore", "goto", "hint", "outcome", "predict", "solution", "solve", "stage",
    "stop", "up", "watch", "what_changed",
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


def explore(lab: str, moment: int | None = None) -> Table | Moment:
    """Look at any moment of a lab, as it was recorded: `explore("11")` lists them, `explore("11", 30)` leads to one.

    From then on this kernel's every look is into that moment, on any machine: `%kubectl get`, `%istioctl`, `mesh`.
    Nothing can be changed there. The list is a table: moment, at (UTC), after, changed. Raises LabError.
    """
    from labkit.recordings.exploring import Explored, moments

    if moment is not None:
        explored = Explored(lab, moment)
        backend.install(explored)
        session.install(Session(describe=lambda: repr(explored.moment), is_live=False))
        return explored.moment
    import pandas as pd

    from labkit.show import table

    rows = [(each.cell, f"{datetime.fromtimestamp(each.at, UTC):%H:%M:%S}", each.after, ", ".join(each.changed))
            for each in moments(lab)]  # fmt: skip
    return table(pd.DataFrame(rows, columns=["moment", "at", "after", "changed"]))


def goto(number: str | None = None) -> Place | Table:
    """Bring any cluster, in whatever state, to the start of a lab: `goto("05")`.

    Without a number: where one can go. The labs as a table: lab, title, way, exam, page.
    """
    if number is None:
        from labkit.show import table

        return table(course_map.frame())
    with _drawn() as listener:
        return verbs.goto(number, listener)


def predict(number: str, answer: str | None = None) -> Question | None:
    """Ask what an experiment will show: `predict("07.2")`; answer with a click or `predict("07.2", "RDS")`.

    Raises LabError for an answer that is none of the choices.
    """
    question = predictions.ask(number, labs.prediction(number), answer)
    if answer is not None or settings().headless:
        return question
    asking.show(question)
    return None


def outcome(number: str, evidence: Any = None) -> Outcome:
    """Compare a prediction with what the experiment measured: `outcome("07.2", changes)`.

    Without evidence, what the last command printed is the evidence: `outcome("99.1")`. Raises LabError where the
    experiment is yet to run.
    """
    if evidence is None and not (evidence := magics.said()):
        raise LabError(
            f"There is nothing to compare prediction {number} with.",
            "no command has printed anything in this kernel",
            "run the cell of the experiment, then this one",
        )
    return predictions.settle(number, labs.prediction(number), evidence)


def check(number: str | None = None) -> Report | CourseProgress:
    """Observe what a lab (`"05"`) or an exercise (`"05.1"`) should have brought about.

    Without a number: how far you have come in the course. It is kept on this machine, for you alone.
    """
    if number is None:
        return readers_progress.so_far()
    report = verbs.check(number)
    try:
        readers_progress.keep(report)
    except LabError as error:  # what was observed is still to be told
        print(error)
    return report


def break_it(number: str) -> None:
    """Plant a fault for an exercise to find and to mend: `break_it("05.2")`; prints what it is about."""
    with _drawn() as listener:
        print(verbs.break_it(number, listener))


def hint(number: str) -> None:
    """The next hint of an exercise, or for what a lab's check found missing: `hint("05.1")`, `hint("05")`."""
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
