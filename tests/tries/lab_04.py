"""Tries at the exercises of lab 04."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT

_LABEL = "kubectl label namespace default istio-injection=enabled --overwrite"
_APART = (
    "kubectl create namespace apart",
    "kubectl label namespace apart istio-injection=enabled",
    "kubectl apply --namespace apart -f samples/httpbin/httpbin.yaml",
    "kubectl rollout status deployment/httpbin --namespace apart --timeout=120s",
)

TRIES = {
    "04.1": Tries(
        before=(_LABEL,),
        wrong=(
            "kubectl label namespace default istio-injection=disabled --overwrite",
            "kubectl apply -f samples/httpbin/httpbin.yaml",
            "kubectl rollout status deployment/httpbin --timeout=120s",
        ),
        why="httpbin has no sidecar, but neither has any pod that is made in the namespace from now on.",
        fails={"httpbin runs without a sidecar": "containers of httpbin: httpbin; istio-injection on default: not set"},
        right=(
            _LABEL,
            # the annotation is older than the label, and the webhook is called for the namespace's sake
            """kubectl patch deployment httpbin --patch """
            """'{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}}}}'""",
            "kubectl rollout status deployment/httpbin --timeout=120s",
        ),
    ),
    "04.2": Tries(
        before=(_LABEL, *CLIENT),
        wrong=("kubectl label namespace default istio.io/rev- istio-injection=enabled --overwrite",),
        why="The namespace asks for sidecars again, but nobody made the pod again.",
        fails={"the curl pod has a sidecar": "containers of curl: curl$"},
        right=(
            "kubectl label namespace default istio-injection- istio.io/rev=default --overwrite",
            "kubectl delete pod --selector app=curl",
            "kubectl rollout status deployment/curl --timeout=120s",
        ),
    ),
    "04.3": Tries(
        wrong=_APART,
        why="httpbin has a sidecar because its namespace asks for sidecars now, for every pod.",
        fails={"httpbin has a sidecar": "apart asks for sidecars"},
        right=(
            "kubectl label namespace apart istio-injection-",
            "istioctl kube-inject -f samples/httpbin/httpbin.yaml | kubectl apply --namespace apart -f -",
            "kubectl rollout status deployment/httpbin --namespace apart --timeout=120s",
        ),
    ),
}
