"""Tries at the exercises of lab 21."""

from __future__ import annotations

from tries import Tries
from tries.steps import ALL_RESTARTED, remedies

_CANARY = (*remedies("21", 0), "istioctl tag set prod --revision canary --overwrite")
_BY_TAG = "kubectl label namespace default istio-injection- istio.io/rev=prod --overwrite"

TRIES = {
    "21.1": Tries(
        before=_CANARY,
        wrong=(
            "kubectl create namespace next",
            "kubectl label namespace next istio.io/rev=canary",
            "kubectl apply --namespace next -f samples/curl/curl.yaml",
            "kubectl rollout status deployment/curl --namespace next --timeout=120s",
        ),
        why="The new control plane serves curl, but by its own name, so a tag that moves will not move this namespace.",
        fails={"next names the tag": "next names canary; curl: canary"},
        right=("kubectl label namespace next istio.io/rev=prod --overwrite",),
    ),
    "21.2": Tries(
        before=(*_CANARY, _BY_TAG, *ALL_RESTARTED),
        wrong=(*ALL_RESTARTED, "istioctl tag set prod --revision default --overwrite"),
        why="Both halves are there, but in the wrong order: the pods were made while the tag was still the canary's.",
        fails={"the old control plane serves all": "6 by canary"},
        right=ALL_RESTARTED,
    ),
    "21.3": Tries(
        before=_CANARY,
        wrong=(
            "kubectl label namespace default istio.io/rev=prod --overwrite",
            "kubectl rollout restart deployment/details-v1",
            "kubectl rollout status deployment/details-v1 --timeout=120s",
        ),
        why="The tag is as good as the revision's name, but the older label beats either.",
        fails={"the new control plane serves all": "6 by default"},
        right=("kubectl label namespace default istio-injection-", *ALL_RESTARTED),
    ),
}
