"""Tries at the exercises of lab 29."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, gateway_api, ours, remedies

_AMBIENT = remedies("29", 0)
_WAYPOINT = (
    *_AMBIENT,
    gateway_api,
    "kubectl wait --for=create gatewayclass/istio-waypoint --timeout=60s",
    "istioctl waypoint apply --namespace default --wait",
)
_REVIEWS = (*_WAYPOINT, *remedies("29", 3))
_DETAILS = (
    *_WAYPOINT,
    "kubectl label service details istio.io/use-waypoint=waypoint --overwrite",
    ours("29-details"),
)
_ROUTE = "sed '/^---/,$d' \"$LABKIT_MANIFESTS/29-jason.yaml\" | kubectl apply -f -"


def _policy(name: str, spec: str) -> str:
    return apply(
        f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: {name}\nspec:\n{spec}"
    )


TRIES = {
    "29.1": Tries(
        before=_AMBIENT,
        wrong=(
            _policy(
                "productpage",
                "  selector:\n    matchLabels: {app: productpage}\n  action: DENY\n  rules:\n  - from:\n"
                "    - source: {principals: [cluster.local/ns/default/sa/curl]}",
            ),
        ),
        why="Curl is kept out, and nobody else is.",
        fails={"nobody else": "ratings: 200"},
        right=(
            _policy(
                "productpage",
                "  selector:\n    matchLabels: {app: productpage}\n  action: DENY\n  rules:\n  - from:\n    - source:\n"
                "        notPrincipals: [cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account]",
            ),
        ),
    ),
    "29.2": Tries(
        before=_REVIEWS,
        wrong=(
            _ROUTE,
            _policy(
                "reviews",
                '  targetRefs:\n  - {group: "", kind: Service, name: reviews}\n  rules:\n  - to:\n'
                "    - operation: {methods: [GET]}",
            ),
        ),
        why="The waypoint sees to the method, and admits everybody.",
        fails={"reviews answers productpage": "curl: 200"},
        right=(
            _ROUTE,
            _policy(
                "reviews",
                '  targetRefs:\n  - {group: "", kind: Service, name: reviews}\n  action: DENY\n  rules:\n'
                "  - from:\n    - source: {notPrincipals: [cluster.local/ns/default/sa/bookinfo-productpage]}\n"
                "  - to:\n    - operation: {notMethods: [GET]}",
            ),
        ),
    ),
    "29.3": Tries(
        before=_DETAILS,
        wrong=("kubectl label service details istio.io/use-waypoint-",),
        why="A Service that asks for no waypoint has none, and nobody reads its policy.",
        fails={"curl may GET": "POST: (?!403)"},
        right=(
            "kubectl label service details istio.io/use-waypoint-",
            "kubectl label namespace default istio.io/use-waypoint=waypoint",
        ),
    ),
}
