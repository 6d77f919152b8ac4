"""The mesh's state, moment by moment: what its API server holds after each cell that changed something.

A state is flat: (what, name) → text, mostly of JSON. What is a collection's path (`/api/v1/pods`, name
`NAMESPACE/NAME`), `document` (what else the API server tells, by its path), `columns` (of a collection's table), `log`
(name `NAMESPACE/POD/CONTAINER`), or what `labkit.api.views` keeps of proxies and istiod. A moment is written down as
its differences from the one before, in one compressed file for each notebook: NAME.state.xz.
"""

from __future__ import annotations

import json
import lzma
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from labkit.api import views
from labkit.api.recorded import COLUMNS, DOCUMENT, LOG, TABLE, Key, State, ageless
from labkit.backend.answers import KubernetesError
from labkit.backend.concurrency import threads
from labkit.backend.protocol import Backend
from labkit.backend.requests import Forward, Kubernetes, PodGet
from labkit.errors import LabError
from labkit.recordings import shapes
from labkit.recordings.files import Head, refused
from labkit.recordings.scrub import scrubbed, secrets
from labkit.settings import ADMIN_PORT, DEBUG_PORT

Change = tuple[str, str, str | None]  # what, name, text; of what is gone, None

SCHEMAS, OLD_SCHEMAS = "/openapi/v3", "/openapi/v2"
LINES = 200  # of the end of each log
AT_ONCE = 4  # questions at once
LARGEST = 1 << 26  # bytes that a file unpacks to; the course's largest takes a quarter
_MEMORY = 80 << 20  # bytes that unpacking takes at most
_FILTER = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 25}  # moments that lie far apart are alike
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Views:
    """What a container shows of itself on a port of its pod's own 127.0.0.1."""

    port: int
    paths: tuple[str, ...]


# https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio
VIEWS = {
    "istio-proxy": Views(
        ADMIN_PORT, (views.WITH_ENDPOINTS, "/clusters?format=json", "/listeners?format=json", "/certs")
    ),
    "discovery": Views(DEBUG_PORT, ("/debug/syncz",)),
}
_BEGINS = re.compile(rb'\{"cell": ([0-9]{1,9}),')
_HEAD = {"notebook": str, "recorded": str}
_MOMENT = {"cell": shapes.count, "at": float, "changes": [(str, str, shapes.either(str, type(None)))]}


class Moments:
    """A notebook's states, each rebuilt when it is asked for. Raises LabError where the file is damaged.

    cells: the numbers of the cells after which there is one.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self._path, self._lines = path, _read(path, head)
        self.cells = [_cell(path, line) for line in self._lines]
        self._moments: list[Any] = []  # read as far as somebody looked: most look early
        self._state: dict[Key, str] = {}
        self._applied = 0

    def at(self, cell: int) -> tuple[Mapping[Key, str], float]:
        """The state after the cell of this number, and when that was, in seconds since 1970; before any, the first.

        Raises LabError where what is written of it is none.
        """
        wanted = max(1, bisect_right(self.cells, cell))
        if wanted < self._applied:
            self._state, self._applied = {}, 0
        self._moments += [_moment(self._path, line) for line in self._lines[len(self._moments) : wanted]]
        for moment in self._moments[self._applied : wanted]:
            apply(self._state, moment["changes"])
        self._applied = wanted
        return dict(self._state), self._moments[wanted - 1]["at"]


def of(recording: Path) -> Path:
    """Where the states beside a recording lie."""
    return recording.with_suffix(".state.xz")


def write(path: Path, head: Head, moments: Sequence[tuple[int, float, list[Change]]]) -> None:
    """Write a notebook's moments down, if it has any: a cell's number, when, what changed.

    Raises LabError rather than write a secret.
    """
    path.unlink(missing_ok=True)
    lines = [json.dumps({"notebook": head.notebook, "recorded": head.recorded})]
    lines += [json.dumps({"cell": cell, "at": at, "changes": changes}) for cell, at, changes in moments]
    if len(lines) > 1:
        _pack(path, "\n".join(lines), (f"{name}: {text}" for _, _, changes in moments for _, name, text in changes))


def observe(mesh: Backend) -> State:
    """All that the mesh lets one look at, scrubbed; of Secrets metadata. Empty where none answers."""
    state: dict[Key, str] = {}
    with suppress(LabError), threads(AT_ONCE) as pool:
        for path in ("/version", "/api", "/apis"):
            state[DOCUMENT, path] = _scrubbed(_asked(mesh, path))
        roots = list(_versions(json.loads(state[DOCUMENT, "/apis"])))
        told = pool.map(partial(_asked, mesh), roots)
        state |= {(DOCUMENT, root): _scrubbed(text) for root, text in zip(roots, told, strict=True)}
        for found in pool.map(partial(_collected, mesh), _once(state, roots, _defined(mesh))):
            state |= found
        for found in pool.map(partial(_of_a_pod, mesh), _pods(state)):
            state |= found
    return state


def keep_schemas(mesh: Backend, path: Path) -> None:
    """Add what the API server tells of its kinds' fields to what is kept of it, for `kubectl explain` and its like.

    https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
    """
    kept = dict(schemas(path))
    index = json.loads(kept.get((DOCUMENT, SCHEMAS), '{"paths": {}}'))
    told = json.loads(_asked(mesh, SCHEMAS))["paths"]
    if told.keys() <= index["paths"].keys():
        return
    for name in told.keys() - index["paths"].keys():
        # as it is: it tells of kinds alone, and a field that is called `machineID` is no machine's id
        kept[DOCUMENT, f"{SCHEMAS}/{name}"] = _asked(mesh, f"{SCHEMAS}/{name}")
    kept[DOCUMENT, SCHEMAS] = json.dumps({"paths": {**index["paths"], **told}})
    _pack(path, json.dumps([[*key, text] for key, text in kept.items()]), kept.values())


def schemas(path: Path) -> State:
    """What was kept of the kinds' fields; empty where nothing was. Raises LabError for a damaged file."""
    if not path.exists():
        return {}
    try:
        found = shapes.checked(shapes.parsed(_unpacked(path), "it"), [(str, str, str)], "it")
    except (shapes.Malformed, lzma.LZMAError, MemoryError, OSError) as error:
        raise refused(path, str(error)) from None
    return {(what, name): text for what, name, text in found}


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


def _pack(path: Path, text: str, held: Iterable[str]) -> None:
    """Write a text down, looked through piece by piece: only a few of them hold what a secret must have beside it."""
    if found := sorted({each for piece in held for each in secrets(piece)}):
        raise refused(path, f"it holds {', '.join(found)}, which no recording may")
    path.write_bytes(lzma.compress(text.encode(), filters=[_FILTER]))


def _unpacked(path: Path) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    content = decoder.decompress(path.read_bytes(), LARGEST)
    if not decoder.eof or decoder.unused_data:
        raise refused(path, f"it unpacks to more than {LARGEST} bytes, or is cut")
    return content


def _read(path: Path, head: Head) -> list[bytes]:
    """The moments' lines, of which there is one at least."""
    try:
        first, *lines = _unpacked(path).split(b"\n")
        heading = shapes.checked(shapes.parsed(first, "its head"), _HEAD, "its head")
    except (shapes.Malformed, lzma.LZMAError, MemoryError, OSError) as error:
        raise refused(path, str(error)) from None
    if (heading["notebook"], heading["recorded"]) != (head.notebook, head.recorded):
        raise refused(path, "it is of another recording")
    if not lines:
        raise refused(path, "it holds no moment")
    return lines


def _cell(path: Path, line: bytes) -> int:
    begins = _BEGINS.match(line)
    if not begins:
        raise refused(path, "a moment does not begin with its cell's number")
    return int(begins[1])


def _moment(path: Path, line: bytes) -> Any:
    try:
        return shapes.checked(shapes.parsed(line, "a moment"), _MOMENT, "a moment")
    except shapes.Malformed as error:
        raise refused(path, str(error)) from None


@dataclass(frozen=True)
class Collection:
    """Objects of a kind, and the version that they are told in."""

    path: str
    kind: str
    version: str


def _versions(apis: dict[str, Any]) -> Iterator[str]:
    """The root of each version of each group, of a group the preferred one first."""
    yield "/api/v1"
    for group in apis["groups"]:
        preferred = group["preferredVersion"]
        yield from (f"/apis/{each['groupVersion']}" for each in sorted(group["versions"], key=preferred.__ne__))


def _once(state: State, roots: Iterable[str], defined: set[str]) -> Iterator[Collection]:
    """What can be listed; a kind of these groups under the first of its versions."""
    seen: set[tuple[str, str]] = set()
    for root in roots:
        told = json.loads(state[DOCUMENT, root])
        group = told["groupVersion"].partition("/")[0]
        for resource in told["resources"]:
            if "list" in resource["verbs"] and (group, resource["name"]) not in seen:
                yield Collection(f"{root}/{resource['name']}", resource["kind"], told["groupVersion"])
                seen |= {(group, resource["name"])} if group in defined else set()


def _defined(mesh: Backend) -> set[str]:
    """The groups of defined kinds, each of which is the same in all its versions."""
    return {each["spec"]["group"] for each in _get(mesh, _DEFINITIONS)["items"]}


def _collected(mesh: Backend, of: Collection) -> dict[Key, str]:
    try:
        items = _get(mesh, of.path)["items"] or []
        table = _get(mesh, of.path, accept=TABLE)
    except KubernetesError:
        return {}  # who may not list it, or nothing that can be listed now
    columns = table["columnDefinitions"]
    cells = {_name(row["object"]): row["cells"] for row in table["rows"] or ()}
    found = {(COLUMNS, of.path): _text(columns)}
    for item in items:
        item["metadata"].pop("managedFields", None)
        # a list leaves out of its items what all of them are
        held = {"object": {**item, "apiVersion": of.version, "kind": of.kind}, "cells": cells.get(_name(item), [])}
        found[of.path, _name(item)] = _text({**held, "cells": ageless(columns, held)})
    return found


def _of_a_pod(mesh: Backend, pod: dict[str, Any]) -> dict[Key, str]:
    """Its containers' logs, and what a proxy or istiod in it shows."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    found: dict[Key, str] = {}
    for container in _started(pod.get("status", {})):
        path, query = f"/api/v1/namespaces/{namespace}/pods/{name}/log", {"container": container}
        with suppress(KubernetesError):
            text = mesh.perform(Kubernetes("GET", path, query={**query, "tailLines": str(LINES)}))
            found[LOG, f"{namespace}/{name}/{container}"] = _scrubbed(text)
        if container == "istio-proxy":
            with suppress(KubernetesError):  # it may be on its way up or down
                text = mesh.perform(views.stats(f"{namespace}/{name}"))
                found[views.counted(f"{namespace}/{name}")] = _scrubbed(text)
        if container in VIEWS and pod["metadata"].get("labels", {}).get("app") != "ztunnel":  # which is no Envoy
            found |= _views(mesh, Forward(namespace, name, VIEWS[container].port), VIEWS[container].paths)
    return found


def _views(mesh: Backend, forward: Forward, paths: Iterable[str]) -> dict[Key, str]:
    shown: dict[Key, str] = {}
    with suppress(LabError), mesh.connected(forward) as get:
        for path in paths:
            shown |= _shown(forward, path, get(PodGet(forward, path)))
    return shown


def _shown(forward: Forward, path: str, text: str) -> dict[Key, str]:
    place = f"{forward.namespace}/{forward.pod}:{forward.port}"
    found = views.pieces(place, text) if path == views.WITH_ENDPOINTS else [((views.VIEW, f"{place} {path}"), text)]
    return {key: _scrubbed(each) for key, each in found}


def _pods(state: State) -> list[dict[str, Any]]:
    return [json.loads(text)["object"] for (what, _), text in state.items() if what == "/api/v1/pods"]


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
_scrubbed = lru_cache(maxsize=8192)(scrubbed)
