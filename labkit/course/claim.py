"""A namespace in somebody else's cluster, taken for the course: once, and only while there is nothing in it."""

from __future__ import annotations

import json

from labkit import backend
from labkit.cluster import context
from labkit.errors import LabError
from labkit.mesh import leftovers
from labkit.settings import NAMESPACE, settings


def claim() -> None:
    """See that the reader's namespace is theirs to fill and to empty, as `goto` does.

    It is found empty the first time; from then on it is known by its unique id, so that one of the same name in
    another cluster, or made anew, is looked at again. Raises LabError.
    """
    uid, record = context.require(), settings().context_folder / "namespaces.json"
    known = json.loads(record.read_text()) if record.exists() else {}
    if uid in known:
        return
    if found := _found():
        raise LabError(
            f"Namespace {NAMESPACE} of context {settings().context} is not empty.",
            f"there is {', '.join(found[:5])}{' and more' if found[5:] else ''}; `goto` would remove it",
            "set LABKIT_NAMESPACE to a namespace of your own with nothing in it, and restart the kernel",
        )
    record.write_text(json.dumps({**known, uid: NAMESPACE}))


def _found() -> list[str]:
    """Workloads of any kind, and what else would be cleared away."""
    workloads = backend.run(["kubectl", "get", "all", "--namespace", NAMESPACE, "--output", "name"]).stdout.split()
    others = [f"{left.resource_and_group}/{left.name}" for left in leftovers.find(NAMESPACE, [])]
    return workloads or others
