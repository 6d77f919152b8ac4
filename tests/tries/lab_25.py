"""Tries at the exercises of lab 25."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, gateway_api, remedies

_NAMES = (gateway_api, *remedies("25", 0)[1:], *remedies("25", 1))
_STOCK = (*_NAMES, *remedies("25", 3))

TRIES = {
    "25.1": Tries(
        before=(*_NAMES, *remedies("25", 5)),
        wrong=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: shop
                spec:
                  parentRefs:
                  - {name: edge, sectionName: api}
                  hostnames: [api.example.com]
                  rules:
                  - matches:
                    - path: {type: PathPrefix, value: /details}
                    filters:
                    - type: CORS
                      cors:
                        allowOrigins: ["https://shop.example.com"]
                        allowMethods: [PUT]
                        allowHeaders: [x-page]
                    backendRefs:
                    - {name: details, port: 9080}
                """),
        ),
        why="The shop has a route of its own, but of two that match the same, the older one counts.",
        fails={"a script of the shop may send PUT": "origin none"},
        right=(  # a route that matches more closely goes before one that is older
            "kubectl patch httproute shop --type=json --patch "
            """'[{"op": "add", "path": "/spec/rules/0/matches/0/headers", """
            """"value": [{"name": "origin", "value": "https://shop.example.com"}]}]'""",
        ),
    ),
    "25.2": Tries(
        before=_STOCK,
        wrong=(
            apply("""
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata:
                  name: stock-to-partners
                spec:
                  parentRefs:
                  - {name: edge, port: 8443}
                  hostnames: [api.example.com]
                  rules:
                  - matches:
                    - path: {type: PathPrefix, value: /debug}
                    backendRefs:
                    - {name: stock, port: 443}
                """),
        ),
        why="Partners have a route of their own, but the one before still leads everybody there.",
        fails={"on port 443 there is no such path": "anybody on port 443: 200"},
        right=("kubectl delete httproute stock",),
    ),
    "25.3": Tries(
        before=(*_STOCK, *remedies("25", 4)),
        wrong=(
            "kubectl patch tlsroute stock --type=json --patch "
            """'[{"op": "replace", "path": "/spec/rules/0/backendRefs/0/port", "value": 443}]'""",
        ),
        why="The policy holds for all ports of the Service, so the other port has the gateway's TLS around it as well.",
        fails={"stock answers by its own name": r"no answer \(exit status 35\)"},
        right=(  # the policy is for one Service, and the bytes pass through to another
            "kubectl create service clusterip stock-itself --tcp=8443",
            """kubectl set selector service stock-itself app=stock""",
            "kubectl patch tlsroute stock --type=json --patch "
            """'[{"op": "replace", "path": "/spec/rules/0/backendRefs/0", """
            """"value": {"name": "stock-itself", "port": 8443}}]'""",
        ),
    ),
}
