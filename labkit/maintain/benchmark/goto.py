"""How soon `goto` leads from the start of one lab to that of another: each ordered pair once, as far as time allows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from labkit import backend
from labkit.course import labs, verbs
from labkit.maintain.benchmark.around import Figures, mesh, quantile
from labkit.progress import Progress

LONGEST = 1800  # seconds
SEED = 1  # the same way each time


def measure(progress: Progress) -> Figures:
    """How many pairs, seconds from start to start, and the pair that took longest."""
    with mesh("goto", progress), progress.stage("from lab to lab") as note:
        way = circuit([lab.number for lab in labs.LABS if not lab.source], random.Random(SEED))  # noqa: S311
        verbs.goto(way[0], _unheard)
        took: dict[str, float] = {}
        ends = backend.now() + LONGEST
        for before, after in pairwise(way):
            if backend.now() > ends:
                break
            began = backend.now()
            verbs.goto(after, _unheard)
            took[f"{before} → {after}"] = backend.now() - began
            note(f"{len(took)} of {len(way) - 1} pairs, the last in {backend.now() - began:.1f} s")
    slowest = max(took, key=lambda pair: took[pair])
    return {
        "goto_pairs": len(took),
        "goto_p50_seconds": round(quantile(list(took.values()), 50), 1),
        "goto_p95_seconds": round(quantile(list(took.values()), 95), 1),
        "goto_slowest": f"{slowest}: {took[slowest]:.1f} s",
    }


def circuit(places: Sequence[str], chance: random.Random) -> list[str]:
    """A way from a place back to it that leads from each place to each other one exactly once, by chance.

    https://en.wikipedia.org/wiki/Eulerian_path#Hierholzer's_algorithm
    """
    ahead = {place: chance.sample([other for other in places if other != place], len(places) - 1) for place in places}
    way, stack = [], [places[0]]
    while stack:
        if ahead[stack[-1]]:
            stack.append(ahead[stack[-1]].pop())
        else:
            way.append(stack.pop())
    return way[::-1]


def _unheard(event: object) -> None:
    """What `goto` says of each step: here only its end counts."""
