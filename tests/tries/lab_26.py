"""Tries at the exercises of lab 26."""

from __future__ import annotations

from tries import Tries
from tries.steps import ours, remedies

_SHOP = remedies("26", 0, 1)
_ISTIOD = "istiod-helm manifests/charts/istio-control/istio-discovery -n istio-system"
_GATEWAY = "shop-gateway manifests/charts/gateway -n shop"

TRIES = {
    "26.1": Tries(
        before=_SHOP,
        wrong=(
            "kubectl scale deployment shop-gateway -n shop --replicas=2",
            "kubectl rollout status deployment/shop-gateway -n shop --timeout=120s",
        ),
        why="There are two pods, but Helm knows of one.",
        fails={"the gateway has two pods": "pods available: 2; by Helm's values: 1"},
        right=(f"helm upgrade {_GATEWAY} --reuse-values --set replicaCount=2 --wait",),
    ),
    "26.2": Tries(
        before=_SHOP,
        wrong=(
            f"""helm template {_ISTIOD} -s templates/revision-tags-mwc.yaml \\
    --set revision=helm --set 'revisionTags={{stable}}' | kubectl apply -f -""",
            "kubectl label namespace shop istio.io/rev=stable --overwrite",
        ),
        why="Helm has rendered the tag, and kubectl has applied it, so the release knows nothing of it.",
        fails={"Helm's release keeps the tag": "stable leads to helm; istiod-helm keeps no tag"},
        right=(  # nothing to take over, and nothing to force
            "istioctl tag remove stable --skip-confirmation",
            f"helm upgrade {_ISTIOD} --reuse-values --set 'revisionTags[0]=stable' --wait",
        ),
    ),
    "26.3": Tries(
        before=(*_SHOP, ours("26-visitor"), "kubectl rollout status deployment/visitor -n outside --timeout=120s"),
        wrong=("""kubectl patch service shop-gateway -n shop --patch '{"spec": {"selector": {"istio": null}}}'""",),
        why="The visitor is answered, but the Service selects by less than the chart says.",
        fails={"selects the pods that the chart says": "the Service selects app=shop-gateway; release: deployed"},
        right=(  # where the value is what Helm wants, there is no conflict: it need not force
            "kubectl set selector service shop-gateway -n shop app=shop-gateway,istio=shop-gateway",
            f"helm upgrade {_GATEWAY} --reuse-values --wait",
        ),
    ),
}
