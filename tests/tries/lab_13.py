"""Tries at the exercises of lab 13."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, ours, remedies

_CLIENT = (remedies("13", 0)[0], *remedies("13", 1))
_BOOKS = (*_CLIENT, ours("13-books"), "kubectl wait --for=jsonpath='{.status.addresses[0].value}' "
          "serviceentry/books --timeout=30s")  # fmt: skip
_ENDPOINT = """'[{"op": "replace", "path": "/spec/endpoints/0/address", "value": "%s"}]'"""
_PATCH = "kubectl patch serviceentry books --type=json --patch "

TRIES = {
    "13.1": Tries(
        before=_CLIENT,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: ServiceEntry
                metadata:
                  name: stars
                spec:
                  hosts: [stars.internal]
                  ports:
                  - {name: http, number: 80, protocol: HTTP}
                  resolution: DNS
                  endpoints:
                  - address: ratings.default.svc.cluster.local
                """),
            "kubectl wait --for=jsonpath='{.status.addresses[0].value}' serviceentry/stars --timeout=30s",
        ),
        why="Name and address are right, but nothing leads from port 80 to 9080, and ratings has no port 80.",
        fails={"stars.internal has an automatic address": r"from sidecar; GET /ratings/0: [45]\d\d"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: ServiceEntry
                metadata:
                  name: stars
                spec:
                  hosts: [stars.internal]
                  ports:
                  - {name: http, number: 80, targetPort: 9080, protocol: HTTP}
                  resolution: DNS
                  endpoints:
                  - address: ratings.default.svc.cluster.local
                """),
        ),
    ),
    "13.2": Tries(
        before=_BOOKS,
        wrong=(_PATCH + _ENDPOINT % "details.dns-on.svc.cluster.local",),
        why="The name is spelt rightly, but details runs in default, not where the client does.",
        fails={"books.internal has an automatic address": "GET /details/0: 503"},
        right=(_PATCH + _ENDPOINT % "details.default.svc.cluster.local",),
    ),
    "13.3": Tries(
        before=_BOOKS,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: books
                spec:
                  hosts: [books.internal]
                  http:
                  - route:
                    - destination: {host: books.internal, port: {number: 80}}
                  - match:
                    - uri: {prefix: /ratings}
                    route:
                    - destination: {host: ratings.default.svc.cluster.local, port: {number: 9080}}
                """),
        ),
        why="The first route has no condition, so the second one is never reached.",
        fails={"books.internal/ratings/0 has the ratings": "ratings/0: 404"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: books
                spec:
                  hosts: [books.internal]
                  http:
                  - match:
                    - uri: {regex: /ratings/.*}
                    route:
                    - destination: {host: ratings, port: {number: 9080}}
                  - match:
                    - uri: {prefix: /}
                    route:
                    - destination: {host: details, port: {number: 9080}}
                """),
        ),
    ),
}
