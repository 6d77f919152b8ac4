"""Tries at the exercises of lab 07."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, remedies

_ALL_TO_V3 = remedies("07", 0)

TRIES = {
    "07.1": Tries(
        before=_ALL_TO_V3,
        wrong=(
            "kubectl patch destinationrule reviews --type=merge "
            """--patch '{"spec": {"trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "0.5s"}}}}}'""",
        ),
        why="A connection is open within milliseconds; what takes long is the answer, which this does not limit.",
        fails={"waits half a second": "productpage's Envoy: 0 s"},
        right=(
            "kubectl patch virtualservice reviews --type=json "
            """--patch '[{"op": "add", "path": "/spec/http/0/timeout", "value": "500ms"}]'""",
        ),
    ),
    "07.2": Tries(
        before=_ALL_TO_V3,
        wrong=(
            "kubectl patch destinationrule reviews --type=json "
            """--patch '[{"op": "add", "path": "/spec/subsets/-", "value": """
            """{"name": "v4", "labels": {"version": "v4"}}}]'""",
        ),
        why="Now there is a subset v4, but no pod has its label.",
        fails={"all reviews come from version 3": "^0 of 10 pages"},
        right=(
            "kubectl patch virtualservice reviews --type=json "
            """--patch '[{"op": "replace", "path": "/spec/http/0/route/0/destination/subset", "value": "v3"}]'""",
        ),
    ),
    "07.3": Tries(
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
                    - headers: {user: {exact: jason}}
                    timeout: 2s
                    route:
                    - destination: {host: reviews, subset: v3}
                  - timeout: 0.5s
                    route:
                    - destination: {host: reviews, subset: v3}
                """),
        ),
        why="Both routes are there, and in their order, but no request has a header called user.",
        fails={"two seconds for jason's reviews": "2 s, then 0.5 s: 0.5 s for jason, 0.5 s for others"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: reviews
                spec:
                  hosts: [reviews]
                  http:
                  - match:
                    - withoutHeaders: {end-user: {exact: jason}}
                    timeout: 0.5s
                    route:
                    - destination: {host: reviews, subset: v3}
                  - timeout: 2s
                    route:
                    - destination: {host: reviews, subset: v3}
                """),
        ),
    ),
}
