"""Which mesh a notebook's kernel works on: a live one where a container engine answers, else a recorded one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.backend.live import Live
from labkit.cluster import engine
from labkit.course import availability, labs
from labkit.errors import LabError
from labkit.notebook import magics
from labkit.recordings import replay
from labkit.recordings.recorder import Recorder
from labkit.recordings.replay import Replay
from labkit.session import Session
from labkit.settings import IN_CONTEXT, NAMESPACE, is_beyond_a_namespace, notebook_of, settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from labkit.classroom.client import Teller


def begin(ipython: InteractiveShell) -> None:
    """Take up a mesh for this kernel, say which it is, and let it know of each cell that runs."""
    take_up()
    ipython.events.register("pre_run_cell", lambda info: session.begin_cell(info.raw_cell, info.cell_id))
    ipython.events.register("post_run_cell", lambda result: session.end_cell())
    ipython.events.register("post_run_cell", _tell_the_class())
    print(session.describe())
    if error := _obstacle():
        magics.refuse(error)
        print(f"{error.what} Why: {error.why}. To have it: {error.fix}.")


def _obstacle() -> LabError | None:
    """What keeps the lab of this kernel's notebook from its mesh. Where Jupyter does not name that, `goto` tells."""
    found = [lab for lab in labs.LABS if lab.number == notebook_of(os.environ)]
    return availability.obstacle(found[0]) if found else None


def _tell_the_class() -> Callable[[object], None]:
    """What is done after each cell for whoever joined a class; nothing is even loaded for others."""
    told: list[Teller] = []

    def after_a_cell(result: object) -> None:
        if settings().headless or not settings().class_record.exists():
            return
        if not told:
            from labkit.classroom.client import Teller

            told.append(Teller())
        told[0].notice()

    return after_a_cell


def take_up() -> None:
    """From now on everything is asked of the mesh that was chosen."""
    mesh, its_session = chosen()
    backend.install(mesh)
    session.install(its_session)


def chosen() -> tuple[backend.Backend, Session]:
    """The mesh that LABKIT_VENUE names, else the one that this machine allows, written down for `labkit record`.

    Raises LabError for a context, or a namespace in it, that the course cannot work in.
    """
    mesh, its_session = _named()
    written_to = settings().recorder
    return (Recorder(mesh, Path(written_to)) if written_to else mesh), its_session


def _named() -> tuple[backend.Backend, Session]:
    s = settings()
    if not s.venue:
        return _live() if engine.state().usable else _recorded()
    if s.context:
        return _context()
    return _live() if s.venue == "kind" else _recorded()


def _live() -> tuple[backend.Backend, Session]:
    return Live(), Session()


def _recorded() -> tuple[backend.Backend, Session]:
    return Replay(), Session(describe=_recorded_line, is_live=False)


def _recorded_line() -> str:
    named = os.environ.get("LABKIT_VENUE", "")
    if not (named.startswith(IN_CONTEXT) and is_beyond_a_namespace(os.environ)):
        return replay.described()
    context = named.removeprefix(IN_CONTEXT)
    return f"{replay.described()}. This lab needs more than a namespace of context {context}, so it goes on recorded"


def _context() -> tuple[backend.Backend, Session]:
    from labkit.api.guard import Guard
    from labkit.cluster import context
    from labkit.course.adoption import adopt
    from labkit.mesh import istio

    with backend.use(Live()) as live:
        commands = context.open_way()
    guard, there = Guard(live, NAMESPACE, commands), Session(gateway=context.gateway, owns_cluster=False)
    with backend.use(guard), session.use(there):
        adopt()
        found = f"Istio {version} found in place" if (version := istio.version()) else "no Istio in it"
    line = f"Live mesh: context {settings().context}, namespace {NAMESPACE}, {found}"
    return guard, replace(there, describe=lambda: line)
