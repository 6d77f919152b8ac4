"""Tries at the exercises of lab 27."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT, apply, ours, remedies

_ASKED = (*CLIENT, ours("27-fresh"), ours("27-mesh"), ours("27-namespace"))
_IN_JSON = remedies("27", 0, 1)

TRIES = {
    "27.1": Tries(
        before=_ASKED,
        wrong=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: details
                  namespace: istio-system
                spec:
                  selector:
                    matchLabels: {app: details}
                  accessLogging:
                  - providers: [{name: envoy}]
                    filter:
                      expression: request.headers['x-debug'] == '1'
                """),
        ),
        why="The rule is right, but a selector looks for pods in the rule's own namespace.",
        fails={"the one with the header is logged": "logged: nothing"},
        right=(
            apply("""
                apiVersion: telemetry.istio.io/v1
                kind: Telemetry
                metadata:
                  name: for-one-user
                spec:
                  selector:
                    matchLabels: {app: details, version: v1}
                  accessLogging:
                  - match: {mode: SERVER}
                    providers: [{name: envoy}]
                    filter:
                      expression: "'x-debug' in request.headers && request.headers['x-debug'] == '1'"
                """),
        ),
    ),
    "27.2": Tries(
        before=_IN_JSON,
        wrong=(
            "kubectl patch telemetry httpbin --type=merge --patch "
            """'{"spec": {"metrics": [{"overrides": [{"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": """
            """{"request_kind": {"value": "request.url_path"}, "source_principal": {"operation": "REMOVE"}}}]}]}}'""",
        ),
        why="The label has the right name, and as many values as there are paths.",
        fails={"httpbin counts by two kinds": "request_kind /anything/1, /anything/2"},
        right=(
            "kubectl patch telemetry httpbin --type=merge --patch "
            """'{"spec": {"metrics": [{"overrides": [{"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": """
            """{"request_kind": {"value": "request.url_path.matches(\\"^/status/\\") ? \\"status\\" : \\"other\\""}, """
            """"source_principal": {"operation": "REMOVE"}}}]}]}}'""",
        ),
    ),
    "27.3": Tries(
        before=(*CLIENT, ours("27-fresh")),
        wrong=("kubectl delete telemetry logs",),
        why="The rule that was not read is gone, and the one that is read stays.",
        fails={
            "no request to reviews or ratings": "logged: to reviews and ratings",
            "switches logs off": "there is no such rule",
        },
        right=(
            """kubectl patch telemetry all-requests --type=merge """
            """--patch '{"spec": {"selector": {"matchLabels": {"app": "productpage"}}}}'""",
            ours("27-namespace"),
        ),
    ),
}
