"""Tries at the exercises of lab 24."""

from __future__ import annotations

from functools import partial

from labkit.course import labs
from labkit.mesh import bookinfo, certificates
from tries import Tries
from tries.steps import remedies

_AUTHORITY = remedies("24", 0)
_SECOND = labs.exercise("24.1").solution[0]
_ISTIOD = (
    "kubectl rollout restart deployment/istiod -n istio-system",
    "kubectl rollout status deployment/istiod -n istio-system --timeout=120s",
)
_OF_SECOND = "kubectl create secret generic cacerts --from-file=authority/second"
_GATEWAYS = ("istio-ingressgateway", "istio-egressgateway")


def _restarted(namespace: str, *names: str) -> tuple[str, ...]:
    each = " ".join(f"deployment/{name}" for name in names)
    done = f"for each in {each}; do kubectl rollout status $each -n {namespace} --timeout=180s; done"
    return (f"kubectl rollout restart {each} -n {namespace}", done)


TRIES = {
    "24.1": Tries(
        before=_AUTHORITY,
        wrong=(_SECOND, _OF_SECOND, *_ISTIOD),
        why="The Secret has the right name and the right files, but in default, where istiod does not look.",
        fails={"signed by `second`": "L=mesh"},
        right=(
            f"{_OF_SECOND} -n istio-system --dry-run=client -o yaml | kubectl replace -f -",
            "kubectl label secret cacerts -n istio-system app.kubernetes.io/part-of=istio-lab",
            *_ISTIOD,
            partial(certificates.wait_until_renewed, ["deploy/asker", "deploy/vault"]),
        ),
    ),
    "24.2": Tries(
        before=_AUTHORITY,
        wrong=("kubectl rollout undo deployment/istiod -n istio-system",),
        why="The rollout is called off, so the old pod goes on with what it read long ago; the next start fails again.",
        fails={"istiod has started with the Secret": "1 pods of istiod, 0 started since"},
        right=(
            """kubectl create secret generic cacerts -n istio-system --from-file=authority/mesh \\
    --dry-run=client -o yaml | kubectl replace --force -f -""",
            "kubectl label secret cacerts -n istio-system app.kubernetes.io/part-of=istio-lab",
            *_ISTIOD,
        ),
    ),
    "24.3": Tries(
        before=(*_AUTHORITY, *_restarted("default", "archive")),
        wrong=_restarted("default", *bookinfo.DEPLOYMENTS),
        why="All of Bookinfo has come along, but both gateways stayed behind, and one of them opens the page.",
        fails={
            "every proxy's certificate leads to your root": "2 do not: istio-egressgateway.*istio-ingressgateway",
            "the page has its reviews": "status 503|no answer",
        },
        right=_restarted("istio-system", *_GATEWAYS),
    ),
}
