"""Tries at the exercises of lab 20."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, gateway_api

_VERSIONS = (gateway_api, "kubectl apply -f samples/bookinfo/platform/kube/bookinfo-versions.yaml")

TRIES = {
    "20.1": Tries(
        before=_VERSIONS,
        wrong=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: reviews
                spec:
                  parentRefs:
                  - {group: "", kind: Service, name: reviews, port: 9080}
                  rules:
                  - matches:
                    - headers:
                      - {name: user, value: jason}
                    backendRefs:
                    - {name: reviews-v2, port: 9080}
                  - backendRefs:
                    - {name: reviews-v1, port: 9080}
                """),
        ),
        why="No request has a header called user, so jason gets what everybody gets.",
        fails={"jason sees v2 alone": "jason: v1; anybody: v1"},
        right=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: reviews
                spec:
                  parentRefs:
                  - {group: "", kind: Service, name: reviews}
                  rules:
                  - backendRefs:
                    - {name: reviews-v1, port: 9080}
                  - matches:
                    - headers:
                      - {name: end-user, value: "ja.*", type: RegularExpression}
                    backendRefs:
                    - {name: reviews-v2, port: 9080}
                """),
        ),
    ),
    "20.2": Tries(
        before=_VERSIONS,
        wrong=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: reviews
                spec:
                  parentRefs:
                  - {group: "", kind: Service, name: reviews, port: 9080}
                  rules:
                  - matches:
                    - headers:
                      - {name: end-user, value: jason}
                    backendRefs:
                    - {name: reviews-v3, port: 9080}
                  - backendRefs:
                    - {name: reviews-v1, port: 9080}
                    - {name: reviews-v2, port: 9080, weight: 50}
                """),
        ),
        why="A weight that nobody says is 1 and not the rest, so version 2 has 50 parts of 51.",
        fails={"v2's share may be one half": "40 pages have reviews of .*v2"},
        right=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: reviews
                spec:
                  parentRefs:
                  - {group: "", kind: Service, name: reviews, port: 9080}
                  rules:
                  - backendRefs:
                    - {name: reviews-v1, port: 9080}
                    - {name: reviews-v2, port: 9080}
                  - matches:
                    - headers:
                      - {name: end-user, value: jason}
                    backendRefs:
                    - {name: reviews-v3, port: 9080}
                """),
        ),
    ),
    "20.3": Tries(
        before=(gateway_api,),
        wrong=(
            apply("""
                apiVersion: v1
                kind: Service
                metadata:
                  name: reviews-v4
                spec:
                  selector: {app: reviews, version: v4}
                  ports:
                  - {name: http, port: 9080}
                """),
        ),
        why="The route leads to a Service now, but no pod is behind it.",
        fails={"the page has its reviews": "reviews are currently unavailable"},
        right=("kubectl delete httproute reviews",),
    ),
}
