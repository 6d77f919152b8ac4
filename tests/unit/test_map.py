"""The map: each lab beside the exam's topics and Istio's pages; the three ways."""

from __future__ import annotations

import re

import pytest

from labkit import notebook
from labkit.course import labs, map
from labkit.course.lab import PATHS

TOPICS = {f"{domain}: {topic}" for domain, topics in map.EXAM.items() for topic in topics}


@pytest.mark.parametrize("lab", labs.LABS, ids=lambda lab: lab.number)
def test_each_lab_names_topics_that_the_exam_has_and_pages_below_the_docs(lab):
    assert set(map.topics(lab)) <= TOPICS
    assert map.pages(lab)
    for page in map.pages(lab):
        assert re.fullmatch(r"https://istio\.io/latest/docs/([a-z-]+/)+", page)


def test_the_exams_shares_are_all_of_it():
    assert sum(map.SHARES.values()) == 100
    assert map.SHARES.keys() == map.EXAM.keys()


def test_a_topic_is_practised_or_said_not_to_be():
    practised = {topic for lab in labs.LABS for topic in map.topics(lab)}
    assert practised | set(map.uncovered()) == TOPICS
    assert not practised & set(map.uncovered())


def test_each_way_takes_in_the_shorter_ones_and_the_last_takes_all():
    ways = [set(map.ways()[path][0]) for path in PATHS]
    assert ways[0] < ways[1] < ways[2] == {lab.number for lab in labs.LABS}
    assert map.ways()["two hours"][1] <= 120


def test_where_to_go_is_a_table_of_all_labs():
    assert [line for lab in labs.LABS for line in [lab.title] if line not in repr(notebook.goto())] == []
