"""Tables: what they show as text and as HTML."""

from __future__ import annotations

import re

import pandas as pd

from labkit import show


def test_markup_in_a_frame_is_shown_not_obeyed():
    table = show.table(pd.DataFrame({"name": ["<b>x</b>"], "page": ['https://istio.io/"><b>x']}))
    assert "<b>" not in table.html
    assert '<a href="https://istio.io/' in table.html


def test_markup_in_headings_and_in_names_of_rows_is_shown_not_obeyed():
    frame = pd.DataFrame({"<b>heading": [1]}, index=pd.Index(["<i>row"], name="<u>name"))
    for drawn in (show.table(frame), show.changes(frame.assign(change="added"))):
        assert not {"<b>", "<i>", "<u>"} & set(re.findall("<.>", drawn.html))
        assert "&lt;i&gt;row" in drawn.html


def test_only_a_column_of_addresses_becomes_links():
    table = show.table(pd.DataFrame({"page": ["https://istio.io", "none"], "count": [1, 2]}))
    assert "<a " not in table.html


def test_the_same_frame_is_stored_the_same_each_time():
    frame = pd.DataFrame({"pod": ["a"], "ready": [True]})
    assert show.table(frame) == show.table(frame.copy())
    assert show.table(frame) != show.table(frame.assign(pod="b"))


def test_rows_have_a_name_only_where_the_index_has():
    frame = pd.DataFrame({"objects": [42]}, index=pd.Index(["demo"], name="profile"))
    assert "demo" in repr(show.table(frame))
    assert "demo" not in repr(show.table(frame.reset_index(drop=True)))


def test_each_kind_of_change_is_tinted_unlike_the_others():
    kinds = ["added", "removed", "changed"]
    tints = [show.changes(pd.DataFrame({"what": ["x"], "change": [kind]})).html.partition("background-color:")[2][:30]
             for kind in kinds]  # fmt: skip
    assert len(set(tints)) == len(kinds)


def test_an_empty_frame_is_a_table_too():
    assert "change" in show.changes(pd.DataFrame(columns=["what", "change"])).html


def test_texts_side_by_side_keep_their_lines_and_no_markup():
    table = show.side_by_side({"a rule": "hosts:\n- <b>", "what it became": "cluster: v3"})
    assert "hosts:\n- &lt;b&gt;" in table.html
    assert repr(table) == "a rule\n  hosts:\n  - <b>\n\nwhat it became\n  cluster: v3"
