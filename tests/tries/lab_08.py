"""Tries at the exercises of lab 08."""

from __future__ import annotations

from functools import partial

from labkit.mesh import traffic
from tries import Tries
from tries.steps import apply, ours

_STRANGER = ("kubectl create namespace stranger", partial(traffic.deploy_client, "stranger"), traffic.deploy_client)
_STRICT = ours("08-strict")

TRIES = {
    "08.1": Tries(
        before=(*_STRANGER, _STRICT),
        wrong=(
            apply("""
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata:
                  name: details
                spec:
                  selector:
                    matchLabels: {version: v1}
                  mtls: {mode: PERMISSIVE}
                """),
        ),
        why="Version 1 is what details runs, but the pods of three other services have that label, too.",
        fails={"reaches details, and not ratings": "200 from details, 200 from ratings"},
        right=(
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
    ),
    "08.2": Tries(
        before=(*_STRANGER, _STRICT),
        wrong=(
            "kubectl patch destinationrule reviews --type=merge "
            """--patch '{"spec": {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}}'""",
        ),
        why="The callers speak TLS again, but show no certificate, which mutual TLS asks of both sides.",
        fails={"the page has its reviews": "reviews are currently unavailable"},
        right=(
            "kubectl patch destinationrule reviews --type=merge "
            """--patch '{"spec": {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}'""",
        ),
    ),
    "08.3": Tries(
        before=(*_STRANGER, _STRICT),
        wrong=(
            apply("""
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata:
                  name: default
                spec:
                  mtls: {mode: PERMISSIVE}
                ---
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata:
                  name: ratings
                spec:
                  mtls: {mode: STRICT}
                """),
        ),
        why="The second rule has no selector, so it is one more for the namespace, where the older one counts.",
        fails={"reaches details and reviews, and not ratings": "200 from details, 200 from reviews, 200 from ratings"},
        right=(
            "kubectl delete peerauthentication default",  # what nobody says is PERMISSIVE
            apply("""
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata:
                  name: ratings
                spec:
                  selector:
                    matchLabels: {app: ratings}
                  mtls: {mode: STRICT}
                """),
        ),
    ),
}
