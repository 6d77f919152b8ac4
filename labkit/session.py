"""A session of the course: where the reader is in it, and whose mesh it works on. It reaches out through requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labkit import backend
from labkit.backend import places
from labkit.backend.requests import CellBegins, CellEnds, Entered, Gateway, Watched
from labkit.errors import LabError
from labkit.settings import settings


def _own_gateway() -> str:
    gateway = places.made().get("gateway")
    if not isinstance(gateway, str):
        raise LabError(
            "There is no cluster of the course's yet.",
            f"{settings().cluster_record} tells of none",
            "run `labkit up --until cluster`, or notebook 00",
        )
    return gateway


@dataclass
class Session:
    """What a kernel knows of the mesh that it works on.

    describe: which mesh answers, and since when, in one line. gateway: finds the address of its ingress gateway.
    owns_cluster: the whole cluster is the course's, Istio with it; else one namespace is, and the rest is found.
    is_live: there is a mesh; else what one answered is played back.
    lab: the lab that was entered last in this kernel.
    """

    describe: Callable[[], str] = places.live
    gateway: Callable[[], str] = _own_gateway
    owns_cluster: bool = True
    is_live: bool = True
    lab: str | None = None


_current = Session()


def install(session: Session) -> None:
    """From now on the course works on this mesh."""
    global _current
    _current = session


@contextmanager
def use(session: Session) -> Iterator[Session]:
    """Inside the block the course works on this mesh."""
    global _current
    before, _current = _current, session
    try:
        yield session
    finally:
        _current = before


def describe() -> str:
    """Which mesh answers, and since when: one line."""
    return _current.describe()


def owns_cluster() -> bool:
    """Whether the whole cluster is the course's, Istio with it; else one namespace is, and the rest is found."""
    return _current.owns_cluster


def is_live() -> bool:
    """Whether there is a mesh; else what one answered is played back."""
    return _current.is_live


def gateway() -> str:
    """The address of the mesh's ingress gateway, without a path: `http://127.0.0.1:8080`. Raises LabError."""
    return backend.perform(Gateway("gateway", lambda _: _current.gateway(), lambda _: None))


def enter(lab: str) -> None:
    """Remember that the cluster stands at the start of this lab."""
    _current.lab = lab
    with suppress(LabError):  # where the folder cannot be written, this kernel alone knows
        places.remember(lab)
    backend.perform(Entered(lab))


def entered() -> str | None:
    """The lab that was entered last, in this kernel or an earlier one."""
    return _current.lab or places.remembered()


def reader_folder() -> Path:
    """Where the reader's own commands run: the release that they unpacked, else the course's own copy of it."""
    s = settings()
    folder = next((each for each in (s.istio_folder, s.release_folder) if each.exists()), s.home)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def begin_cell(source: str, cell: str | None) -> None:
    """A notebook's cell begins; `cell` is its id, where the frontend tells it."""
    backend.perform(CellBegins(source, cell))


def end_cell() -> None:
    """The cell that began is over, however it ended."""
    backend.perform(CellEnds())


@contextmanager
def watched() -> Iterator[None]:
    """Inside the block somebody watches: what is played back takes its time."""
    backend.perform(Watched(True))
    try:
        yield
    finally:
        backend.perform(Watched(False))
