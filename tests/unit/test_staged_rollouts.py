"""How lab 10 reads the shares of versions out of Envoy's routes."""

from __future__ import annotations

import pytest

from labkit.course.labs.lab_10_staged_rollouts import reviews_copies, reviews_weights
from labkit.mesh.proxy import Snapshot


def cluster(subset: str) -> str:
    return f"outbound|9080|{subset}|reviews.default.svc.cluster.local"


def snapshot(*routes: dict) -> Snapshot:
    hosts = [
        {"name": "ratings.default.svc.cluster.local:9080", "routes": [{"route": {"cluster": cluster("wrong")}}]},
        {"name": "reviews.default.svc.cluster.local:9080", "routes": [{"route": route} for route in routes]},
    ]
    return Snapshot("productpage", "default", {"routes": {"9080": {"virtual_hosts": hosts}}}, {}, ())


def weighted(**weights: int) -> dict:
    clusters = [{"name": cluster(subset), "weight": weight} for subset, weight in weights.items()]
    return {"weighted_clusters": {"clusters": clusters}}


@pytest.mark.parametrize(
    ("routes", "shares"),
    [
        ([{"cluster": cluster("")}], {"": 1.0}),
        ([{"cluster": cluster("v3")}], {"v3": 1.0}),
        ([weighted(v1=75, v2=25)], {"v1": 0.75, "v2": 0.25}),
        ([weighted(v1=3, v2=1, v3=0)], {"v1": 0.75, "v2": 0.25}),
        ([{"cluster": cluster("v2")}, {"cluster": cluster("v1")}], {"v1": 1.0}),
    ],
    ids=["no rule", "one subset", "weights", "weights of another sum", "the last route is for everybody"],
)
def test_shares_of_the_versions(routes, shares):
    assert reviews_weights(snapshot(*routes)) == shares


def test_no_route_to_reviews_is_no_share():
    assert reviews_weights(Snapshot("productpage", "default", {"routes": {}}, {}, ())) == {}


@pytest.mark.parametrize(
    ("fraction", "share"),
    [
        ({}, 1.0),
        ({"default_value": {"numerator": 1_000_000, "denominator": "MILLION"}}, 1.0),
        ({"default_value": {"numerator": 100_000, "denominator": "MILLION"}}, 0.1),
        ({"default_value": {"numerator": 10}}, 0.1),
        ({"default_value": {}}, 0.0),
    ],
)
def test_the_share_of_the_requests_that_is_copied(fraction, share):
    mirror = {"cluster": cluster("v3"), "runtime_fraction": fraction}
    held = snapshot({**weighted(v1=75, v2=25), "request_mirror_policies": [mirror]})
    assert reviews_copies(held) == {"v3": share}
    assert reviews_weights(held) == {"v1": 0.75, "v2": 0.25}


def test_without_a_mirror_nobody_gets_copies():
    assert reviews_copies(snapshot(weighted(v1=75, v2=25))) == {}
    assert reviews_copies(Snapshot("productpage", "default", {"routes": {}}, {}, ())) == {}
