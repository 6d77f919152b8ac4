"""What the proxies counted: read, subtracted, drawn; and what Prometheus says of the same."""

from __future__ import annotations

import json
import math
import threading
from itertools import pairwise

import pandas  # noqa: F401  imported before hypothesis starts its clocks
import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.api import views
from labkit.errors import LabError
from labkit.mesh import telemetry
from labkit.mesh.telemetry import names, prometheus, rates

# -- lines ------------------------------------------------------------------------------------------
UPSTREAM = (
    "# TYPE envoy_istio_requests_total counter\n"
    'envoy_istio_requests_total{destination="reviews-v1;default;reviews;v1",reporter="destination",'
    'source_principal="spiffe://cluster.local/ns/default/sa/bookinfo-productpage",'
    'destination_service="reviews.default.svc.cluster.local",request_protocol="HTTP/1.1",response_code="200",'
    'response_flags="-"} 6\n'
    'envoy_istio_requests_total{destination="details-v1;default;details;v1;Kubernetes",reporter="source",'
    'source="reviews-v1;default;reviews;v1",source_principal="",'
    'destination_service="details.default.svc.cluster.local",request_protocol="HTTP/1.1",response_code="503",'
    'response_flags="UF"} 2\n'
)
NOWHERE = (
    'envoy_istio_requests_total{destination="",reporter="source",source="gateway;istio-system;gateway;latest",'
    'source_principal="",destination_service="",request_protocol="HTTP/1.1",response_code="404",'
    'response_flags="NR"} 1\n'
)
ISTIOS_OWN = (
    'istio_requests_total{reporter="destination",source_workload="productpage-v1",'
    'source_principal="spiffe://cluster.local/ns/default/sa/bookinfo-productpage",'
    'destination_workload="reviews-v1",destination_version="v1",destination_service_name="reviews",'
    'request_protocol="http",response_code="200",response_flags="-",connection_security_policy="mutual_tls"} 6\n'
)
BUCKET = (
    'envoy_istio_request_duration_milliseconds_bucket{destination="reviews-v1;default;reviews;v1",'
    'reporter="destination",destination_service="reviews.default.svc.cluster.local",response_code="200",le="%s"} 3\n'
)


def labels(text):
    return [names.series(line).labels for line in names.samples(text)]


def test_upstream_envoys_counters_get_istios_labels():
    destination, source = labels(UPSTREAM)
    assert list(destination) == list(source) == telemetry.LABELS
    assert destination["destination_service_name"] == "reviews"
    assert destination["destination_version"] == "v1"
    assert destination["connection_security_policy"] == "mutual_tls"
    assert (source["source_workload"], source["destination_workload"]) == ("reviews-v1", "details-v1")
    assert source["destination_service_name"] == "details"
    assert (source["response_code"], source["response_flags"]) == ("503", "UF")
    assert list(names.samples(UPSTREAM).values()) == [6, 2]


def test_a_request_that_no_route_took_has_no_destination():
    [found] = labels(NOWHERE)
    assert (found["source_workload"], found["response_flags"]) == ("gateway", "NR")
    assert {found[key] for key in found if key.startswith("destination")} == {telemetry.UNKNOWN}


def test_labels_as_they_are_written_are_those_that_a_rule_added_too():
    text = UPSTREAM.replace('response_flags="-"', 'request_kind="a, \\"b\\" or {c}"')
    (first, six), (second, two) = names.as_written(text + ISTIOS_OWN)[:2]
    assert (six, two) == (6, 2)
    assert first["request_kind"] == 'a, \\"b\\" or {c}'
    assert "response_flags" not in first
    assert second["source_principal"] == ""
    assert names.as_written(BUCKET % "5") == []


def test_a_host_outside_of_the_cluster_keeps_its_name():
    [found] = labels(NOWHERE.replace('destination_service=""', 'destination_service="api.example.com"'))
    assert found["destination_service_name"] == "api.example.com"


def test_both_envoys_look_the_same():
    upstream, _ = labels(UPSTREAM)
    [own] = labels(ISTIOS_OWN)
    assert {key for key in own if own[key] != upstream[key]} <= {"source_workload"}


def test_a_status_of_grpcs_own_makes_the_protocol_grpc():
    [found] = labels(NOWHERE.replace('"HTTP/1.1"', '"HTTP/2",grpc_response_status="14"'))
    assert found["request_protocol"] == "grpc"


def test_a_bucket_has_the_labels_of_the_counter_beside_it_and_a_bound():
    counter, _ = names.samples(UPSTREAM)
    bounds = [names.series(line).le for line in names.samples(BUCKET % "0.5" + BUCKET % "1000" + BUCKET % "+Inf")]
    [line] = names.samples(BUCKET % "25")
    assert bounds == [0.5, 1000, math.inf]
    known = ("reporter", "destination_workload", "destination_version", "destination_service_name", "response_code")
    assert {names.series(line).labels[label] for label in known} == {
        names.series(counter).labels[label] for label in known
    }


def test_other_metrics_are_left_alone():
    others = "envoy_cluster_upstream_rq_total 3\nistio_requests_totally{} 1\n# istio_requests_total{} 1\n"
    assert names.samples(others) == {}


def escaped(value):
    """https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information"""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@given(st.fixed_dictionaries({label: st.text(min_size=1) for label in telemetry.LABELS}), st.integers(0, 2**53))
def test_any_label_values_are_read_back(values, count):
    pairs = ",".join(f'{label}="{escaped(value)}"' for label, value in values.items())
    for line in (f"istio_requests_total{{{pairs}}}", f'{names.DURATIONS}_bucket{{{pairs},le="5"}}'):
        assert names.samples(f"{line} {count}\n") == {line: count}
        assert names.series(line).labels == values


@given(st.integers(0, 1000))
def test_a_text_that_was_cut_holds_no_other_lines(end):
    whole = UPSTREAM + BUCKET % "25" + ISTIOS_OWN
    assert names.samples(whole[:end]).keys() <= names.samples(whole).keys()


@given(st.text())
def test_any_text_can_be_read(text):
    for line in names.samples(f"istio_requests_total{{{text}}} 1\n{text}"):
        assert names.series(line)


# -- a mesh -----------------------------------------------------------------------------------------
def line(metric=names.REQUESTS, le=None, **given_labels):
    all_labels = dict.fromkeys(telemetry.LABELS, "unknown") | given_labels | ({"le": le} if le else {})
    pairs = (f'{label}="{value}"' for label, value in all_labels.items())
    return f"{metric}{{{','.join(pairs)}}}"


def pod(name, phase="Running", namespace="default", container="istio-proxy"):
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": container}]},
        "status": {"phase": phase},
    }


class Mesh(Fake):
    """Pods by name → their metrics, or the error in their place; time passes as it is told."""

    def __init__(self, metrics, pods=None) -> None:
        super().__init__()
        self.metrics, self.time, self.asked = metrics, 0.0, []
        self.pods = [pod(name) for name in metrics] if pods is None else pods

    def kubernetes(self, method, path, body, query, content_type):
        if path.endswith("/pods"):
            return json.dumps({"kind": "PodList", "items": self.pods})
        self.asked.append((path, query))
        answer = self.metrics[path.partition("/pods/")[2].partition(":")[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def now(self):
        return self.time


def refused(status):
    return backend.KubernetesError(status, "Refused", "the API server's words", "")


def scrape_at(time, **counts):
    """A scrape of proxies by name → line → value."""
    return telemetry.Scrape("", time, dict.fromkeys(counts, time), counts, {})


# -- scrapes ----------------------------------------------------------------------------------------
def test_a_scrape_asks_each_running_proxy_for_request_metrics_alone():
    pods = [pod("a"), pod("b", namespace="istio-system"), pod("starting", "Pending"), pod("plain", container="app")]
    with backend.use(Mesh({"a": UPSTREAM, "b": ""}, pods)) as mesh:
        found = telemetry.scrape()
    assert sorted(found.counts) == sorted(found.times) == ["a.default", "b.istio-system"]
    assert {path for path, _ in mesh.asked} == {
        "/api/v1/namespaces/default/pods/a:15090/proxy/stats/prometheus",
        "/api/v1/namespaces/istio-system/pods/b:15090/proxy/stats/prometheus",
    }
    assert {query["filter"] for _, query in mesh.asked} == {views.COUNTERS}


@pytest.mark.parametrize(
    "stat", ["istiocustom.istio_requests_total.reporter.source", "istio.request_duration_milliseconds.reporter.source"]
)
def test_envoys_filter_lets_both_envoys_names_through(stat):
    import re

    assert re.search(views.COUNTERS, stat)
    assert not re.search(views.COUNTERS, stat.replace("request", "response"))


def test_a_proxy_that_vanished_in_the_middle_is_silent_and_the_others_are_not():
    with backend.use(Mesh({"here": UPSTREAM, "gone": refused(404), "leaving": refused(503)})):
        found = telemetry.scrape("default")
    assert list(found.counts) == ["here.default"]
    assert found.silent == dict.fromkeys(["gone.default", "leaving.default"], "the API server's words")
    assert list(found.requests.value) == [6, 2]


def test_a_pod_on_its_way_out_is_not_asked():
    leaving = pod("leaving")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with backend.use(Mesh({"here": UPSTREAM, "leaving": refused(403)}, [pod("here"), leaving])):
        assert list(telemetry.scrape().counts) == ["here.default"]


def test_a_missing_permission_is_told():
    with backend.use(Mesh({"a": UPSTREAM, "b": refused(403)})), pytest.raises(backend.KubernetesError) as caught:
        telemetry.scrape()
    assert caught.value.status == 403


def test_who_may_not_list_all_pods_is_told_to_name_a_namespace():
    class OneNamespace(Mesh):
        def kubernetes(self, method, path, body, query, content_type):
            if path == "/api/v1/pods":
                raise refused(403)
            return super().kubernetes(method, path, body, query, content_type)

    with backend.use(OneNamespace({"a": UPSTREAM})):
        assert list(telemetry.scrape("default").counts) == ["a.default"]
        with pytest.raises(backend.KubernetesError) as caught:
            telemetry.scrape()
    assert "namespace" in caught.value.fix


def test_eight_proxies_are_asked_at_once():
    together = threading.Barrier(8, timeout=60)

    class Patient(Mesh):
        def kubernetes(self, method, path, body, query, content_type):
            if not path.endswith("/pods"):
                together.wait()
            return super().kubernetes(method, path, body, query, content_type)

    with backend.use(Patient({f"p{n}": "" for n in range(16)})):
        assert len(telemetry.scrape().counts) == 16


def test_frames_have_istios_labels_and_a_time():
    with backend.use(Mesh({"a": UPSTREAM + BUCKET % "25" + BUCKET % "+Inf"})) as mesh:
        mesh.time = 7.5
        found = telemetry.scrape()
    assert list(found.requests) == ["time", "proxy", *telemetry.LABELS, "value"]
    assert list(found.durations) == ["time", "proxy", *telemetry.LABELS, "le", "value"]
    assert set(found.requests.time) == set(found.durations.time) == {7.5}
    assert list(found.durations["le"]) == [25, math.inf]


def test_lines_that_differ_in_no_column_are_one_row():
    twice = ISTIOS_OWN + ISTIOS_OWN.replace("{", '{source_cluster="another",')
    with backend.use(Mesh({"a": twice})):
        assert list(telemetry.requests().value) == [12]


def test_edges_are_what_callers_report():
    counts = {
        line(reporter="source", source_workload="a", destination_service_name="b", response_code="200"): 3,
        line(reporter="source", source_workload="a", destination_service_name="b", response_code="503"): 2,
        line(reporter="source", source_workload="a", response_code="404"): 1,
        line(reporter="destination", source_workload="a", destination_service_name="b"): 5,
    }
    [edge] = telemetry.edges(scrape_at(0, a=counts).requests).to_dict("records")
    assert edge == {"source_workload": "a", "destination_service_name": "b", "requests": 5}


def test_a_scraper_keeps_its_window():
    with backend.use(Mesh({"a": ""})) as mesh:
        scraper = telemetry.Scraper(window=10)
        for mesh.time in (0, 4, 8, 12):
            kept = scraper.scrape()
    assert [each.time for each in kept] == [4, 8, 12]


def test_a_clock_that_was_set_back_starts_the_window_anew():
    with backend.use(Mesh({"a": ""})) as mesh:
        scraper = telemetry.Scraper(window=10)
        for mesh.time in (100, 101, 50, 51):
            kept = scraper.scrape()
    assert [each.time for each in kept] == [50, 51]


def test_what_each_pod_received_is_what_its_own_proxy_counted_meanwhile():
    def counted(protocol, **others):
        labels = {"reporter": "destination", "destination_workload": "ping", "response_code": "200", **others}
        return line(request_protocol=protocol, **labels)

    grpc, http, sent, other = (
        counted("grpc"), counted("http"), counted("grpc", reporter="source"), counted("grpc", destination_workload="x"),
    )  # fmt: skip
    before = scrape_at(0.0, **{"a.default": {grpc: 3.0, http: 7.0}, "b.default": {}})
    after = scrape_at(1.0, **{"a.default": {grpc: 23.0, http: 7.0}, "b.default": {grpc: 5.0, sent: 9.0, other: 9.0}})
    found = telemetry.received(before, after, workload="ping")
    assert found.to_numpy().tolist() == [["a", "grpc", 20], ["b", "grpc", 5]]
    assert telemetry.received(before, before, workload="ping").empty


def test_an_increase_has_what_grew_and_nothing_that_was_there_before(monkeypatch):
    old = line(response_code="503", response_flags="FI", source_workload="reviews-v3")
    new = line(response_code="500", response_flags="FI", source_workload="reviews-v2")
    before = scrape_at(0.0, **{"a.default": {old: 13.0, new: 1.0}, "b.default": {old: 5.0}})
    # b's proxy started anew meanwhile
    later = scrape_at(1.0, **{"a.default": {old: 13.0, new: 3.0}, "b.default": {old: 2.0}})
    monkeypatch.setattr(rates, "scrape", {before.namespace: later}.get)
    found = telemetry.increase(before)
    assert found[["proxy", "response_code", "value"]].to_numpy().tolist() == [
        ["a.default", "500", 2], ["b.default", "503", 2]]  # fmt: skip
    monkeypatch.setattr(rates, "scrape", lambda namespace: before)
    assert telemetry.increase(before).empty


# -- growth -----------------------------------------------------------------------------------------
LINE = line(reporter="destination", destination_service_name="s", destination_version="v1", response_code="200")
counts = st.lists(st.integers(0, 1000), min_size=2, max_size=8)


def grown(scrapes):
    return sum(each.increase for each in rates.growth(scrapes))


def one_series(values):
    return [scrape_at(float(time), a={LINE: float(value)}) for time, value in enumerate(values)]


@given(counts)
def test_the_increase_is_prometheus_own_resets_included(values):
    resets = sum(before for before, after in pairwise(values) if after < before)
    assert grown(one_series(values)) == values[-1] - values[0] + resets


@given(counts, st.data())
def test_the_increase_of_a_time_is_the_sum_of_its_parts(values, data):
    at = data.draw(st.integers(0, len(values) - 1))
    scrapes = one_series(values)
    assert grown(scrapes) == grown(scrapes[: at + 1]) + grown(scrapes[at:])


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 1000)), min_size=1, max_size=8))
def test_no_clock_and_no_reset_makes_a_rate_negative(answers):
    scrapes = [scrape_at(time, a={LINE: float(value)}) for time, value in answers]
    assert all(each.increase >= 0 and each.seconds >= 0 for each in rates.growth(scrapes))
    [rate] = telemetry.red(*scrapes).requests_per_second
    assert rate >= 0 or math.isnan(rate)


def test_a_proxy_that_vanished_keeps_what_it_added():
    scrapes = [
        scrape_at(0, a={LINE: 10}, b={LINE: 10}),
        scrape_at(1, a={LINE: 14}, b={LINE: 15}),
        scrape_at(2, b={LINE: 16}),
    ]
    assert grown(scrapes) == 4 + 6


def test_a_proxy_that_was_silent_once_is_counted_over_the_whole_time():
    scrapes = [scrape_at(0, a={LINE: 10}), scrape_at(1), scrape_at(2, a={LINE: 16})]
    assert grown(scrapes) == 6
    assert list(telemetry.red(*scrapes).requests_per_second) == [3]


def test_a_series_that_a_known_proxy_did_not_have_began_at_nothing():
    assert grown([scrape_at(0, a={}), scrape_at(1, a={LINE: 3})]) == 3


def test_a_proxy_that_is_new_is_compared_with_its_first_answer():
    assert grown([scrape_at(0, a={}), scrape_at(1, a={}, b={LINE: 500}), scrape_at(2, a={}, b={LINE: 502})]) == 2


# -- quantiles --------------------------------------------------------------------------------------
@st.composite
def histograms(draw):
    """Cumulative buckets with at least one observation."""
    bounds = sorted(draw(st.sets(st.floats(0.1, 1e6), min_size=1, max_size=8)))
    in_each = [draw(st.integers(0, 50)) for _ in bounds] + [draw(st.integers(1, 50))]
    return {bound: sum(in_each[: n + 1]) for n, bound in enumerate([*bounds, math.inf])}


@given(histograms(), st.floats(0, 1))
def test_a_quantile_lies_within_the_buckets(buckets, quantile):
    assert 0 <= telemetry.histogram_quantile(quantile, buckets) <= sorted(buckets)[-2]


@given(histograms(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_no_lower(buckets, one, other):
    low, high = (telemetry.histogram_quantile(q, buckets) for q in sorted((one, other)))
    assert low <= high or math.isclose(low, high)


def test_a_quantile_is_linear_within_its_bucket():
    buckets = {10: 0, 20: 100, 30: 200, math.inf: 200}
    assert telemetry.histogram_quantile(0.25, buckets) == 15
    assert telemetry.histogram_quantile(0.75, buckets) == 25
    assert telemetry.histogram_quantile(0.05, {10: 200, math.inf: 200}) == 0.5


def test_a_quantile_beyond_the_last_bound_is_that_bound():
    assert telemetry.histogram_quantile(0.99, {10: 1, 20: 1, math.inf: 100}) == 20


@pytest.mark.parametrize("buckets", [{}, {math.inf: 3}, {1: 0, math.inf: 0}, {1: 1, 2: 2}])
def test_there_is_no_quantile_of_nothing(buckets):
    assert math.isnan(telemetry.histogram_quantile(0.5, buckets))


@pytest.mark.parametrize(("quantile", "expected"), [(-0.1, -math.inf), (1.1, math.inf)])
def test_a_quantile_that_is_none_is_infinite(quantile, expected):
    assert telemetry.histogram_quantile(quantile, {1: 1, math.inf: 1}) == expected


# -- rates, errors, durations -----------------------------------------------------------------------
def v(version, code="200", metric=names.REQUESTS, le=None, **more):
    more = {"reporter": "destination", "destination_service_name": "reviews"} | more
    return line(metric, le, destination_version=version, response_code=code, **more)


def bucket(version, le):
    return v(version, metric=f"{names.DURATIONS}_bucket", le=le)


def test_red_is_by_service_and_version():
    before = {v("v1"): 10, v("v1", "500"): 0, v("v2"): 7, v("v1", reporter="source"): 10}
    after = {
        v("v1"): 16, v("v1", "500"): 2, v("v2"): 7, v("v1", reporter="source"): 18,
        bucket("v1", 10): 4, bucket("v1", 20): 8, bucket("v1", "+Inf"): 8,
    }  # fmt: skip
    first, second = telemetry.red(scrape_at(0, a=before), scrape_at(4, a=after)).to_dict("records")
    assert (first["destination_service_name"], first["destination_version"]) == ("reviews", "v1")
    assert (first["requests"], first["requests_per_second"], first["error_share"]) == (8, 2, 0.25)
    assert (first["p50_milliseconds"], first["p95_milliseconds"]) == (10, 19)
    assert (second["destination_version"], second["requests_per_second"]) == ("v2", 0)
    assert math.isnan(second["error_share"])
    assert math.isnan(second["p50_milliseconds"])


def test_red_of_replicas_is_their_sum():
    before, after = scrape_at(0, a={LINE: 0}, b={LINE: 100}), scrape_at(2, a={LINE: 4}, b={LINE: 106})
    assert list(telemetry.red(before, after).requests_per_second) == [5]


def test_red_is_by_any_labels_and_either_reporter():
    counts = {v("v1", reporter="source"): 0, v("v1", "503", reporter="source", response_flags="UO"): 0}
    later = dict.fromkeys(counts, 3.0)
    found = telemetry.red(scrape_at(0, a=counts), scrape_at(1, a=later), by=["response_flags"], reporter="source")
    assert list(found.response_flags) == ["UO", "unknown"]
    assert list(found.error_share) == [1, 0]


def test_one_scrape_has_no_rate_yet():
    [rate] = telemetry.red(scrape_at(0, a={LINE: 5})).requests_per_second
    assert math.isnan(rate)


# -- the service graph ------------------------------------------------------------------------------
MTLS = {"source_principal": "spiffe://cluster.local/ns/default/sa/a", "destination_workload": "b-v1"}


def call(code="200", **more):
    given_labels = {"reporter": "source", "source_workload": "a", "destination_service_name": "b"} | more
    return line(response_code=code, **given_labels)


def graph_of(increases):
    return telemetry.graph(scrape_at(0, p={}), scrape_at(2, p=increases)).to_dict("records")


def test_an_edge_has_its_rate_its_errors_and_its_mutual_tls():
    [edge] = graph_of({call(**MTLS): 6, call("500", **MTLS): 1, call(destination_workload="b-v1"): 1})
    assert edge == {
        "source_workload": "a", "destination_service_name": "b",
        "requests_per_second": 4, "error_share": 0.125, "mtls_share": 0.875,
    }  # fmt: skip


def test_requests_that_reached_no_server_are_errors_and_say_nothing_of_mutual_tls():
    aborted, unhealthy = call("500", response_flags="FI"), call("503", response_flags="UH")
    unconnected = call("503", response_flags="UF,URX", destination_workload="b-v1")
    [edge] = graph_of({call(**MTLS): 1, aborted: 1, unhealthy: 1, unconnected: 1})
    assert (edge["error_share"], edge["mtls_share"]) == (0.75, 1)


def test_a_caller_without_a_proxy_is_an_edge_from_unknown():
    plain = {"reporter": "destination", "source_workload": "unknown", "connection_security_policy": "none"}
    secured = {"reporter": "destination", "source_workload": "unknown", "connection_security_policy": "mutual_tls"}
    [edge] = graph_of({call(**plain, destination_workload="b-v1"): 2, call(**(MTLS | secured)): 6})
    assert (edge["source_workload"], edge["requests_per_second"], edge["mtls_share"]) == ("unknown", 1, 0)


# -- nothing to show --------------------------------------------------------------------------------
@pytest.mark.parametrize("view", [telemetry.red, telemetry.graph])
@pytest.mark.parametrize(
    ("scrape", "why", "fix"),
    [
        (telemetry.Scrape("", 0, {"a": 0}, {"a": {}}, {}), "1 proxies", "mesh.traffic.start()"),
        (telemetry.Scrape("", 0, {}, {}, {"a.default": "it is starting"}), "it is starting", "get pods"),
        (telemetry.Scrape("mine", 0, {}, {}, {}), "namespace mine", "up()"),
    ],
)
def test_an_empty_view_says_why(view, scrape, why, fix):
    with pytest.raises(telemetry.NoTraffic) as caught:
        view(scrape, scrape)
    assert why in caught.value.why
    assert fix in caught.value.fix


# -- Prometheus -------------------------------------------------------------------------------------
class Server(Fake):
    """An API server with Prometheus behind it: endpoint → data, or the error in its place."""

    def __init__(self, **answers) -> None:
        super().__init__()
        self.answers, self.asked, self.time = answers, [], 0.0

    def kubernetes(self, method, path, body, query, content_type):
        root = "/api/v1/namespaces/istio-system/services/prometheus:9090/proxy/api/v1/"
        self.asked.append((path.removeprefix(root), dict(query)))
        answer = self.answers[path.removeprefix(root)]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"status": "success", "data": answer})

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def vector(*series):
    return {"resultType": "vector", "result": [{"metric": m, "value": [1700000000.5, value]} for m, value in series]}


def test_an_instant_vector_is_a_frame():
    with backend.use(Server(query=vector(({"app": "a"}, "1.5"), ({"version": "v1"}, "NaN")))) as server:
        found = prometheus.query("up")
    assert server.asked == [("query", {"query": "up"})]
    assert list(found) == ["app", "version", "time", "value"]
    assert found.version.to_list() == ["", "v1"]
    assert found.value[0] == 1.5
    assert math.isnan(found.value[1])
    assert found.time[0].isoformat() == "2023-11-14T22:13:20.500000+00:00"


def test_times_are_prometheus_own_to_the_millisecond():
    with backend.use(Server(query={"resultType": "scalar", "result": [1795443130.915, "1"]})):
        assert prometheus.query("1").time[0].isoformat() == "2026-11-23T14:12:10.915000+00:00"


@pytest.mark.parametrize(
    "answer",
    [
        {"resultType": "string", "result": [1700000000, "a"]},
        {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {"count": "1"}]}]},
        {"resultType": "matrix", "result": [{"metric": {}, "histograms": [[1, {"count": "1"}]]}]},
        {"resultType": "streams", "result": []},
    ],
)
def test_an_answer_without_numbers_is_an_error_that_says_so(answer):
    with backend.use(Server(query=answer)), pytest.raises(LabError, match="no number"):
        prometheus.query("x")


def test_no_result_is_an_empty_frame():
    with backend.use(Server(query={"resultType": "vector", "result": None})):
        assert prometheus.query("x").empty


def test_an_empty_answer_is_an_empty_frame():
    with backend.use(Server(query=vector())):
        found = prometheus.query("nothing")
    assert list(found) == ["time", "value"]
    assert found.empty


def test_a_range_ends_at_prometheus_own_now():
    now = {"resultType": "scalar", "result": [1700000000, "1700000000"]}
    matrix = {"resultType": "matrix", "result": [{"metric": {"app": "a"}, "values": [[1, "2"], [2, "+Inf"]]}]}
    with backend.use(Server(query=now, query_range=matrix)) as server:
        found = prometheus.query_range("rate(x[1m])", seconds=60, step=5)
    assert server.asked[1] == (
        "query_range",
        {"query": "rate(x[1m])", "start": "1699999940.000", "end": "1700000000.000", "step": "5"},
    )
    assert found.value.to_list() == [2, math.inf]
    assert found.app.to_list() == ["a", "a"]


BAD = json.dumps({"status": "error", "errorType": "bad_data", "error": "1:3: parse error"})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (backend.KubernetesError(404, "NotFound", 'services "prometheus" not found', ""), "prometheus.deploy()"),
        (backend.KubernetesError(503, "ServiceUnavailable", "no endpoints available", ""), "prometheus.deploy()"),
        (backend.KubernetesError(400, "Bad Request", BAD, ""), "1:3: parse error"),
        (backend.KubernetesError(403, "Forbidden", "may not", "ask for it"), "ask for it"),
    ],
)
def test_what_prometheus_cannot_answer_is_explained(error, words):
    with backend.use(Server(query=error)), pytest.raises(LabError) as caught:
        prometheus.query("sum(")
    assert words in str(caught.value)


def test_prometheus_is_deployed_when_it_has_seen_every_proxy(monkeypatch):
    monkeypatch.setattr(prometheus.objects, "apply", lambda *_, **__: None)
    monkeypatch.setattr(prometheus.objects, "wait_available", lambda *_: None)
    targets = [
        backend.KubernetesError(503, "ServiceUnavailable", "no endpoints available", ""),
        {"activeTargets": []},
        {"activeTargets": [{"health": "up"}, {"health": "unknown"}]},
        {"activeTargets": [{"health": "up"}, {"health": "down"}]},
    ]
    seen = []
    with backend.use(Server(targets=targets)):
        prometheus.deploy(seen.append)
    assert targets == []
    assert seen[-1].startswith("2 of 2")


def test_prometheus_has_caught_up_when_every_scrape_is_newer_than_the_question():
    now = {"resultType": "scalar", "result": [1700000000, "1700000000"]}
    late, new = ({"pod": "a"}, "1699999990"), ({"pod": "b"}, "1700000001")
    answers = [now, vector(), vector(late, new), vector(new, new)]
    seen = []
    with backend.use(Server(query=answers)):
        assert prometheus.catch_up(seen.append) == 1  # two looks in vain, half a second each
    assert answers == []
    assert seen == ["0 of 0 pods scraped", "1 of 2 pods scraped", "2 of 2 pods scraped"]
