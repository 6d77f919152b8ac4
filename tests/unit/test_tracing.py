"""Traces: what Jaeger's API answers, and what it may answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import tracing
from tests.fake import Fake

ROOT = "/api/v1/namespaces/istio-system/services/tracing:80/proxy/jaeger/api/"
TRACE = "5b8aa5a2d2c872e8321cf37308d69df2"
NOT_FOUND = backend.KubernetesError(404, "NotFound", json.dumps({"errors": [{"msg": "trace not found"}]}), "")


def span(name, parent, process, side, starts, lasts, **tags):
    told = {"span.kind": side, "http.status_code": "200", "response_flags": "-", **tags}
    return {
        "traceID": TRACE,
        "spanID": name,
        "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": parent}],
        "startTime": 1_796_000_000_000_000 + starts,
        "duration": lasts,
        "processID": process,
        "tags": [{"key": key, "type": "string", "value": value} for key, value in told.items()],
    }


def cluster(service):
    return {"upstream_cluster": f"outbound|9080||{service}.default.svc.cluster.local"}


# told in the order in which they came: a server's before its caller's
PAGE = {
    "traceID": TRACE,
    "processes": {
        "p1": {"serviceName": "ratings.default"},
        "p2": {"serviceName": "reviews.default"},
        "p3": {"serviceName": "istio-ingressgateway.istio-system"},
    },
    "spans": [
        span("c", "b", "p1", "server", 1500, 400),
        span("b", "a", "p2", "client", 1200, 900, **cluster("ratings")),
        span("a", "0", "p2", "server", 1000, 2000),
        span("0", "none", "p3", "client", 0, 4000, **cluster("reviews")),
    ],
}


class Jaeger(Fake):
    """An API server with Jaeger behind it: path → traces, a list of such answers in turn, or the error in its place."""

    def __init__(self, **answers):
        self.answers, self.asked, self.time = answers, [], 0.0

    def kubernetes(self, method, path, body, query, content_type):
        asked = path.removeprefix(ROOT)
        self.asked.append((asked, dict(query)))
        answer = self.answers[asked.partition("/")[0]]
        answer = answer.pop(0) if answer and isinstance(answer[0], list | Exception) else answer
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"data": answer})

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def test_a_call_stands_before_those_that_it_led_to():
    with backend.use(Jaeger(traces=[PAGE])):
        spans = tracing.spans(TRACE)
    assert list(spans) == tracing.SPANS
    assert spans.span.to_list() == ["0", "a", "b", "c"]
    assert spans.service.to_list() == ["istio-ingressgateway", "reviews", "reviews", "ratings"]
    assert spans.peer.to_list() == ["reviews", "", "ratings", ""]
    assert spans.begins.to_list() == [0, 1, 1.2, 1.5]
    assert spans.milliseconds.to_list() == [4, 2, 0.9, 0.4]
    assert spans.parent.to_list() == ["", "0", "a", "b"]
    assert spans.status.to_list() == [200] * 4


def without(name):
    return {**PAGE, "spans": [each for each in PAGE["spans"] if each["spanID"] != name]}


@pytest.mark.parametrize("name", ["c", "b", "a"])
def test_a_trace_is_not_whole_while_one_side_of_a_call_is_missing(name):
    assert tracing.is_whole(tracing.parse(PAGE), "none")
    assert not tracing.is_whole(tracing.parse(without(name)), "none")
    assert not tracing.is_whole([], "none")


def test_a_trace_whose_beginning_is_missing_is_not_whole():
    """What its last call tells is complete in itself."""
    rows = tracing.parse({**PAGE, "spans": PAGE["spans"][:2]})
    assert tracing.is_whole(rows, "a")
    assert not tracing.is_whole(rows, "none")


def test_a_call_that_its_own_proxy_answered_has_one_side():
    aborted = span("b", "a", "p2", "client", 1200, 1, error="true", response_flags="FI", **cluster("ratings"))
    rows = tracing.parse({**PAGE, "spans": [aborted, *PAGE["spans"][2:]]})
    assert tracing.is_whole(rows, "none")
    assert [(row["flags"], row["error"]) for row in rows] == [("", False), ("", False), ("FI", True)]


def test_a_trace_that_nobody_told_of_is_empty():
    with backend.use(Jaeger(traces=[NOT_FOUND, NOT_FOUND])):
        assert tracing.spans(TRACE).empty
        assert tracing.tags(TRACE, "reviews") == {}


def test_the_tags_are_those_of_the_proxy_that_took_the_request():
    with backend.use(Jaeger(traces=[PAGE])):
        assert tracing.tags(TRACE, "reviews")["span.kind"] == "server"
        assert tracing.tags(TRACE, "details") == {}


def test_what_is_looked_for_is_asked_of_the_store():
    with backend.use(Jaeger(traces=[PAGE, {**PAGE, "spans": []}])) as jaeger:
        found = tracing.find("reviews", slower_than=500, errors=True)
    assert jaeger.asked == [
        (
            "traces",
            {
                "service": "reviews.default",
                "limit": "20",
                "lookback": "1h",
                "minDuration": "500ms",
                "tags": '{"error": "true"}',
            },
        )
    ]
    first = found.iloc[0]
    assert (first.trace, first.spans, first.services, first.milliseconds, first.errors) == (TRACE, 4, 3, 4.0, 0)


def test_a_trace_that_is_still_on_its_way_is_waited_for():
    with backend.use(Jaeger(traces=[[], [], [PAGE]])) as jaeger:
        assert list(tracing.find("reviews").trace) == [TRACE]
    assert len(jaeger.asked) == 3


def test_where_none_comes_there_is_none_in_the_end():
    with backend.use(Jaeger(traces=[])) as jaeger:
        assert tracing.find("reviews").empty
    assert jaeger.time == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (backend.KubernetesError(404, "NotFound", 'services "tracing" not found', ""), "not installed"),
        (backend.KubernetesError(503, "ServiceUnavailable", "no endpoints available", ""), "not ready"),
        (backend.KubernetesError(403, "Forbidden", "may not", "ask for it"), "ask for it"),
    ],
)
def test_what_keeps_jaeger_from_answering_is_explained(error, words):
    with backend.use(Jaeger(services=[error])), pytest.raises(LabError) as caught:
        tracing.services()
    assert words in str(caught.value)


def later(by: int):
    spans = [{**each, "startTime": each["startTime"] + by} for each in PAGE["spans"]]
    return {**PAGE, "spans": spans}


def test_those_are_counted_that_are_newer_than_the_newest_before(monkeypatch):
    monkeypatch.setattr(tracing.bookinfo, "fetch", lambda *_: None)
    with backend.use(Jaeger(traces=[[PAGE], [PAGE, later(10**6), later(2 * 10**6)]])) as jaeger:
        assert tracing.kept(5) == 2
        assert jaeger.time > 5  # a proxy may have held them back
    assert jaeger.asked[1][1]["start"] == "1796000000001501"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spans",
                    "processes",
                    "references",
                    "tags",
                    "key",
                    "value",
                    "spanID",
                    "processID",
                    "startTime",
                    "duration",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["spans", "processes", "traceID"]), anything))
def test_whatever_a_store_tells_is_read_or_left_out(trace):
    rows = tracing.parse(trace)
    assert len({row["span"] for row in rows}) == len(rows)
    tracing.is_whole(rows, "")


@pytest.mark.parametrize("status", ["inf", "nan", "-", None, [], 10**400])
def test_a_status_that_is_none_is_zero(status):
    told = span("a", "", "p2", "server", 0, 1)
    told["tags"].append({"key": "http.status_code", "value": status})
    assert tracing.parse({"spans": [told]})[0]["status"] == 0


@given(st.permutations(range(6)), st.lists(st.integers(0, 6), min_size=6, max_size=6))
def test_spans_that_lead_in_a_circle_are_told_once(order, parents):
    spans = [span(str(n), str(parents[n]), "p1", "server", n, 1) for n in order]
    rows = tracing.parse({"spans": spans})
    assert len({row["span"] for row in rows}) == len(rows)
    seen = set()
    for row in rows:
        assert row["parent"] in seen | {""}
        seen.add(row["span"])
