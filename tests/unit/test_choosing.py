"""Which mesh a kernel works on, and that it hears of the cells that run."""

from __future__ import annotations

import pytest
from fake import Fake
from IPython.core.interactiveshell import InteractiveShell

from labkit import backend
from labkit.backend.live import Live
from labkit.backend.requests import CellBegins, CellEnds
from labkit.cluster import engine
from labkit.cluster.engine import Engine
from labkit.errors import LabError
from labkit.notebook import choosing
from labkit.recordings.recorder import Recorder
from labkit.recordings.replay import Replay
from labkit.session import Session


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    for name in ("LABKIT_VENUE", "LABKIT_RECORDER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("usable", "kind"), [(True, Live), (False, Replay)])
def test_the_machine_decides(monkeypatch, usable, kind):
    monkeypatch.setattr(engine, "state", lambda: Engine(usable))
    assert type(choosing.chosen()[0]) is kind


@pytest.mark.parametrize(("named", "kind"), [("kind", Live), ("recorded", Replay)])
def test_who_names_one_gets_it(monkeypatch, named, kind):
    monkeypatch.setattr(engine, "state", lambda: Engine(named != "kind"))
    monkeypatch.setenv("LABKIT_VENUE", named)
    assert type(choosing.chosen()[0]) is kind


def test_an_unknown_one_is_refused(monkeypatch):
    monkeypatch.setenv("LABKIT_VENUE", "minikube")
    with pytest.raises(LabError) as caught:
        choosing.chosen()
    assert "minikube" in caught.value.what
    assert "recorded" in caught.value.why


def test_a_kernel_of_make_record_writes_down_what_it_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_RECORDER", str(tmp_path / "cells"))
    assert type(choosing.chosen()[0]) is Recorder


def test_the_mesh_hears_of_each_cell(monkeypatch, capsys):
    heard = []

    class Hearing(Fake):
        def notice(self, notice):
            heard.append(notice)

    monkeypatch.setattr(choosing, "chosen", lambda: (Hearing(), Session()))
    before = backend._current
    shell = InteractiveShell()
    try:
        shell.run_cell("from labkit.notebook import choosing; choosing.begin(get_ipython())", store_history=True)
        shell.run_cell("1 + 1", store_history=True)
    finally:
        backend.install(before)
        InteractiveShell.clear_instance()
    assert [type(notice) for notice in heard] == [CellEnds, CellBegins, CellEnds]
    assert heard[1].source == "1 + 1"
    assert "Live mesh" in capsys.readouterr().out
