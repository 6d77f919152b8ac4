"""From lab to lab: a way that leads from each to each other one, once; and what is told of it."""

from __future__ import annotations

import random
from contextlib import nullcontext
from itertools import pairwise, permutations

import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.course import labs, verbs
from labkit.maintain.benchmark import goto
from labkit.progress import Progress


@given(st.integers(1, 8), st.integers())
def test_a_circuit_has_each_ordered_pair_once_and_ends_where_it_began(number, seed):
    places = [str(place) for place in range(number)]
    way = goto.circuit(places, random.Random(seed))  # noqa: S311
    assert sorted(pairwise(way)) == sorted(permutations(places, 2))
    assert way[0] == way[-1] == "0"


def test_circuits_differ_by_chance():
    ways = {tuple(goto.circuit("abcd", random.Random(seed))) for seed in range(9)}  # noqa: S311
    assert len(ways) > 1


class World(Fake):
    """Each way takes a second, and the one to 03 takes nine."""

    clock = 0.0

    def now(self) -> float:
        return self.clock

    def goto(self, number: str, report: object) -> None:
        self.clock += 9 if number == "03" else 1


ANYWHERE = [lab for lab in labs.LABS if not lab.source]


@pytest.mark.parametrize(("longest", "pairs"), [(10**6, len(ANYWHERE) * (len(ANYWHERE) - 1)), (20, None)])
def test_as_many_pairs_as_time_allows_and_the_slowest_by_name(monkeypatch, longest, pairs):
    world = World()
    monkeypatch.setattr(goto, "mesh", lambda name, progress: nullcontext())
    monkeypatch.setattr(goto, "LONGEST", longest)
    monkeypatch.setattr(verbs, "goto", world.goto)
    with backend.use(world):
        told = goto.measure(Progress(lambda event: None, backend.now))
    assert told["goto_pairs"] == pairs or told["goto_pairs"] <= 21
    assert told["goto_p50_seconds"] == 1
    assert pairs is None or str(told["goto_slowest"]).endswith("→ 03: 9.0 s")
