"""Images built by `docker build`. What each was built from stands in a label on it: the engine itself is the record."""

from __future__ import annotations

import shutil
from pathlib import Path

from labkit import backend
from labkit.cluster.packages.recipes import DOCKERFILES, SHARED, Recipe, recipe
from labkit.cluster.packages.steps import STAMP, Note, builds, fingerprint, make, remove, run

LABEL = "istio-lab.inputs"


def build_images(names: list[str], note: Note) -> None:
    """Every named image in the container engine; only those are built whose inputs changed. Raises LabError."""
    build({name: _recipe(name) for name in names}, note)


def build(wanted: dict[str, Recipe], note: Note) -> None:
    """The same for images whose recipes are given, by their names."""
    recipes = _with_parents(wanted)
    present = _present(list(recipes))
    for name, how in recipes.items():
        if key(name, how) not in present:
            note(name)
            _build(name, how, note)


def key(name: str, how: Recipe) -> str:
    """Identifies all that decides what is in the image; its parent's key among it."""
    files = [word for to, (step, path) in sorted(how.files.items()) for word in (to, step.key, path)]
    arguments = [f"{argument}={value}" for argument, value in sorted(how.arguments.items())]
    parent = [key(how.parent, SHARED[how.parent]())] if how.parent else []
    return fingerprint(name, DOCKERFILES / how.dockerfile, *files, *arguments, *parent)


def _recipe(name: str) -> Recipe:
    return SHARED[name]() if name in SHARED else recipe(name)


def _with_parents(recipes: dict[str, Recipe]) -> dict[str, Recipe]:
    """Parents before children."""
    ordered: dict[str, Recipe] = {}
    for name, how in recipes.items():
        if how.parent:
            ordered |= _with_parents({how.parent: SHARED[how.parent]()})
        ordered[name] = how
    return ordered


def _present(names: list[str]) -> set[str]:
    """The keys of those images that the engine has; it complains of the others, and goes on."""
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return set(backend.run(["docker", "image", "inspect", "--format", form, *names], check=False).stdout.split())


def _build(name: str, how: Recipe, note: Note) -> None:
    log = name.replace("/", "_").replace(":", "_")
    context = builds() / f"context-{log}"  # others may build at the same time
    remove(context)
    shutil.copytree(DOCKERFILES / how.dockerfile, context)
    for to, (step, path) in how.files.items():
        _copy(make(step, note) / path, context / to)
    arguments = [f"--build-arg={argument}={value}" for argument, value in how.arguments.items()]
    options = ["--network=host", "--force-rm", f"--label={LABEL}={key(name, how)}", "--tag", name, *arguments]
    run(["docker", "build", *options, context], log, note)
    remove(context)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(STAMP))
    else:
        shutil.copy2(source, to)
