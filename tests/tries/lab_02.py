"""Tries at the exercise of lab 02."""

from __future__ import annotations

from tries import Tries

TRIES = {
    "02.1": Tries(
        wrong=(
            "kubectl create namespace samples",
            "kubectl create deployment httpbin --namespace samples --image=httpbin",
        ),
        why="There is a Deployment httpbin, but its image was guessed, and the sample's has another name.",
        fails={"httpbin is available": "httpbin: 0 available"},
        right=(
            "kubectl delete deployment httpbin --namespace samples",  # its selector cannot be changed
            "kubectl apply --namespace samples -f samples/httpbin/httpbin-nodeport.yaml",
            "kubectl rollout status deployment/httpbin --namespace samples --timeout=120s",
        ),
    ),
}
