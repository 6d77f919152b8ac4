"""Figures: what can be read off them must be right, whatever is drawn."""

from __future__ import annotations

import re
from itertools import permutations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.show import figures

NAMES = ["curl", "productpage", "details", "reviews", "ratings"]
calls = st.dictionaries(st.sampled_from(list(permutations(NAMES, 2))), st.integers(1, 999), max_size=12)


def frames(counted):
    edges = [(caller, called, count) for (caller, called), count in counted.items()]
    columns = ["source_workload", "destination_service_name", "requests"]
    return pd.DataFrame({"service": NAMES}), pd.DataFrame(edges, columns=columns)


@settings(deadline=None)  # the first picture imports networkx
@given(calls)
def test_every_service_has_a_place_of_its_own_and_every_call_its_count(counted):
    figure = figures.topology(*frames(counted), "any")
    dots = re.findall(r'<circle cx="(\d+)" cy="(\d+)"', figure.svg)
    assert len(dots) == len(set(dots)) == len(NAMES)
    assert sorted(re.findall(r">(\d+)</text>", figure.svg)) == sorted(map(str, counted.values()))


def test_a_rare_call_back_does_not_turn_the_picture_round():
    counted = {("productpage", "reviews"): 20, ("reviews", "ratings"): 15, ("ratings", "productpage"): 1}
    places = figures._places(figures._graph(*frames(counted)))
    assert places["productpage"][0] < places["reviews"][0] < places["ratings"][0]


def test_an_arrow_goes_round_what_stands_in_its_way():
    places = {"a": (80.0, 155.0), "b": (320.0, 155.0), "c": (560.0, 155.0)}
    assert figures._Curve.around(places, "a", "b").bow == 0
    assert figures._Curve.around(places, "a", "c").bow != 0
