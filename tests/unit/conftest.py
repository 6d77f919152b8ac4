"""For all unit tests: each has a home of its own, and the reader's is out of bounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import platformdirs
import pytest

from labkit import backend, session

READERS = [
    platformdirs.user_data_path("istio-lab", appauthor=False),
    *(Path.home() / name for name in (".kube", ".docker")),
]
READS = {"open", "os.listdir", "os.scandir"}  # https://docs.python.org/3/library/audit_events.html

_homes = count()
_reads: list[str] = []


def _note(event: str, words: tuple) -> None:
    if event in READS and isinstance(words[0], (str, os.PathLike)):
        path = os.path.abspath(os.fspath(words[0]))
        if any(path == str(folder) or path.startswith(f"{folder}{os.sep}") for folder in READERS):
            _reads.append(path)


sys.addaudithook(_note)


def point_at(home: Path, setenv: Callable[[str, str], None]) -> None:
    """Have this process, and all that it starts, find everything that is a reader's own in `home`."""
    home.mkdir()
    names = {"HOME": "", "LABKIT_HOME": "labkit", "LABKIT_CACHE": "labkit/cache", "XDG_CACHE_HOME": ".cache",
             "XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share", "XDG_STATE_HOME": ".local/state",
             "KUBECONFIG": ".kube/config", "DOCKER_CONFIG": ".docker"}  # fmt: skip
    for name, within in names.items():
        setenv(name, str(home / within))


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the homes lie. What is made once for many tests finds one here, too."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        point_at(folder / "shared", patch.setenv)
        yield folder


@pytest.fixture(autouse=True)
def home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home; a test fails that read the reader's own."""
    home = homes / str(next(_homes))
    point_at(home, monkeypatch.setenv)
    _reads.clear()
    yield home
    assert _reads == [], "a unit test read what is the reader's own"


@pytest.fixture(autouse=True)
def own_session() -> Iterator[session.Session]:
    """Each test begins where nothing of the course was entered."""
    with session.use(session.Session()) as fresh:
        yield fresh


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that come are waited for on a machine that stands still; a test of silence has a deadline of its own."""
    together = backend.together
    monkeypatch.setattr(backend, "together", lambda questions, seconds: together(questions, seconds * 20))
