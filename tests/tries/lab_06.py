"""Tries at the exercises of lab 06."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, ours, remedies

_GATEWAY = remedies("06", 0)
_ROUTE = '{"match": [{"uri": {"prefix": "/ratings"}}], "route": [{"destination": {"host": "ratings"}}]}'

TRIES = {
    "06.1": Tries(
        before=_GATEWAY,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings-outside
                spec:
                  hosts: [ratings]
                  gateways: [bookinfo-gateway]
                  http:
                  - match:
                    - uri: {prefix: /ratings}
                    route:
                    - destination: {host: ratings, port: {number: 9080}}
                """),
        ),
        why="The Gateway is named, but the host is the one that callers inside ask for.",
        fails={"ratings answer from outside": "GET /ratings/0: 404"},
        right=(
            "kubectl patch virtualservice bookinfo --type=json "
            f"""--patch '[{{"op": "add", "path": "/spec/http/-", "value": {_ROUTE}}}]'""",
        ),
    ),
    "06.2": Tries(
        before=_GATEWAY,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: Gateway
                metadata:
                  name: open
                spec:
                  selector:
                    istio: ingressgateway
                  servers:
                  - port: {number: 8080, name: http-open, protocol: HTTP}
                    hosts: ["*"]
                """),
        ),
        why="A second Gateway takes requests for any host, but no route is bound to it.",
        fails={"the page opens from outside": ": 404"},
        right=(
            "kubectl patch virtualservice bookinfo --type=merge "
            """--patch '{"spec": {"gateways": ["bookinfo-gateway", "open"]}}'""",
        ),
    ),
    "06.3": Tries(
        before=(*_GATEWAY, ours("06-ratings-outside")),
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings-outside
                spec:
                  hosts: ["*"]
                  gateways: [bookinfo-gateway]
                  http:
                  - match:
                    - uri: {prefix: /api/stars/}
                    - uri: {prefix: /ratings/}
                    rewrite: {uri: /ratings/}
                    route:
                    - destination: {host: ratings, port: {number: 9080}}
                """),
        ),
        why="The new address is open, but the old one is still open beside it.",
        fails={"/ratings/0 is closed": "GET /ratings/0: 200"},
        right=(
            apply(r"""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings-outside
                spec:
                  hosts: ["*"]
                  gateways: [bookinfo-gateway]
                  http:
                  - match:
                    - uri: {regex: /api/stars/\d+}
                    rewrite: {uriRegexRewrite: {match: ^/api/stars/(.*)$, rewrite: /ratings/\1}}
                    route:
                    - destination: {host: ratings, port: {number: 9080}}
                """),
        ),
    ),
}
