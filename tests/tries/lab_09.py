"""Tries at the exercises of lab 09."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT, apply

_IMAGE = "$(sed -n 's/^ *image: //p' samples/curl/curl.yaml)"

TRIES = {
    "09.1": Tries(
        before=CLIENT,
        wrong=(
            """kubectl patch deployment curl --patch """
            """'{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}'""",
            "kubectl rollout status deployment/curl --timeout=120s",
            "kubectl exec deploy/curl -c curl -- curl --silent http://details:9080/details/0",
        ),
        why="That is a caller without a sidecar, but it was the mesh's own client, and there is no namespace legacy.",
        fails={
            "a curl pod in namespace legacy": "0 ready",
            "counted as plain text": "no ready curl pod in namespace legacy",
        },
        right=(
            "kubectl create namespace legacy",
            "kubectl label namespace legacy istio-injection=disabled",
            f'kubectl create deployment curl --namespace legacy --image="{_IMAGE}" -- /bin/sleep infinity',
            "kubectl rollout status deployment/curl --namespace legacy --timeout=120s",
        ),
    ),
    "09.2": Tries(
        wrong=("kubectl scale deployment/reviews-v2 --replicas=2",),
        why="A second pod would help one that has too much to do; these wait for a rule.",
        fails={"of each version half within half a second": r"reviews of v1, v2, v3; .* took 1\d\d\d ms"},
        right=(
            "kubectl scale deployment/reviews-v2 --replicas=1",
            "kubectl patch virtualservice ratings --type=json "
            """--patch '[{"op": "remove", "path": "/spec/http/0/fault"}]'""",
        ),
    ),
    "09.3": Tries(
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings
                spec:
                  hosts: [ratings]
                  http:
                  - fault:
                      delay: {fixedDelay: 0.1s, percentage: {value: 50}}
                    route:
                    - destination: {host: ratings}
                """),
        ),
        why="Half of all calls meet the fault, but it delays them, and they are answered all the same.",
        fails={"one half may have failed": "^0 of"},
        right=(  # no fault at all: half of them are led where nobody is
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: ratings
                spec:
                  host: ratings
                  subsets:
                  - {name: somebody, labels: {version: v1}}
                  - {name: nobody, labels: {version: v0}}
                ---
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings
                spec:
                  hosts: [ratings]
                  http:
                  - route:
                    - destination: {host: ratings, subset: somebody}
                      weight: 50
                    - destination: {host: ratings, subset: nobody}
                      weight: 50
                """),
        ),
    ),
}
