"""Each exercise has a further wrong try, which tests/live/test_tries.py takes; so has that of a new lab."""

from __future__ import annotations

import re

import pytest
from tries import TRIES

from labkit.course import labs

EXERCISES = [f"{lab.number}.{place}" for lab in labs.LABS for place, _ in enumerate(lab.exercises, 1)]


def test_each_exercise_has_its_tries():
    assert list(TRIES) == EXERCISES


@pytest.mark.parametrize("exercise", TRIES)
def test_what_fails_is_a_claim_of_the_exercise_and_what_is_seen_a_pattern(exercise):
    claims = [check.claim for check in labs.exercise(exercise).checks]
    meant = [[claim for claim in claims if part in claim] for part in TRIES[exercise].fails]
    assert meant
    assert [len(each) for each in meant] == [1] * len(meant)
    assert all(re.compile(seen) for seen in TRIES[exercise].fails.values())


@pytest.mark.parametrize("exercise", TRIES)
def test_the_tries_are_others_than_the_solution_and_say_what_is_wrong(exercise):
    tries = TRIES[exercise]
    ways = {tries.wrong, tries.right, labs.exercise(exercise).solution}
    assert len(ways) == 3 or not tries.right
    assert tries.why.endswith(".")
