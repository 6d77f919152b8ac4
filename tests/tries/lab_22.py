"""Tries at the exercises of lab 22."""

from __future__ import annotations

from labkit.mesh import tracing
from tries import Tries
from tries.steps import apply, ours

_TRACED = (tracing.deploy, ours("22-tracing"), tracing.send_at_once)

TRIES = {
    "22.1": Tries(
        before=_TRACED,
        wrong=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: half
                  namespace: istio-system
                spec:
                  tracing:
                  - providers:
                    - name: jaeger
                    randomSamplingPercentage: 50
                """),
        ),
        why="The namespace is right, but of two rules for the whole mesh, the older one counts.",
        fails={"one half may have been kept": "^40 of 40"},
        right=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: half
                  namespace: istio-system
                spec:
                  selector:
                    matchLabels: {istio: ingressgateway}
                  tracing:
                  - randomSamplingPercentage: 50
                """),
        ),
    ),
    "22.2": Tries(
        before=_TRACED,
        wrong=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: tenant
                spec:
                  selector:
                    matchLabels: {app: productpage}
                  tracing:
                  - customTags:
                      tenant:
                        header: {name: x-tenant, defaultValue: none}
                """),
        ),
        why="The tag is right, but on productpage's spans instead of the gateway's.",
        fails={"the tag of red's page": "red's page: no tag; another: no tag"},
        right=(
            "kubectl patch telemetry tracing --namespace istio-system --type=json --patch "
            """'[{"op": "add", "path": "/spec/tracing/0/customTags", """
            """"value": {"tenant": {"header": {"name": "x-tenant", "defaultValue": "none"}}}}]'""",
        ),
    ),
    "22.3": Tries(
        before=(tracing.deploy, tracing.send_at_once),
        wrong=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: report
                spec:
                  tracing:
                  - disableSpanReporting: false
                """),
        ),
        why="The rule is for the namespace, and one for some of its pods still goes before it.",
        fails={"says whom productpage asked": " 0 of calls from productpage"},
        right=(
            "kubectl patch telemetry tidy --type=json --patch "
            """'[{"op": "replace", "path": "/spec/tracing/0/disableSpanReporting", "value": false}]'""",
        ),
    ),
}
