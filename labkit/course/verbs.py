"""What a reader says: goto, check, hint, solution, solve, what_changed, up."""

from __future__ import annotations

import difflib
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from labkit import backend, session
from labkit.course import labs, parts
from labkit.course.checks import Report
from labkit.course.lab import Lab
from labkit.errors import LabError
from labkit.mesh import leftovers, objects
from labkit.progress import Progress
from labkit.progress import Report as Listener
from labkit.settings import MANIFESTS, NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("cluster", "istio", "bookinfo")


@dataclass(frozen=True)
class Place:
    """A lab's start, reached. `found`: what stands beyond it, and is not the course's to remove."""

    number: str
    title: str
    standing: tuple[str, ...]
    found: tuple[str, ...] = ()

    def __repr__(self) -> str:
        stays = f" Found in place, and stays: {', '.join(self.found)}." if self.found else ""
        return f"Lab {self.number}, {self.title}. Standing: {', '.join(self.standing)}.{stays}"


_hints_given: Counter[str] = Counter()


def up(until: str, report: Listener) -> None:
    """Bring up the cluster, Istio on it, Bookinfo in it, or as far as `until` says: cluster, istio or bookinfo.

    May be interrupted and repeated at will. Raises LabError.
    """
    progress = Progress(report, backend.now)
    if until not in STAGES:
        raise LabError(f"There is no stage {until!r}.", f"the stages are {', '.join(STAGES)}", "name one of them")
    if until == "bookinfo":
        parts.make_all(progress)
        return
    wanted = (parts.CLUSTER,) if until == "cluster" else (parts.CLUSTER, parts.RELEASE, parts.ISTIO)
    for part in wanted:
        part.make(progress)


def goto(number: str, report: Listener) -> Place:
    """Bring any cluster, in whatever state, to the start of a lab: make what is missing, remove what is too much.

    May be interrupted and repeated at will. Raises LabError.
    """
    lab = labs.lab(number)
    session.enter(number)
    progress = Progress(report, backend.now)
    parts.CLUSTER.make(progress)
    parts.wake_istiod(progress)
    _clear(lab, progress)
    for part in lab.start[1:]:
        part.make(progress)
    _hints_given.clear()
    found = (part.name for part in _beyond(lab) if not part.is_ours() and part.stands())
    return Place(lab.number, lab.title, tuple(part.name for part in lab.start), tuple(found))


def what_changed() -> pd.DataFrame:
    """What differs from the start of the lab that `goto` brought us to: what, change ("added" or "missing").

    Raises LabError where `goto` was never called.
    """
    import pandas as pd

    lab = _entered()
    missing = [(part.name, "missing") for part in lab.start if not part.stands()]
    added = [(part.name, "added") for part in _too_much(lab)]
    left = [(str(found), "added") for found in leftovers.find(NAMESPACE, _known(parts.PARTS))]
    return pd.DataFrame([*missing, *added, *left], columns=["what", "change"])


@dataclass(frozen=True)
class Standing:
    """A part of the course as it stands; `detail` is what was seen of it."""

    name: str
    stands: bool
    detail: str


def status() -> list[Standing]:
    """Each part that `up` makes, in their order, observed now; where there is no cluster, none of them."""
    standing: list[Standing] = []
    for part in parts.UP:
        if standing and not standing[0].stands:
            standing.append(Standing(part.name, False, "no cluster"))
            continue
        standing.append(_standing(part))
    return standing


def check(number: str) -> Report:
    """Observe what a lab (`05`) or an exercise (`05.1`) should have brought about. Raises LabError for unknown ones."""
    checks = labs.exercise(number).checks if "." in number else labs.lab(number).checks
    return Report(tuple(check.run() for check in checks))


def hint(number: str) -> str:
    """The next hint of an exercise; after the last one, where to look for the solution."""
    hints = labs.exercise(number).hints
    given = _hints_given[number]
    _hints_given[number] += 1
    if given >= len(hints):
        return f"No more hints. solution('{number}') shows one way, solve('{number}') takes it."
    return f"Hint {given + 1} of {len(hints)}: {hints[given]}"


def solution(number: str) -> str:
    """One solution of an exercise as a diff: its commands, and what its manifests would change in the cluster."""
    lines = []
    for command in labs.exercise(number).solution:
        lines.append(f"$ {command}")
        for manifest in _own_manifests(_expanded(command)):
            lines += _manifest_diff(manifest)
    return "\n".join(lines)


def solve(number: str, report: Listener) -> None:
    """Take the solution of an exercise, command by command. Raises backend.CommandFailed."""
    progress = Progress(report, backend.now)
    for command in labs.exercise(number).solution:
        if _makes_what_exists(command):
            continue
        with progress.stage(command) as note:
            backend.run(shlex.split(_expanded(command)), cwd=session.reader_folder(), on_line=note)


def _standing(part: parts.Part) -> Standing:
    try:
        stands = part.stands()
    except LabError as error:
        return Standing(part.name, False, f"{error.what} {error.why}".splitlines()[0])
    return Standing(part.name, stands, part.detail() if stands else "not there")


def _clear(lab: Lab, progress: Progress) -> None:
    surplus = _too_much(lab)
    found = leftovers.find(NAMESPACE, _known((*lab.start, *surplus)))
    if found:
        with progress.stage("clear what earlier work left") as note:
            note(", ".join(map(str, found)))
            leftovers.remove(found)
    for part in reversed(surplus):
        part.remove(progress)


def _too_much(lab: Lab) -> list[parts.Part]:
    return [part for part in _beyond(lab) if part.is_ours() and part.stands()]


def _beyond(lab: Lab) -> list[parts.Part]:
    return [part for part in parts.PARTS if part not in lab.start]


def _known(of: tuple[parts.Part, ...]) -> list[dict]:
    return [document for part in of for document in part.objects()]


def _entered() -> Lab:
    number = session.entered()
    if number is None:
        raise LabError(
            "Nothing to compare with yet.", "no lab has been started here", "run the first cell of a notebook: goto(…)"
        )
    return labs.lab(number)


def _expanded(command: str) -> str:
    return command.replace("$LABKIT_MANIFESTS", shlex.quote(str(MANIFESTS)))


def _makes_what_exists(command: str) -> bool:
    """`kubectl create` fails on what exists already; taking a solution twice must not."""
    words = shlex.split(command)
    return words[:3] == ["kubectl", "create", "namespace"] and objects.find("namespaces", words[3]) is not None


def _own_manifests(command: str) -> list[Path]:
    return [Path(word) for word in shlex.split(command) if word.startswith(str(MANIFESTS))]


def _manifest_diff(manifest: Path) -> list[str]:
    return [line for document in objects.read(manifest) for line in _object_diff(document)]


def _object_diff(document: dict) -> list[str]:
    group = document["apiVersion"].rpartition("/")[0]
    resource, name = _plural(document["kind"]), document["metadata"]["name"]
    live = objects.find(resource, name, NAMESPACE, group=group)
    # both in the order of the alphabet, which is the API server's: what only stands elsewhere is no difference
    before = yaml.safe_dump(live["spec"]).splitlines() if live else []
    after = yaml.safe_dump(document["spec"]).splitlines()
    titles = (f"{resource}/{name} (now)", f"{resource}/{name} (solved)")
    return list(difflib.unified_diff(before, after, *titles, lineterm=""))


def _plural(kind: str) -> str:
    """As the API has it: gateways, serviceentries, authorizationpolicies."""
    return re.sub(r"(?<![aeiou])y$", "ie", kind.lower()) + "s"
