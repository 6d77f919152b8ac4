"""Tries at the exercise of lab 01."""

from __future__ import annotations

from tries import Tries

_DETAILS = "kubectl apply --namespace without-mesh -f samples/bookinfo/platform/kube/bookinfo.yaml --selector"
_IMAGE = "$(sed -n 's/^ *image: //p' samples/curl/curl.yaml)"

TRIES = {
    "01.1": Tries(
        before=(
            "kubectl create namespace without-mesh",
            f"{_DETAILS} account=details",
            f"{_DETAILS} app=details",
            "kubectl wait --namespace without-mesh --for=condition=available deployment/details-v1 --timeout=120s",
        ),
        wrong=(
            "kubectl create namespace stranger",
            "kubectl apply -f samples/curl/curl.yaml",
            "kubectl rollout status deployment/curl --timeout=120s",
        ),
        why="The namespace is there, but the client was applied without naming it, and runs in default.",
        fails={"details serves a pod": "no ready curl pod in namespace stranger"},
        right=(
            f'kubectl create deployment curl --namespace stranger --image="{_IMAGE}" -- /bin/sleep infinity',
            "kubectl rollout status deployment/curl --namespace stranger --timeout=120s",
        ),
    ),
}
