"""The mesh's state, moment by moment: what its API server holds after each cell that changed something.

A state is flat: (what, name) → text, mostly of JSON. What is a collection's path (`/api/v1/pods`, name
`NAMESPACE/NAME`), `document` (what else the API server tells, by its path), `columns` (of a collection's table) or
`log` (name `NAMESPACE/POD/CONTAINER`). A moment is written down as its differences from the one before, in one
compressed file for each notebook: NAME.state.xz.
"""

from __future__ import annotations

import json
import lzma
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.api.recorded import COLUMNS, DOCUMENT, LOG, TABLE, Key, State, ageless, held_elsewhere
from labkit.backend.answers import KubernetesError
from labkit.backend.protocol import Backend
from labkit.backend.requests import Kubernetes
from labkit.errors import LabError
from labkit.recordings import shapes
from labkit.recordings.files import Head, refused
from labkit.recordings.scrub import scrubbed, secrets

Change = tuple[str, str, str | None]  # what, name, text; of what is gone, None

LINES = 200  # of the end of each log
LARGEST = 1 << 26  # bytes that a file unpacks to; the course's largest takes a quarter
_MEMORY = 80 << 20  # bytes that unpacking takes at most
_FILTER = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 25}  # moments that lie far apart are alike
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_HEAD = {"notebook": str, "recorded": str}
_MOMENT = {"cell": shapes.count, "at": float, "changes": [(str, str, shapes.either(str, type(None)))]}


class Moments:
    """A notebook's states, each rebuilt when it is asked for. Raises LabError where the file is damaged."""

    def __init__(self, path: Path, head: Head) -> None:
        self._moments = _read(path, head)
        self._numbers = [moment["cell"] for moment in self._moments]
        self._state: dict[Key, str] = {}
        self._applied = 0

    def at(self, cell: int) -> tuple[Mapping[Key, str], float]:
        """The state after the cell of this number, and when that was, in seconds since 1970; before any, the first."""
        wanted = max(1, bisect_right(self._numbers, cell))
        if wanted < self._applied:
            self._state, self._applied = {}, 0
        for moment in self._moments[self._applied : wanted]:
            apply(self._state, moment["changes"])
        self._applied = wanted
        return dict(self._state), self._moments[wanted - 1]["at"]


def of(recording: Path) -> Path:
    """Where the states beside a recording lie."""
    return recording.with_suffix(".state.xz")


def write(path: Path, head: Head, moments: Iterable[tuple[int, float, list[Change]]]) -> None:
    """Write a notebook's moments down, if it has any: a cell's number, when, what changed.

    Raises LabError rather than write a secret.
    """
    path.unlink(missing_ok=True)
    lines = [json.dumps({"notebook": head.notebook, "recorded": head.recorded})]
    lines += [json.dumps({"cell": cell, "at": at, "changes": changes}) for cell, at, changes in moments]
    text = "\n".join(lines)
    if found := secrets(text):
        raise refused(path, f"it holds {', '.join(found)}, which no recording may")
    if len(lines) > 1:
        path.write_bytes(lzma.compress(text.encode(), filters=[_FILTER]))


def observe(mesh: Backend) -> State:
    """All that the mesh's API server lets one look at, scrubbed; of Secrets metadata. Empty where none answers."""
    state: dict[Key, str] = {}
    with suppress(LabError):
        for path in ("/version", "/api", "/apis"):
            state[DOCUMENT, path] = _scrubbed(_asked(mesh, path))
        defined = _defined(mesh)
        for root in _versions(mesh, json.loads(state[DOCUMENT, "/apis"])):
            state[DOCUMENT, root] = _scrubbed(_asked(mesh, root))
            found = json.loads(state[DOCUMENT, root])
            group = found["groupVersion"].partition("/")[0]
            for resource in found["resources"]:
                once = group in defined and held_elsewhere(state, root, resource["name"])
                if "list" in resource["verbs"] and not once:
                    _collect(mesh, f"{root}/{resource['name']}", resource["kind"], found["groupVersion"], state)
        state |= _logs(mesh, state)
    return state


def difference(before: State, after: State) -> list[Change]:
    """What turns one state into the other."""
    new: list[Change] = [(*key, text) for key, text in after.items() if before.get(key) != text]
    return [*new, *((*key, None) for key in before.keys() - after.keys())]


def apply(state: dict[Key, str], changes: Iterable[Change]) -> None:
    """Turn a state into the next one."""
    for what, name, text in changes:
        if text is None:
            state.pop((what, name), None)
        else:
            state[what, name] = text


def _read(path: Path, head: Head) -> list[Any]:
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        content = decoder.decompress(path.read_bytes(), LARGEST)
        if not decoder.eof or decoder.unused_data:
            raise refused(path, f"it unpacks to more than {LARGEST} bytes, or is cut")
        first, *lines = content.split(b"\n")
        heading = shapes.checked(shapes.parsed(first, "its head"), _HEAD, "its head")
        if (heading["notebook"], heading["recorded"]) != (head.notebook, head.recorded):
            raise refused(path, "it is of another recording")
        moments = [shapes.checked(shapes.parsed(line, "a moment"), _MOMENT, "a moment") for line in lines]
    except (shapes.Malformed, lzma.LZMAError, MemoryError, OSError) as error:
        raise refused(path, str(error)) from None
    if not moments:
        raise refused(path, "it holds no moment")
    return moments


def _versions(mesh: Backend, apis: dict[str, Any]) -> Iterator[str]:
    """The root of each version of each group, of a group the preferred one first."""
    yield "/api/v1"
    for group in apis["groups"]:
        preferred = group["preferredVersion"]
        yield from (f"/apis/{each['groupVersion']}" for each in sorted(group["versions"], key=preferred.__ne__))


def _defined(mesh: Backend) -> set[str]:
    """The groups of defined kinds, each of which is the same in all its versions."""
    return {each["spec"]["group"] for each in _get(mesh, _DEFINITIONS)["items"]}


def _collect(mesh: Backend, path: str, kind: str, version: str, state: dict[Key, str]) -> None:
    try:
        items = _get(mesh, path)["items"] or []
        table = _get(mesh, path, accept=TABLE)
    except KubernetesError:
        return  # who may not list it, or nothing that can be listed now
    state[COLUMNS, path] = _text(table["columnDefinitions"])
    cells = {_name(row["object"]): row["cells"] for row in table["rows"] or ()}
    for item in items:
        item["metadata"].pop("managedFields", None)
        # a list leaves out of its items what all of them are
        whole = {**item, "apiVersion": version, "kind": kind}
        held = {"object": whole, "cells": cells.get(_name(item), [])}
        state[path, _name(item)] = _text({**held, "cells": ageless(table["columnDefinitions"], held)})


def _logs(mesh: Backend, state: State) -> dict[Key, str]:
    logs: dict[Key, str] = {}
    pods = [json.loads(text)["object"] for (what, _), text in state.items() if what == "/api/v1/pods"]
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for container in _started(pod.get("status", {})):
            with suppress(KubernetesError):
                path, query = f"/api/v1/namespaces/{namespace}/pods/{name}/log", {"container": container}
                text = mesh.perform(Kubernetes("GET", path, query={**query, "tailLines": str(LINES)}))
                logs[LOG, f"{namespace}/{name}/{container}"] = _scrubbed(text)
    return logs


def _started(status: dict[str, Any]) -> list[str]:
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return [each["name"] for each in containers if "waiting" not in each.get("state", {})]


def _name(item: dict[str, Any]) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]


def _get(mesh: Backend, path: str, accept: str = "") -> Any:
    return json.loads(_asked(mesh, path, accept))


def _asked(mesh: Backend, path: str, accept: str = "") -> str:
    return mesh.perform(Kubernetes("GET", path, accept=accept))


def _text(told: Any) -> str:
    return _scrubbed(json.dumps(told, separators=(",", ":"), ensure_ascii=False))


# most of a state is as it was a moment before, and to look through a text takes longer than to get it
_scrubbed = lru_cache(maxsize=4096)(scrubbed)
