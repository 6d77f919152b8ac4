"""Tries at the exercises of lab 14."""

from __future__ import annotations

from tries import Tries
from tries.steps import CLIENT, apply, ours

_LEAST = (*CLIENT, ours("14-deny-all"), ours("14-least-privilege"))
_SOURCE = "/spec/rules/0/from/0/source"

TRIES = {
    "14.1": Tries(
        before=_LEAST,
        wrong=(
            "kubectl patch authorizationpolicy details --type=json --patch "
            f"""'[{{"op": "replace", "path": "{_SOURCE}/principals", """
            """"value": ["cluster.local/ns/default/sa/curl"]}]'""",
        ),
        why="curl has the right, but it took productpage's place in the list.",
        fails={"the page still has the book's details": "without details"},
        right=(
            "kubectl patch authorizationpolicy details --type=json --patch "
            f"""'[{{"op": "replace", "path": "{_SOURCE}/principals", "value": """
            """["cluster.local/ns/default/sa/bookinfo-productpage", "cluster.local/ns/default/sa/curl"]}]'""",
        ),
    ),
    "14.2": Tries(
        before=_LEAST,
        wrong=(
            "kubectl patch authorizationpolicy ratings --type=json --patch "
            f"""'[{{"op": "replace", "path": "{_SOURCE}/principals", "value": ["cluster.local/ns/default/sa/*"]}}]'""",
        ),
        why="The stars are back, but every account of the namespace may have them now.",
        fails={"ratings refuse curl": "curl gets 200"},
        right=(
            "kubectl patch authorizationpolicy ratings --type=json --patch "
            f"""'[{{"op": "replace", "path": "{_SOURCE}", "value": {{"serviceAccounts": ["bookinfo-reviews"]}}}}]'""",
        ),
    ),
    "14.3": Tries(
        before=(*_LEAST, ours("14-curl-reads-details")),
        wrong=(
            apply("""
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata:
                  name: closed-book
                spec:
                  selector:
                    matchLabels: {app: details}
                  action: DENY
                  rules:
                  - to:
                    - operation: {paths: [/details/*]}
                """),
        ),
        why="The star stands for any number, so all books are closed.",
        fails={"curl may read book 0": "curl gets 403", "the page still has the book's details": "without details"},
        right=(
            apply("""
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata:
                  name: closed-book
                spec:
                  action: DENY
                  rules:
                  - to:
                    - operation: {hosts: ["details*"], paths: ["*/1"]}
                """),
        ),
    ),
}
