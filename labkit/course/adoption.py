"""A namespace in somebody else's cluster, adopted by the course: once, and only while there is nothing in it."""

from __future__ import annotations

from labkit import backend, state
from labkit.cluster import context
from labkit.errors import LabError
from labkit.mesh import leftovers
from labkit.settings import NAMESPACE, settings

_WITHOUT_OWNER = (
    '{{range .items}}{{if not .metadata.ownerReferences}}{{.kind}}/{{.metadata.name}}{{"\\n"}}{{end}}{{end}}'
)


def adopt() -> None:
    """See that the reader's namespace is theirs to fill and to empty, as `goto` does.

    It is found empty the first time; from then on it is known by its unique id, so that one of the same name in
    another cluster, or made anew, is looked at again. Raises LabError.
    """
    uid, record = context.require(), settings().context_folder / "namespaces.json"
    if uid in state.read(record, {}):
        return
    if found := _found():
        raise LabError(
            f"Namespace {NAMESPACE} of context {settings().context} is not empty.",
            f"there is {', '.join(found[:5])}{' and more' if found[5:] else ''}; `goto` would remove it",
            "set LABKIT_NAMESPACE to a namespace of your own with nothing in it, and restart the kernel",
        )
    state.update(record, {}, lambda known: {**known, uid: NAMESPACE})


def _found() -> list[str]:
    """Workloads of any kind, and what else would be cleared away; not what has an owner, which goes with that."""
    asked = ["kubectl", "get", "all", "--namespace", NAMESPACE, "--output", f"go-template={_WITHOUT_OWNER}"]
    workloads = backend.run(asked).stdout.split()
    others = [f"{left.resource_and_group}/{left.name}" for left in leftovers.find(NAMESPACE, [])]
    return workloads or others
