"""Tries at the exercises of lab 99."""

from __future__ import annotations

from tries import Tries
from tries.steps import ours, remedies

_CLEAN = remedies("99", 0, 1, 3)

TRIES = {
    "99.1": Tries(
        before=(*_CLEAN, ours("99-forgotten")),
        wrong=("kubectl delete persistentvolumeclaims --all --all-namespaces",),
        why="A claim is what a pod makes on a volume, and there was none; the volume itself has another name.",
        fails={"nothing that a fresh one has not": "^1 object "},
        right=("kubectl delete pv --all",),
    ),
    "99.2": Tries(
        before=_CLEAN,
        wrong=("kubectl delete validatingwebhookconfigurations --all",),
        why="It is a webhook that stands in the way, but one that changes what it is asked about.",
        fails={"a pod can be made": "injector.example.com", "nothing that a fresh one has not": "^1 object "},
        right=("kubectl delete mutatingwebhookconfigurations --selector app.kubernetes.io/part-of=istio-lab",),
    ),
    "99.3": Tries(
        before=(*_CLEAN, ours("99-old-shop")),
        wrong=(
            "kubectl delete clusterrole,clusterrolebinding old-shop",
            "kubectl delete serviceaccount clerk --namespace old-shop",
        ),
        why="All that was in the namespace is gone, and the namespace itself is still there.",
        fails={"nothing that a fresh one has not": "^1 object "},
        right=('kubectl delete -f "$LABKIT_MANIFESTS/99-old-shop.yaml" --ignore-not-found',),
    ),
}
