"""Tries at the exercises of lab 31."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT, apply, ours

_PRINCIPAL = """'[{"op": "replace", "path": "/spec/rules/0/from/0/source/principals", "value": ["%s"]}]'"""

TRIES = {
    "31.1": Tries(
        wrong=(
            apply("""
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata:
                  name: details
                spec:
                  selector:
                    matchLabels: {app: details}
                  mtls: {mode: STRICT}
                  portLevelMtls:
                    9080: {mode: PERMISSIVE}
                """),
        ),
        why="The page is whole, and the rule says STRICT, but the only port that anybody calls takes plain text.",
        fails={"plain text is refused": "details at port 9080: PERMISSIVE"},
        right=(
            "kubectl delete peerauthentication details",
            "kubectl patch destinationrule details --type=merge "
            """--patch '{"spec": {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}'""",
        ),
    ),
    "31.2": Tries(
        before=CLIENT,
        wrong=("kubectl patch authorizationpolicy ratings --type=json --patch " + _PRINCIPAL % "bookinfo-reviews",),
        why="The account is right, but a principal is more than its account's name.",
        fails={"twelve pages have their stars": "Ratings service is currently unavailable"},
        right=(
            "kubectl patch authorizationpolicy ratings --type=json --patch " + _PRINCIPAL % "*/sa/bookinfo-reviews",
        ),
    ),
    "31.3": Tries(
        wrong=(
            "kubectl patch deployment patient --type=json "
            """--patch '[{"op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe"}]'""",
            "kubectl rollout status deployment/patient --timeout=120s",
        ),
        why="The pod counts as ready because nobody asks it any more.",
        fails={"patient is ready": "1 of 1 pods of patient are ready, and no probe asks them"},
        right=(ours("31-patient"), "kubectl rollout status deployment/patient --timeout=120s"),
    ),
    "31.4": Tries(
        before=CLIENT,
        wrong=(
            """kubectl patch service patient --patch '{"spec": {"ports": [{"port": 8080, "name": "tcp-patient"}]}}'""",
        ),
        why="That is the other Service's port, and its listener is for the Service's own address alone.",
        fails={"patient answers at its pod's address": "address: 503"},
        right=(
            """kubectl patch service peers --patch '{"spec": {"ports": [{"port": 8080, "appProtocol": "tcp"}]}}'""",
        ),
    ),
    "31.5": Tries(
        wrong=("kubectl label pod --selector app=productpage sidecar.istio.io/inject=true --overwrite",),
        why="A pod is injected as it is made, and the template still makes pods with the other label.",
        fails={"three pages are complete": "currently unavailable", "has a sidecar": "^0 of"},
        right=(
            """old=$(kubectl get pods --selector app=productpage -o name)
kubectl patch deployment productpage-v1 \\
    --patch '{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}}}}'
kubectl rollout status deployment/productpage-v1 --timeout=120s
kubectl wait --for=delete $old --timeout=90s""",
        ),
    ),
}
