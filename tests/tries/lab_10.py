"""Tries at the exercises of lab 10."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, ours, remedies

_ALL_TO_V3 = remedies("10", 0, 1)

TRIES = {
    "10.1": Tries(
        before=_ALL_TO_V3,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: reviews
                spec:
                  hosts: [reviews]
                  http:
                  - match:
                    - headers: {end-user: {exact: jason}}
                    route:
                    - destination: {host: reviews, subset: v3}
                  - route:
                    - destination: {host: reviews, subset: v1}
                      weight: 75
                    - destination: {host: reviews, subset: v2}
                      weight: 25
                """),
        ),
        why="The task says all requests, but jason's have a route of their own, and stay with version 3.",
        fails={"Envoy sends 75 %": "another route sends 100% to v3"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: reviews
                spec:
                  hosts: [reviews]
                  http:
                  - route:
                    - destination: {host: reviews, subset: v2}
                      weight: 1
                    - destination: {host: reviews, subset: v1}
                      weight: 3
                """),
        ),
    ),
    "10.2": Tries(
        before=(*_ALL_TO_V3, ours("10-canary")),
        wrong=(
            "kubectl scale deployment/reviews-v3 --replicas=0",
            "kubectl wait --for=delete pod --selector app=reviews,version=v3 --timeout=90s",
        ),
        why="No page has red stars now, but the canary's share still goes to version 3's pods, and there are none.",
        fails={"reviews of v1 and v2 alone": "reviews of , v1"},
        right=(
            "kubectl patch destinationrule reviews --type=json "
            """--patch '[{"op": "replace", "path": "/spec/subsets/1/labels/version", "value": "v2"}]'""",
        ),
    ),
    "10.3": Tries(
        before=(*_ALL_TO_V3, ours("10-canary")),
        wrong=(
            "kubectl patch virtualservice reviews --type=json "
            """--patch '[{"op": "add", "path": "/spec/http/0/mirror", "value": """
            """{"host": "reviews", "subset": "v3"}}, """
            """{"op": "add", "path": "/spec/http/0/mirrorPercentage", "value": {"value": 1}}]'""",
        ),
        why="The percentage is in percent: 1 is one request in a hundred, and not each.",
        fails={"v3 gets a copy of each": "copies go to v3, 1% of them"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: reviews
                spec:
                  hosts: [reviews]
                  http:
                  - route:
                    - destination: {host: reviews, subset: v1}
                      weight: 75
                    - destination: {host: reviews, subset: v2}
                      weight: 25
                    mirrors:
                    - destination: {host: reviews, subset: v3}
                """),
        ),
    ),
}
