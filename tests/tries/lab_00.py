"""Tries at the exercise of lab 00."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply

TRIES = {
    "00.1": Tries(
        wrong=("kubectl create configmap hello",),
        why="It makes an object called hello, as a cell above did, but a ConfigMap.",
        fails={"namespace hello is there": "hello: absent"},
        right=(
            apply("""
                apiVersion: v1
                kind: Namespace
                metadata:
                  name: hello
                """),
        ),
    ),
}
