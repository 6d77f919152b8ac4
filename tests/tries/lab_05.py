"""Tries at the exercises of lab 05."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT

_BOOKINFO = "samples/bookinfo/platform/kube/bookinfo.yaml"
_AVAILABLE = "kubectl wait --for=condition=available deployment --all --timeout=180s"
_OF = "kubectl get deployment {} -o jsonpath={{.spec.template.spec.containers[0].image}}"
_RATINGS, _VERSION_3 = (_OF.format(name) for name in ("ratings-v1", "reviews-v3"))

TRIES = {
    "05.1": Tries(
        before=(
            f"kubectl apply -f {_BOOKINFO} --selector account=ratings",
            f"kubectl apply -f {_BOOKINFO} --selector app=ratings",
            _AVAILABLE,
        ),
        wrong=(
            f'kubectl run ratings-two --image="$({_RATINGS})"',
            "kubectl wait --for=condition=ready pod/ratings-two --timeout=120s",
        ),
        why="A second pod runs the same image, but without the label by which the Service finds its pods.",
        fails={"two ready pods of ratings": "1 ready pods, 1 with a sidecar"},
        right=(
            """kubectl patch deployment ratings-v1 --patch '{"spec": {"replicas": 2}}'""",
            "kubectl rollout status deployment/ratings-v1 --timeout=120s",
        ),
    ),
    "05.2": Tries(
        before=(f"kubectl apply -f {_BOOKINFO}", *CLIENT, _AVAILABLE),
        wrong=(
            "kubectl scale deployment/reviews-v2 deployment/reviews-v3 --replicas=0",
            "kubectl wait --for=delete pod --selector 'app=reviews,version in (v2,v3)' --timeout=90s",
        ),
        why="No page complains any more, as nobody is left who asks for ratings; stars has no page either.",
        fails={"no page says that ratings are unavailable": "no page of 12 has stars"},
        right=(f"kubectl apply -f {_BOOKINFO}", _AVAILABLE),
    ),
    "05.3": Tries(
        before=(f"kubectl apply -f {_BOOKINFO}", _AVAILABLE),
        wrong=(
            f'kubectl set image deployment/reviews-v2 reviews="$({_VERSION_3})"',
            "kubectl rollout status deployment/reviews-v2 --timeout=120s",
        ),
        why="Two pods run version 3, but one of them is labelled as version 2, and rules go by labels.",
        fails={"one pod of version 1 and two of version 3": "v1: 1, v2: 1, v3: 1"},
        right=(
            "kubectl delete deployment reviews-v2",
            """kubectl patch deployment reviews-v3 --patch '{"spec": {"replicas": 2}}'""",
            "kubectl rollout status deployment/reviews-v3 --timeout=120s",
        ),
    ),
}
