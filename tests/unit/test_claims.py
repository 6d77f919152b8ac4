"""What a check must not overlook: states in which a task is not done, though they look nearly as if it were."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from fake import Fake

from labkit import backend
from labkit.course.labs import lab_07_architecture as lab_07
from labkit.course.labs import lab_10_staged_rollouts as lab_10
from labkit.course.labs import lab_14_enterprise_security as lab_14
from labkit.course.labs import lab_29_ambient as lab_29
from labkit.course.labs import lab_31_troubleshooting_workloads as lab_31
from labkit.course.observations import pages_have_their_stars
from labkit.mesh import bookinfo, objects, proxy, traffic
from labkit.mesh.proxy import Snapshot

REVIEWS = "reviews.default.svc.cluster.local"
WHOLE = bookinfo.Page(200, bookinfo.TITLE, "reviews-v3-a-b", 0.01)


def snapshot(*routes: dict) -> Snapshot:
    host = {"name": f"{REVIEWS}:9080", "domains": [REVIEWS, "reviews"], "routes": list(routes)}
    return Snapshot("productpage", "default", {"routes": {"9080": {"virtual_hosts": [host]}}}, {}, ())


def route(timeout: str, **header: object) -> dict:
    match = {"prefix": "/", **({"headers": [{"name": "end-user", **header}]} if header else {})}
    return {"match": match, "route": {"timeout": timeout}}


JASON = {"exact": "jason"}
NOT_JASON = {"string_match": JASON, "invert_match": True, "treat_missing_header_as_empty": True}


@pytest.mark.parametrize(
    ("routes", "holds"),
    [
        ([route("2s", string_match=JASON), route("0.500s")], True),
        ([route("2s", string_match={"safe_regex": {"regex": "ja.*"}}), route("0.500s")], True),
        ([route("2s", string_match={"prefix": "ja", "ignore_case": True}), route("0.500s")], True),
        ([route("0.500s", **NOT_JASON), route("2s")], True),
        ([route("0.500s", present_match=False), route("2s", string_match=JASON)], True),
        ([route("2s", string_match=JASON, name="user"), route("0.500s")], False),
        ([route("2s", string_match={"exact": "tester"}), route("0.500s")], False),
        ([route("2s", present_match=True), route("0.500s", string_match=JASON)], False),
        ([route("2s", string_match=JASON)], False),
        ([route("0.500s"), route("2s", string_match=JASON)], False),
        ([], False),
    ],
)
def test_07_3_asks_whose_patience_it_is(monkeypatch, routes, holds):
    monkeypatch.setattr(proxy, "snapshot", lambda pod: snapshot(*routes))
    assert lab_07.jason_has_more_patience().passed is holds


def to(**weights: int) -> dict:
    clusters = [{"name": f"outbound|9080|{subset}|{REVIEWS}", "weight": weight} for subset, weight in weights.items()]
    return {"route": {"weighted_clusters": {"clusters": clusters}}}


@pytest.mark.parametrize(
    ("routes", "holds"),
    [
        ([to(v1=75, v2=25)], True),
        ([to(v1=3, v2=1), to(v1=75, v2=25)], True),
        ([to(v3=100), to(v1=75, v2=25)], False),
        ([to(v1=75, v2=25), to(v1=25, v2=75)], False),
        ([], False),
    ],
)
def test_10_1_asks_for_the_share_of_all_requests(monkeypatch, routes, holds):
    monkeypatch.setattr(proxy, "snapshot", lambda pod: snapshot(*routes))
    assert lab_10.envoy_sends_a_quarter_to_v2().passed is holds


@pytest.mark.parametrize("observe", [lab_14.pages_have_their_stars, lambda: pages_have_their_stars(12)])
def test_pages_without_a_star_are_not_pages_with_their_stars(monkeypatch, observe):
    monkeypatch.setattr(bookinfo, "fetch", lambda: WHOLE)
    assert not observe().passed
    pages = iter([replace(WHOLE, stars=True)])
    monkeypatch.setattr(bookinfo, "fetch", lambda: next(pages, WHOLE))
    assert observe().passed
    pages = iter([replace(WHOLE, stars=True), replace(WHOLE, error="Ratings service is currently unavailable")])
    assert not observe().passed


def rule(name: str, mode: str, **spec: object) -> dict:
    return {"metadata": {"name": name}, "spec": {"mtls": {"mode": mode}, **spec}}


SOME = {"matchLabels": {"app": "details"}}


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        ([rule("default", "STRICT")], True),
        ([rule("another", "STRICT")], True),
        ([rule("default", "STRICT"), rule("details", "STRICT", selector=SOME)], True),
        ([rule("default", "STRICT"), rule("details", "PERMISSIVE", selector=SOME)], False),
        (
            [
                rule("default", "STRICT"),
                rule("details", "STRICT", selector=SOME, portLevelMtls={"9080": {"mode": "DISABLE"}}),
            ],
            False,
        ),
        ([rule("default", "STRICT", selector=SOME)], False),
        ([], False),
    ],
)
def test_plain_text_is_refused_at_each_port_of_each_pod(monkeypatch, rules, holds):
    monkeypatch.setattr(objects, "list_", lambda *words, **options: rules)
    assert lab_31.plain_text_is_refused().passed is holds


def bookinfos(app: str, *, sidecar: bool = False, carried: bool = True) -> dict:
    containers = [{"name": app}, *([{"name": "istio-proxy"}] if sidecar else [])]
    marks = {lab_29.REDIRECTION: "enabled"} if carried else {}
    return {"metadata": {"labels": {"app": app}, "annotations": marks}, "spec": {"containers": containers}}


ALL_BUT_REVIEWS = [bookinfos(app) for app in ("details", "productpage", "ratings")]


@pytest.mark.parametrize(
    ("pods", "holds"),
    [
        ([*ALL_BUT_REVIEWS, bookinfos("reviews")], True),
        ([*ALL_BUT_REVIEWS, bookinfos("reviews"), bookinfos("curl", sidecar=True, carried=False)], True),
        ([*ALL_BUT_REVIEWS, bookinfos("reviews", sidecar=True)], False),
        ([*ALL_BUT_REVIEWS, bookinfos("reviews", carried=False)], False),
        (ALL_BUT_REVIEWS, False),
        ([], False),
    ],
)
def test_ambient_mode_is_a_mark_on_each_pod_and_no_sidecar(monkeypatch, pods, holds):
    monkeypatch.setattr(objects, "list_", lambda *words, **options: pods)
    assert lab_29.bookinfo_is_in_ambient_mode().passed is holds


class Callers(Fake):
    """Pods with curl, and what each is answered, by its Deployment and the method."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def run(self, argv, **options):
        who = argv[4].removeprefix("deploy/").partition("-")[0]
        said = self.answers.get(f"{who}_post" if "--data" in argv else who, "")
        return backend.Completed(tuple(argv), 0 if said else 1, said, "", 0.0)


@pytest.mark.parametrize(
    ("get", "post", "holds"), [("200", "403", True), ("200", "200", False), ("000", "000", False), ("", "", False)]
)
def test_29_wants_a_refusal_of_the_waypoints_and_an_answer_to_get(get, post, holds):
    with backend.use(Callers(curl=get, curl_post=post)):
        assert lab_29.details_answers_get_alone().passed is holds


@pytest.mark.parametrize(
    ("curl", "ratings", "holds"), [("000", "000", True), ("000", "200", False), ("403", "403", False), ("", "", False)]
)
def test_29_1_wants_no_answer_for_whoever_is_there_to_ask(curl, ratings, holds):
    with backend.use(Callers(curl=curl, ratings=ratings)):
        assert lab_29.nobody_else_gets_the_page().passed is holds


@pytest.mark.parametrize(("pods", "holds"), [
    (["reviews-v1-a"] * 90 + ["reviews-v2-b"] * 10, True),
    (["reviews-v1-a"] * 34 + ["reviews-v2-b"] * 33 + ["reviews-v3-c"] * 33, False),
    (["reviews-v1-a"] * 89 + ["reviews-v2-b"] * 10 + ["reviews-v3-c"], False),
    (["reviews-v1-a"] * 100, False),
    ([""] * 100, False),
])  # fmt: skip
def test_29_wants_a_tenth_for_v2_and_none_for_v3(monkeypatch, pods, holds):
    monkeypatch.setattr(traffic, "requests", lambda url, times: pd.DataFrame({"pod": pods}))
    assert lab_29.waypoint_splits_reviews().passed is holds


@pytest.mark.parametrize("asked", [True, False])
def test_a_pod_that_nobody_probes_is_not_ready(monkeypatch, asked):
    containers = [
        {"name": "istio-proxy", "readinessProbe": {}},
        {"name": "patient", **({"readinessProbe": {}} if asked else {})},
    ]
    pod = {"metadata": {}, "spec": {"containers": containers}}
    monkeypatch.setattr(objects, "list_", lambda *words, **options: [pod])
    monkeypatch.setattr(objects, "is_serving", lambda pod: True)
    assert lab_31.patient_is_ready().passed is asked
