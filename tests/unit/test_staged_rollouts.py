"""How lab 10 reads the shares of versions out of Envoy's routes."""

from __future__ import annotations

import pytest

from labkit.course.labs.lab_10_staged_rollouts import reviews_weights
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
