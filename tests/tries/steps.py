"""Steps that the tries of more than one lab take."""

from __future__ import annotations

import re
from textwrap import dedent

from labkit import backend
from labkit.cluster import release
from labkit.course import labs

CLIENT = (
    "kubectl apply -f samples/curl/curl.yaml",
    "kubectl rollout status deployment/curl --timeout=120s",
)
# one after the other would take a minute
ALL_RESTARTED = (
    "kubectl rollout restart deployment",
    "for each in $(kubectl get deployments -o name); do kubectl rollout status $each --timeout=120s; done",
)


def gateway_api() -> None:
    """The Gateway API's definitions, as a notebook brings them."""
    backend.run(["kubectl", "apply", "--server-side", "-f", release.gateway_api()])


def apply(manifest: str, options: str = "") -> str:
    """A manifest, as somebody would type it in a terminal."""
    return f"kubectl apply {options} -f - <<'END'\n{dedent(manifest).strip()}\nEND"


def ours(name: str) -> str:
    """One of the course's own manifests, applied."""
    return f'kubectl apply -f "$LABKIT_MANIFESTS/{name}.yaml"'


def remedies(lab: str, *claims: int) -> tuple[str, ...]:
    """What makes claims of a lab true, by their place in its check, where that is commands alone."""
    return tuple(step for claim in claims for step in _commands(labs.lab(lab).checks[claim].remedy))


def _commands(cell: tuple[str, ...]) -> tuple[str, ...]:
    if cell[0] == "%%shell":
        return ("\n".join(cell[1:]),)
    assert all(line.startswith("%") for line in cell), cell
    return tuple(re.sub(r'(?<!")\$LABKIT_MANIFESTS', '"$LABKIT_MANIFESTS"', line[1:]) for line in cell)
