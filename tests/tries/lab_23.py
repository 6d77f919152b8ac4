"""Tries at the exercises of lab 23."""

from __future__ import annotations

from functools import partial

from labkit.mesh import certificates
from tries import Tries
from tries.steps import apply, ours, remedies

_SHOP = remedies("23", 0)
_PARTNER = (
    "kubectl apply -f samples/curl/curl.yaml",
    "kubectl create namespace outside",
    partial(certificates.for_gateway, "partner.outside", "partner-certificate", namespace="outside"),
    ours("23-partner"),
    """kubectl get secret partner-certificate -n outside -o go-template='{{index .data "ca.crt" | base64decode}}' |
    kubectl create secret generic partner-authority -n istio-system --from-file=ca.crt=/dev/stdin""",
    "kubectl label secret partner-authority -n istio-system app.kubernetes.io/part-of=istio-lab",
    ours("23-known"),
    ours("23-way-out"),
    "kubectl wait --for=condition=ready pod/partner -n outside --timeout=120s",
    "kubectl rollout status deployment/curl --timeout=120s",
)

TRIES = {
    "23.1": Tries(
        before=_SHOP,
        wrong=(
            "kubectl patch destinationrule shop --type=merge --patch "
            """'{"spec": {"trafficPolicy": {"loadBalancer": {"localityLbSetting": {"distribute": [{"""
            """"from": "eu-west/a/*", "to": {"eu-west/a/*": 60, "eu-west/b/*": 20, "us-east/*": 20}}]}}}}}'""",
        ),
        why="Zone b has its fifth, but as many requests go beyond the ocean.",
        fails={"one in five may have gone to zone b": r", [1-9]\d* elsewhere"},
        right=(  # whoever distributes needs no outlier detection
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: shop
                spec:
                  host: shop
                  trafficPolicy:
                    loadBalancer:
                      localityLbSetting:
                        distribute:
                        - from: eu-west/*
                          to: {eu-west/a/*: 80, eu-west/b/*: 20}
                """),
        ),
    ),
    "23.2": Tries(
        before=_SHOP[:-1],
        wrong=("kubectl delete destinationrule shop",),
        why="Without any rule no pod is ever taken out, and near ones are not put first.",
        fails={"asked in zone a is answered in zone a": r"^[123]?\d of 40"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: shop
                spec:
                  host: shop
                  trafficPolicy:
                    loadBalancer:
                      localityLbSetting:
                        failover:
                        - {from: eu-west, to: us-east}
                    outlierDetection: {consecutive5xxErrors: 5}
                """),
        ),
    ),
    "23.3": Tries(
        before=_PARTNER,
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: partner
                spec:
                  host: partner.outside
                  trafficPolicy:
                    portLevelSettings:
                    - port: {number: 443}
                      tls: {mode: SIMPLE, credentialName: partner-authority, sni: partner.outside}
                """),
        ),
        why="How the gateway is to speak on port 443 is said, but its route still leads to port 80.",
        fails={"by the egress gateway, over TLS": "by a gateway, in plain text"},
        right=(
            "kubectl patch serviceentry partner --type=json --patch "
            """'[{"op": "add", "path": "/spec/ports/0/targetPort", "value": 443}]'""",
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: partner
                spec:
                  host: partner.outside
                  trafficPolicy:
                    portLevelSettings:
                    - port: {number: 80}
                      tls: {mode: SIMPLE, credentialName: partner-authority, sni: partner.outside}
                """),
        ),
    ),
}
