"""What a reader says: goto, check, hint, solution, solve, what_changed, up."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from labkit import backend, session
from labkit.course import availability, components, labs
from labkit.course.checks import Check, Report
from labkit.course.lab import Lab
from labkit.errors import LabError
from labkit.mesh import authority, helm, istio, leftovers, objects, providers
from labkit.progress import Progress
from labkit.progress import Report as Listener
from labkit.settings import MANIFESTS, NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

NOTICED = 30.0  # seconds in which a planted fault shows
APART = 1.0  # seconds between the two looks that tell a fault from chance
STAGES = ("cluster", "istio", "bookinfo")
# kubectl notes when it restarted a Deployment to the second: within the same one it refuses to restart it again
RESTARTED = "restart has already been triggered within the past second"


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
_failing: dict[str, int | None] = {}  # by number: the first claim that did not hold when last checked


def up(until: str, report: Listener) -> None:
    """Bring up the cluster, Istio on it, Bookinfo in it, or as far as `until` says: cluster, istio or bookinfo.

    May be interrupted and repeated at will. Raises LabError.
    """
    progress = Progress(report, backend.now)
    if until not in STAGES:
        raise LabError(f"There is no stage {until!r}.", f"the stages are {', '.join(STAGES)}", "name one of them")
    if until == "bookinfo":
        components.make_all(progress)
        return
    wanted = (components.CLUSTER,) if until == "cluster" else (components.CLUSTER, components.RELEASE, components.ISTIO)
    for component in wanted:
        component.ensure(progress)


def goto(number: str, report: Listener) -> Place:
    """Bring any cluster, in whatever state, to the start of a lab: make what is missing, remove what is too much.

    May be interrupted and repeated at will. Raises LabError.
    """
    lab = labs.lab(number)
    if error := availability.obstacle(lab):
        raise error
    session.enter(number)
    progress = Progress(report, backend.now)
    components.CLUSTER.ensure(progress)
    istiod = components.wake_istiod(progress)
    components.remove_releases(progress)
    components.remove_revisions(progress)
    if components.ISTIO not in lab.start:
        components.leave_ambient(istiod, progress)
    _clear(lab, progress)
    components.remove_providers(progress)
    components.take_back(progress)
    for component in (*lab.start[1:], *lab.programs):
        component.ensure(progress)
    _hints_given.clear()
    _failing.clear()
    found = (component.name for component in _beyond(lab) if not component.is_ours() and component.is_ready())
    standing = tuple(component.name for component in (*lab.start, *lab.programs))
    return Place(lab.number, lab.title, standing, tuple(found))


def what_changed() -> pd.DataFrame:
    """What differs from the start of the lab that `goto` brought us to: what, change ("added" or "missing").

    Raises LabError where `goto` was never called.
    """
    import pandas as pd

    lab = _entered()
    # the cluster is there, or nothing of this could be asked
    missing = [(component.name, "missing") for component in lab.start[1:] if not component.is_ready()]
    added = [(component.name, "added") for component in _too_much(lab)]
    if session.owns_cluster():
        added += [(f"Helm's release {each.name}", "added") for each in helm.releases()]
        added += [(f"Istio's revision {name}", "added") for name in istio.other_revisions()]
        added += [(f"Istio's tag {name}", "added") for name in istio.tags()]
        added += [(f"provider {name}", "added") for name in providers.names()]
    left = [(str(found), "added") for found in leftovers.find(NAMESPACE, _known(components.COMPONENTS))]
    return pd.DataFrame([*missing, *added, *left], columns=["what", "change"])


@dataclass(frozen=True)
class Standing:
    """A component of the course as it stands; `detail` is what was seen of it."""

    name: str
    stands: bool
    detail: str


def status() -> list[Standing]:
    """Each component that `up` makes, in their order, observed now; where there is no cluster, none of them."""
    standing: list[Standing] = []
    for component in components.UP:
        if standing and not standing[0].stands:
            standing.append(Standing(component.name, False, "no cluster"))
            continue
        standing.append(_standing(component))
    return standing


def check(number: str) -> Report:
    """Observe what a lab (`05`) or an exercise (`05.1`) should have brought about. Raises LabError for unknown ones."""
    checks = labs.exercise(number).checks if "." in number else labs.lab(number).checks
    report = Report(number, tuple(check.run() for check in checks))
    _failing[number] = next((n for n, result in enumerate(report.results) if not result.passed), None)
    return report


def break_it(number: str, report: Listener) -> str:
    """Plant the fault of an exercise (`05.2`) and wait until its check notices; what is to be found, in one sentence.

    Raises LabError where the exercise has no fault, or where nobody notices.
    """
    exercise = labs.exercise(number)
    if not exercise.fault:
        raise LabError(
            f"Exercise {number} has nothing to break.",
            "its task is to make something, not to find a fault",
            f"read the task, or take a hint: hint('{number}')",
        )
    with Progress(report, backend.now).stage("something breaks"):
        for command in exercise.fault:
            _run(command)
        backend.wait(
            "A symptom of the fault",
            observe=lambda: _stays_broken(exercise.checks),
            done=lambda broken: broken,
            state=lambda broken: "all is well so far",
            timeout=NOTICED,
        )
    return exercise.task


def _stays_broken(checks: tuple[Check, ...]) -> bool:
    """Whether a claim fails twice: once may be chance, while the fault is still on its way to the proxies."""
    if all(check.holds_now() for check in checks):
        return False
    backend.sleep(APART)
    return not all(check.holds_now() for check in checks)


def hint(number: str) -> str:
    """The next hint of an exercise (`05.1`), or for a lab's (`05`) first claim that did not hold when last checked.

    They go from a pointer to nearly the answer; after the last one, where to look for the solution.
    """
    if "." not in number:
        return _hint_of_a_lab(number)
    hints = labs.exercise(number).hints
    if (given := _given(number)) < len(hints):
        return f"Hint {given + 1} of {len(hints)}: {hints[given]}"
    return f"No more hints. solution('{number}') shows one way, solve('{number}') takes it."


def _hint_of_a_lab(number: str) -> str:
    checks = labs.lab(number).checks
    failing = _failing.get(number, 0)
    if failing is None:
        return f"Nothing to hint at: all claims of lab {number} held when they were last checked."
    check = checks[failing]
    if _given(f"{number}: {check.claim}") == 0:
        return f"{check.claim}: {check.hint}"
    return "\n".join(["A cell that does it, where those before it have run:", "", *check.remedy])


def _given(key: str) -> int:
    """How many hints were given before this one."""
    _hints_given[key] += 1
    return _hints_given[key] - 1


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
            _run(command, note)


def _standing(component: components.Component) -> Standing:
    try:
        stands = component.is_ready()
    except LabError as error:
        return Standing(component.name, False, f"{error.what} {error.why}".splitlines()[0])
    return Standing(component.name, stands, component.detail() if stands else "not there")


def _clear(lab: Lab, progress: Progress) -> None:
    surplus = _too_much(lab)
    found = leftovers.find(NAMESPACE, _known((*lab.start, *surplus)))
    if others := [left for left in found if left != leftovers.AUTHORITY]:
        with progress.stage("clear what earlier work left") as note:
            note(", ".join(map(str, others)))
            leftovers.remove(others)
    if leftovers.AUTHORITY in found:
        with progress.stage("Istio's own authority") as note:
            authority.unplug(note)
    for component in reversed(surplus):
        component.remove(progress)


def _too_much(lab: Lab) -> list[components.Component]:
    return [component for component in _beyond(lab) if component.is_ours() and component.is_there()]


def _beyond(lab: Lab) -> list[components.Component]:
    return [component for component in components.COMPONENTS if component not in lab.start]


def _known(of: tuple[components.Component, ...]) -> list[dict]:
    return [document for component in of for document in component.objects()]


def _entered() -> Lab:
    number = session.entered()
    if number is None:
        raise LabError(
            "Nothing to compare with yet.", "no lab has been started here", "run the first cell of a notebook: goto(…)"
        )
    return labs.lab(number)


def _run(command: str, on_line: Callable[[str], None] | None = None) -> None:
    argv = shlex.split(_expanded(command))
    try:
        backend.run(argv, cwd=session.reader_folder(), on_line=on_line)
    except backend.CommandFailed as error:
        if RESTARTED not in error.why:
            raise
        backend.sleep(1.0)
        backend.run(argv, cwd=session.reader_folder(), on_line=on_line)


def _expanded(command: str) -> str:
    return command.replace("$LABKIT_MANIFESTS", shlex.quote(str(MANIFESTS)))


def _makes_what_exists(command: str) -> bool:
    """`kubectl create` fails on what exists already; taking a solution twice must not."""
    words = shlex.split(command)
    return words[:3] == ["kubectl", "create", "namespace"] and objects.find("namespaces", words[3]) is not None


def _own_manifests(command: str) -> list[Path]:
    """Those of objects: what helm is given are values."""
    if command.startswith("helm "):
        return []
    return [Path(word) for word in shlex.split(command) if word.startswith(str(MANIFESTS))]


def _manifest_diff(manifest: Path) -> list[str]:
    return [line for document in objects.read(manifest) for line in _object_diff(document)]


def _object_diff(document: dict) -> list[str]:
    live = objects.find_like(document, NAMESPACE)
    # both in the order of the alphabet, which is the API server's: what only stands elsewhere is no difference
    before = _lines(live.get("spec", {})) if live else []
    after = _lines(document.get("spec", {}))
    what = f"{objects.kind_of(document).plural}/{document['metadata']['name']}"
    titles = (f"{what} (now)", f"{what} (solved)")
    return list(difflib.unified_diff(before, after, *titles, lineterm=""))


class _Readable(yaml.SafeDumper):
    """YAML in which a text of several lines, such as a script, has lines."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text.strip() else None
    ),
)


def _lines(spec: dict) -> list[str]:
    return yaml.dump(spec, Dumper=_Readable).splitlines()
