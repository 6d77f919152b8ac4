"""Figures: what can be read off them must be right, whatever is drawn."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import networkx  # noqa: F401  imported before hypothesis starts its clocks
import pandas as pd
import plotly.graph_objects as go
import pytest
from defusedxml import ElementTree
from hypothesis import assume, given
from hypothesis import strategies as st

from labkit import show
from labkit.show import colours, graph
from labkit.show.figure import Figure
from labkit.show.layout import layout, legend
from labkit.show.marks import Axis, Box, Dots, Label, Line

NAMES = ["curl", "productpage", "details", "reviews", "ratings"]
SERVED = [("details", "v1"), ("reviews", "v1"), ("reviews", "v2"), ("reviews", "v3"), ("ratings", "unknown")]
BEGAN = datetime(2026, 3, 1, 22, 10, tzinfo=UTC)
nan = float("nan")

rates = st.floats(0, 1e4) | st.just(nan)
portions = st.floats(0, 1) | st.just(nan)


# -- a frame of any kind, for each figure ---------------------------------------------------------
@st.composite
def red_frames(draw):
    rows = [
        {"time": 5.0 * second, "destination_service_name": service, "destination_version": version,
         "requests_per_second": draw(rates), "error_share": draw(portions), "p50_milliseconds": draw(rates),
         "p95_milliseconds": draw(rates)}
        for second in range(draw(st.integers(1, 3))) for service, version in SERVED
    ]  # fmt: skip
    return pd.DataFrame(rows)


@st.composite
def edge_frames(draw):
    calls = draw(st.lists(st.sampled_from(list(permutations(NAMES, 2))), unique=True, min_size=1, max_size=8))
    rows = [(f"{caller}-v1", called, draw(rates), draw(portions), draw(portions)) for caller, called in calls]
    columns = ["source_workload", "destination_service_name", "requests_per_second", "error_share", "mtls_share"]
    return pd.DataFrame(rows, columns=columns)


@st.composite
def clock_frames(draw):
    rows = draw(st.lists(st.tuples(st.sampled_from(NAMES), rates), min_size=1, max_size=12))
    return pd.DataFrame(rows, columns=["pod", "milliseconds"])


@st.composite
def certificate_frames(draw):
    rows = []
    for pod, serial in draw(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 9)), min_size=1, max_size=8)):
        start = BEGAN + timedelta(minutes=serial)
        rows.append((BEGAN + timedelta(minutes=20), pod, f"{serial:032x}", start, start + timedelta(minutes=serial**5)))
    return pd.DataFrame(rows, columns=["time", "pod", "serial", "signed", "not_after"])


@st.composite
def sweep_frames(draw):
    tried = list(product(*(draw(st.sets(st.integers(1, 64), min_size=1, max_size=4)) for _ in range(2))))
    rows = [(connections, limit, draw(portions)) for connections, limit in tried]
    return pd.DataFrame(rows, columns=["connections", "pending_limit", "overflow_share"])


@st.composite
def answer_frames(draw):
    asked = list(product(NAMES[:2], NAMES[2:], ["GET", "POST"]))
    rows = [(*each, draw(st.booleans()), draw(st.sampled_from([True, False, None]))) for each in asked]
    return pd.DataFrame(rows, columns=["caller", "service", "method", "intended", "observed"])


@st.composite
def span_frames(draw):
    rows = [
        {"service": service, "side": draw(st.sampled_from(["server", "client", ""])), "peer": peer,
         "begins": draw(st.floats(0, 1e5)), "milliseconds": draw(st.floats(0, 1e5)),
         "flags": draw(st.sampled_from(["", "DI", "UF,URX"])), "error": draw(st.booleans())}
        for service, peer in draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1))
    ]  # fmt: skip
    return pd.DataFrame(rows)


count_frames = st.lists(st.integers(0, 999), min_size=1, max_size=5).map(
    lambda counts: pd.Series(counts, index=NAMES[: len(counts)])
)

ANY = [
    (show.red_panel, red_frames()),
    (show.service_graph, edge_frames()),
    (show.propagation_clock, clock_frames()),
    (show.certificate_timeline, certificate_frames()),
    (show.circuit_breaker_heat_map, sweep_frames()),
    (show.truth_table, answer_frames()),
    (show.waterfall, span_frames()),
    (lambda counts: show.shares(counts, "any"), count_frames),
]
any_figure = st.one_of([frames.map(draw) for draw, frames in ANY])


# -- what holds for each of them ------------------------------------------------------------------
@given(any_figure)
def test_a_code_host_jupyterlab_and_a_terminal_each_get_theirs(figure):
    bundle = figure._repr_mimebundle_()
    assert list(bundle) == ["application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"]
    json.dumps(bundle, allow_nan=False)
    go.Figure(data=figure.plotly["data"], layout=figure.plotly["layout"])  # raises for what plotly does not know
    ElementTree.fromstring(figure.svg)
    assert bundle["text/plain"] == repr(figure) == figure.text


@given(any_figure)
def test_every_mark_stands_inside_of_its_axes(figure):
    for panel in figure.panels:
        for x, y in points(panel.marks):
            assert between(panel.x, x)
            assert between(panel.y, y)


@given(any_figure)
def test_nothing_is_drawn_outside_of_the_picture(figure):
    root = ElementTree.fromstring(figure.svg)
    width, height = float(root.get("width")), float(root.get("height"))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height
    for place in layout(figure.panels).places:
        assert place.width > 200


@given(any_figure)
def test_every_axis_has_a_title_or_is_no_axis(figure):
    for panel in figure.panels:
        assert all(axis.title or not any(label for _, label in axis.ticks) or axis is panel.y
                   for axis in (panel.x, panel.y))  # fmt: skip


@given(any_figure)
def test_plotly_shows_the_same_words_at_the_same_places(figure):
    drawn = json.dumps(figure.plotly)
    said = [mark.text for panel in figure.panels for mark in panel.marks if isinstance(mark, Label)]
    for text in said:
        assert all(json.dumps(line)[1:-1] in drawn for line in text.split("\n"))
    boxes = [mark for panel in figure.panels for mark in panel.marks if isinstance(mark, Box)]
    assert sum(trace.get("fill") == "toself" for trace in figure.plotly["data"]) == len(boxes)


def points(marks):
    for mark in marks:
        if isinstance(mark, Line | Dots):
            yield from mark.points
        elif isinstance(mark, Box):
            yield from (mark.start, mark.end)
        else:
            yield mark.point


def between(axis: Axis, value: float) -> bool:
    low, high = sorted((axis.low, axis.high))
    slack = (high - low) * 1e-6
    return low - slack <= value <= high + slack


MARKUP = '<b>&"x"</b>'


@pytest.mark.parametrize(
    "figure",
    [
        show.shares(pd.Series({MARKUP: 1}), MARKUP, MARKUP),
        show.propagation_clock(pd.DataFrame({"pod": [MARKUP], "milliseconds": [1.0]}), MARKUP),
        show.topology(pd.DataFrame({"service": [MARKUP]}), pd.DataFrame(columns=["source_workload"]), MARKUP),
    ],
)
def test_markup_in_a_name_is_shown_not_obeyed(figure):
    assert "<b>&" not in figure.svg
    ElementTree.fromstring(figure.svg)
    assert MARKUP not in json.dumps(figure.plotly["data"]) + json.dumps(figure.plotly["layout"]["yaxis"])


@pytest.mark.parametrize(
    ("draw", "columns"),
    [
        (show.red_panel, ["requests_per_second"]),
        (show.service_graph, ["requests_per_second"]),
        (show.propagation_clock, ["pod"]),
        (show.certificate_timeline, ["pod"]),
        (show.circuit_breaker_heat_map, ["connections"]),
        (show.truth_table, ["caller"]),
        (show.waterfall, ["service"]),
    ],
)
def test_where_there_is_nothing_the_figure_says_why(draw, columns):
    figure = draw(pd.DataFrame(columns=columns))
    [[reason]] = [panel.marks for panel in figure.panels]
    assert reason.text
    assert reason.text in figure.text


# -- axes -----------------------------------------------------------------------------------------
@given(st.floats(0, 1e6).filter(lambda most: most == 0 or most > 1e-6))
def test_an_axis_holds_its_values_and_is_neither_bare_nor_crowded(most):
    axis = Axis.from_zero("any (s)", most)
    assert axis.low == 0 < axis.high
    assert axis.high >= most * (1 - 1e-6)
    ticks = [value for value, _ in axis.ticks]
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 6
    assert all(between(axis, value) for value in ticks)


# -- colours --------------------------------------------------------------------------------------
def test_text_is_legible_on_light_and_on_dark():
    assert all(colours.contrast(colours.INK, ground) > 4 for ground in ("#FFFFFF", "#111111"))


@given(st.floats(0, 1))
def test_text_on_a_shade_is_legible(share):
    assert colours.contrast(colours.ink_on(colours.shade(share)), colours.shade(share)) > 4


@pytest.mark.parametrize("fill", [*colours.SERVICES.values(), colours.OTHER, colours.ALLOWED, colours.DENIED])
def test_text_on_a_bar_is_legible(fill):
    assert colours.contrast(colours.ink_on(fill), fill) > 4


def test_a_pod_a_workload_and_their_service_have_one_colour():
    assert {colours.colour(name) for name in ("reviews", "reviews-v2", "reviews-v3-5b9f-x2x4q")} == {"#009E73"}
    assert len(set(colours.SERVICES.values())) == len(colours.SERVICES)


# -- rate, errors, duration -----------------------------------------------------------------------
def red_frame(seconds, **columns):
    rows = [
        {"time": float(second), "destination_service_name": service, "destination_version": version,
         "requests_per_second": 3.0, "error_share": 0.25, "p50_milliseconds": 5.0, "p95_milliseconds": 20.0} | columns
        for second in range(seconds) for service, version in SERVED
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_each_service_and_version_has_a_line_in_each_panel():
    rate, errors, duration = show.red_panel(red_frame(3)).panels
    named = ["details v1", "ratings", "reviews v1", "reviews v2", "reviews v3"]
    for panel, value in ((rate, 3.0), (errors, 25.0), (duration, 20.0)):
        lines = {
            mark.name: mark.points for mark in panel.marks if isinstance(mark, Line) and mark.named and mark.points
        }
        assert sorted(lines) == named
        assert all(line == ((-2.0, value), (-1.0, value), (0.0, value)) for line in lines.values())


def test_versions_of_one_service_differ_in_their_dashes_alone():
    lines = {line.name: line for line in legend(show.red_panel(red_frame(2)).panels)}
    reviews = [lines[f"reviews v{n}"] for n in (1, 2, 3)]
    assert {line.colour for line in reviews} == {colours.SERVICES["reviews"]}
    assert [line.dash for line in reviews] == ["solid", "dash", "dot"]


def test_times_may_be_seconds_or_dates():
    seconds = red_frame(3)
    dates = seconds.assign(time=pd.to_datetime(seconds["time"], unit="s", utc=True))
    assert show.red_panel(seconds) == show.red_panel(dates)


def test_one_scrape_is_not_no_traffic():
    one, none = red_frame(1, requests_per_second=nan), red_frame(2, requests_per_second=0.0)
    assert show.red_panel(one).text != show.red_panel(none).text


def test_other_numbers_are_the_same_text():
    assert show.red_panel(red_frame(2)).text == show.red_panel(red_frame(9, error_share=0.0)).text


# -- the service graph ----------------------------------------------------------------------------
calls = st.dictionaries(st.sampled_from(list(permutations(NAMES, 2))), st.integers(1, 999), max_size=12)


def frames(counted):
    edges = [(caller, called, count) for (caller, called), count in counted.items()]
    columns = ["source_workload", "destination_service_name", "requests"]
    return pd.DataFrame({"service": NAMES}), pd.DataFrame(edges, columns=columns)


@given(calls)
def test_every_service_has_a_place_of_its_own_and_every_call_its_count(counted):
    figure = graph.topology(*frames(counted), "any")
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', figure.svg)
    assert len(dots) == len(set(dots)) == len(NAMES)
    assert sorted(re.findall(r">(\d+)</text>", figure.svg)) == sorted(map(str, counted.values()))


@given(calls, st.randoms())
def test_a_graph_looks_the_same_in_whatever_order_the_calls_were_seen(counted, random):
    shuffled = list(counted.items())
    random.shuffle(shuffled)
    weights = sorted(counted.values())
    assume(len(set(weights)) == len(weights))  # of calls that are equally rare, the first one seen gives way in a cycle
    services, edges = frames(counted)
    _, same = frames(dict(shuffled))
    dots = [sorted(re.findall("<circle.*?>", graph.topology(services, each, "any").svg)) for each in (edges, same)]
    assert dots[0] == dots[1]


def test_a_rare_call_back_does_not_turn_the_picture_round():
    counted = {("productpage", "reviews"): 20, ("reviews", "ratings"): 15, ("ratings", "productpage"): 1}
    services, edges = frames(counted)
    dots = dict(re.findall(r'<circle cx="([\d.]+)"[^>]*><title>(\w+)', graph.topology(services, edges, "any").svg))
    x = {name: float(at) for at, name in dots.items()}
    assert x["productpage"] < x["reviews"] < x["ratings"]


def test_an_arrow_goes_round_what_stands_in_its_way():
    places = {"a": (80.0, 155.0), "b": (320.0, 155.0), "c": (560.0, 155.0)}
    assert graph._Curve.around(places, "a", "b").bow == 0
    assert graph._Curve.around(places, "a", "c").bow != 0


def test_calls_of_several_workloads_are_weighed_by_their_rates():
    rows = [(0, "reviews-v2", "ratings", 9.0, 0.9, 0.0), (1, "reviews-v2", "ratings", 3.0, 0.0, 1.0),
            (1, "reviews-v3", "ratings", 1.0, 1.0, 0.0), (1, "productpage-v1", "reviews", 4.0, 0.0, 1.0),
            (1, "curl", "details", 0.0, nan, nan)]  # fmt: skip
    columns = [
        "time",
        "source_workload",
        "destination_service_name",
        "requests_per_second",
        "error_share",
        "mtls_share",
    ]
    figure = show.service_graph(pd.DataFrame(rows, columns=columns))
    said = {mark.text for panel in figure.panels for mark in panel.marks if isinstance(mark, Label)}
    assert {"4.0/s\n25 % errors\n75 % mTLS", "4.0/s\n0 % errors\n100 % mTLS"} <= said
    assert figure.text.splitlines()[1:] == ["  productpage-v1 → reviews", "  reviews → ratings"]


def test_both_layers_are_drawn_with_an_arrow_from_istiod_to_each_proxy():
    edges = pd.DataFrame(
        [("istio-ingressgateway", "reviews", 1.0), ("reviews-v2", "ratings", 0.5), ("curl", "ratings", 0.0)],
        columns=["source_workload", "destination_service_name", "requests_per_second"],
    )
    names = ["istio-ingressgateway-a-b.istio-system", "reviews-v1-c-d.default", "reviews-v2-e-f.default",
             "ratings-v1-g-h.default", "istio-egressgateway-i-j.istio-system"]  # fmt: skip
    sync = pd.DataFrame({"name": names, **dict.fromkeys(["cds", "lds", "eds", "rds"], "SYNCED")})
    sync.loc[3, "lds"] = "ERROR"
    figure = show.layers(edges, sync)
    [panel] = figure.panels
    dots = [mark.hover[0] for mark in panel.marks if isinstance(mark, Dots)]
    assert sorted(dots) == ["istio-egressgateway", "istio-ingressgateway", "istiod", "ratings", "reviews"]
    arrows = [mark for mark in panel.marks if isinstance(mark, Line)]
    assert [arrow.dash for arrow in arrows].count("dash") == 4
    assert [mark.text for mark in panel.marks if isinstance(mark, Label) and mark.text not in dots] == ["ERROR"]
    assert "5 proxies, 2 calls" in figure.text


# -- the propagation clock ------------------------------------------------------------------------
def test_pods_stand_from_fast_to_slow_and_who_waits_is_said():
    clock = pd.DataFrame([("slow", 90), ("fast", 10), ("fast", 14), ("late", nan)], columns=["pod", "milliseconds"])
    [panel] = show.propagation_clock(clock).panels
    assert [name for _, name in panel.y.ticks] == ["fast", "slow", "late"]
    dots = {point for mark in panel.marks if isinstance(mark, Dots) for point in mark.points}
    assert dots == {(10.0, 0.0), (14.0, 0.0), (90.0, 1.0)}
    assert [mark.point[1] for mark in panel.marks if isinstance(mark, Label)] == [2]
    assert panel.x.low < 0  # where a dot at zero would lie on the names


# -- certificates ---------------------------------------------------------------------------------
def certificate(pod, serial, start, minutes):
    signed = BEGAN + timedelta(minutes=start)
    return BEGAN + timedelta(minutes=9), pod, serial, signed, signed + timedelta(minutes=minutes)


def test_a_certificate_is_a_bar_from_its_first_moment_to_its_last():
    rows = [certificate("a", "aa", 0, 5), certificate("a", "bb", 3, 5), certificate("a", "aa", 0, 5),
            certificate("b", "cc", 1, 1440)]  # fmt: skip
    columns = ["time", "pod", "serial", "signed", "not_after"]
    figure = show.certificate_timeline(pd.DataFrame(rows, columns=columns))
    [panel] = figure.panels
    began = BEGAN.timestamp()
    bars = [mark for mark in panel.marks if isinstance(mark, Box)]
    assert [((bar.start[0] - began) / 60, (bar.end[0] - began) / 60) for bar in bars] == [(0, 5), (3, 8), (1, 1441)]
    assert len({bar.start[1] for bar in bars}) == len(bars)
    *halves, now = [(mark.points[0][0] - began) / 60 for mark in panel.marks if isinstance(mark, Line)]
    assert halves == [2.5, 5.5, 721]
    assert now == 9
    assert "2 pods" in figure.text


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=4000)))
def test_a_time_axis_has_a_few_ticks_at_round_times(span):
    rows = [certificate("a", "aa", 0, span / timedelta(minutes=1))]
    [panel] = show.certificate_timeline(pd.DataFrame(rows, columns=["time", "pod", "serial", "signed",
                                                                    "not_after"])).panels  # fmt: skip
    assert 1 <= len(panel.x.ticks) <= 8
    assert len({label for _, label in panel.x.ticks}) == len(panel.x.ticks)


# -- the circuit breaker --------------------------------------------------------------------------
def test_every_cell_of_the_sweep_holds_its_value():
    rows = [(1, 2, 0.0), (1, 16, 0.126), (32, 2, 1.0), (32, 16, nan)]
    figure = show.circuit_breaker_heat_map(
        pd.DataFrame(rows, columns=["connections", "pending_limit", "overflow_share"])
    )
    [panel] = figure.panels
    assert ([label for _, label in panel.x.ticks], [label for _, label in panel.y.ticks]) == (["1", "32"], ["2", "16"])
    cells = {mark.point: mark.text for mark in panel.marks if isinstance(mark, Label)}
    assert cells == {(0, 0): "0 %", (0, 1): "13 %", (1, 0): "100 %", (1, 1): "…"}


# -- the truth table ------------------------------------------------------------------------------
@given(answer_frames())
def test_what_is_not_as_intended_is_marked_and_counted(answers):
    figure = show.truth_table(answers)
    [panel] = figure.panels
    wrong = [a for a in answers.itertuples() if a.observed is not None and a.observed != a.intended]
    untried = [a for a in answers.itertuples() if a.observed is None]
    assert sum(bool(mark.edge) for mark in panel.marks if isinstance(mark, Box)) == len(wrong)
    assert sum(mark.text.startswith("✗") for mark in panel.marks if isinstance(mark, Label)) == len(wrong)
    right = len(answers) - len(wrong) - len(untried)
    assert figure.text.splitlines()[-1] == f"{right}/{len(answers)} as intended"


def test_the_figure_of_a_frame_is_the_same_each_time():
    frame = red_frame(2)
    assert show.red_panel(frame) == show.red_panel(frame.copy())
    assert isinstance(show.red_panel(frame), Figure)


@given(st.lists(st.lists(st.integers(0, 999), min_size=3, max_size=3), min_size=1, max_size=4))
def test_shares_side_by_side_are_drawn_to_one_scale_and_each_is_named(columns):
    names = [f"policy {number}" for number in range(len(columns))]
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)), index=NAMES[:3])
    figure = show.shares(frame, "any")
    assert [panel.x.title for panel in figure.panels] == [f"{name} (requests)" for name in names]
    assert len({panel.x.high for panel in figure.panels}) == 1
