"""A wrong try at each exercise is refused, for the reason that it should be, and another right way is accepted.

The notebooks show a near miss and the solution of each; these are others. In each run some are drawn.
"""

from __future__ import annotations

import re

import pytest
from pytest_live import skip_where_it_cannot_be_done
from tries import TRIES, Step

from labkit import backend, session
from labkit.course import labs, verbs
from labkit.course.checks import Report

pytestmark = pytest.mark.live

SOON = 10.0  # seconds in which what was true before a try is no longer seen


def silent(event) -> None:
    """Progress that nobody watches."""


def take(steps: tuple[Step, ...]) -> None:
    for step in steps:
        if callable(step):
            step()
        else:
            backend.run(["bash", "-euo", "pipefail", "-c", step], cwd=session.reader_folder())


def refusals(report: Report) -> dict[str, str]:
    """Claim → what was seen, of those that do not hold."""
    return {result.claim: result.measured for result in report.results if not result.passed}


def are_as_foreseen(refused: dict[str, str], fails: dict[str, str]) -> bool:
    return refused.keys() == fails.keys() and all(re.search(fails[claim], refused[claim]) for claim in fails)


def check_until(exercise: str, fails: dict[str, str]) -> dict[str, str]:
    """What held before a try may be seen for a moment: the proxies have not heard yet, or a pod is leaving."""
    until = backend.now() + SOON
    while not are_as_foreseen(refused := refusals(verbs.check(exercise)), fails) and backend.now() < until:
        backend.sleep(0.5)
    return refused


@pytest.mark.drawn
@pytest.mark.parametrize("exercise", TRIES)
def test_a_wrong_try_is_refused_and_a_right_way_is_accepted(exercise):
    skip_where_it_cannot_be_done(exercise.partition(".")[0])
    tries = TRIES[exercise]
    claims = [check.claim for check in labs.exercise(exercise).checks]
    fails = {claim: seen for claim in claims for part, seen in tries.fails.items() if part in claim}
    verbs.goto(exercise.partition(".")[0], silent)
    take(tries.before)
    if labs.exercise(exercise).fault:
        verbs.break_it(exercise, silent)

    take(tries.wrong)
    refused = check_until(exercise, fails)
    assert are_as_foreseen(refused, fails), f"{tries.why}\nforeseen: {fails}\nseen: {refused}"

    if tries.right:
        take(tries.right)
    else:
        verbs.solve(exercise, silent)
    refused = check_until(exercise, {})
    assert refused == {}, f"refused: {refused}"
