"""Tries at the exercises of lab 30."""

from __future__ import annotations

from tries import Tries

_SUBSET = """'[{"op": "replace", "path": "/spec/http/0/route/0/destination/subset", "value": "%s"}]'"""
_HOST = """'[{"op": "add", "path": "/spec/egress/0/hosts/-", "value": "%s"}]'"""

TRIES = {
    "30.1": Tries(
        wrong=(
            """kubectl patch service reviews --patch '{"spec": {"ports": [{"port": 9080, "name": "tcp-http"}]}}'""",
        ),
        why="Istio reads a port's name up to the first dash, so this one is TCP still.",
        fails={"reviews of version 3 alone": "not all of 12"},
        right=(
            """kubectl patch service reviews --patch '{"spec": {"ports": [{"port": 9080, "appProtocol": "http"}]}}'""",
        ),
    ),
    "30.2": Tries(
        wrong=("kubectl patch virtualservice reviews --type=json --patch " + _SUBSET % "v1",),
        why="Version 1 asks nobody for ratings, so no page complains, and none has stars.",
        fails={"twelve pages have their stars": "no page of 12 has stars"},
        right=(
            "kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",
            "kubectl patch virtualservice ratings --type=json --patch " + _SUBSET % "v1",
        ),
    ),
    "30.3": Tries(
        wrong=("""kubectl patch virtualservice shop --type=merge --patch '{"spec": {"hosts": ["*"]}}'""",),
        why="The route takes any host now, but no gateway has it, whatever its host.",
        fails={"shop.example.com answers": "shop.example.com: 404"},
        right=(  # the Gateway that is there already takes any host
            "kubectl patch virtualservice shop --type=merge "
            """--patch '{"spec": {"hosts": ["shop.example.com"], "gateways": ["bookinfo-gateway"]}}'""",
        ),
    ),
    "30.4": Tries(
        wrong=(
            "kubectl patch virtualservice reviews-v2 --type=merge "
            """--patch '{"spec": {"hosts": ["reviews.default.svc.cluster.local"]}}'""",
        ),
        why="The host has another spelling now, but it is the same host, and the older rule's.",
        fails={"reviews of version 2 alone": "not all of 12"},
        right=("kubectl patch virtualservice reviews --type=json --patch " + _SUBSET % "v2",),
    ),
    "30.5": Tries(
        wrong=("kubectl patch sidecar productpage --type=json --patch " + _HOST % "./reviews.default",),
        why="Hosts are compared as they are written out, to the end, and that of reviews does not end there.",
        fails={"the page has its reviews": "currently unavailable", "Envoy knows reviews": "has clusters of"},
        right=("kubectl patch sidecar productpage --type=json --patch " + _HOST % "./*",),
    ),
}
