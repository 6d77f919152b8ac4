"""Which mesh a kernel works on, and that it hears of the cells that run."""

from __future__ import annotations

import time

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit import backend
from labkit.backend.live import Live
from labkit.cluster import engine
from labkit.cluster.engine import Engine
from labkit.errors import LabError
from labkit.notebook import choosing
from labkit.recordings.recorder import Recording
from labkit.recordings.replay import Recorded


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    for name in ("LABKIT_VENUE", "LABKIT_TAPE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("usable", "kind"), [(True, Live), (False, Recorded)])
def test_the_machine_decides(monkeypatch, usable, kind):
    monkeypatch.setattr(engine, "state", lambda: Engine(usable))
    assert type(choosing.chosen()) is kind


def test_an_engine_that_fails_is_none(monkeypatch):
    def fail():
        raise LabError("`docker info` did not end.", "it was ended", "look at it")

    monkeypatch.setattr(engine, "state", fail)
    assert type(choosing.chosen()) is Recorded


def test_an_engine_that_hangs_is_none(monkeypatch):
    monkeypatch.setattr(engine, "state", lambda: time.sleep(30))
    monkeypatch.setattr(choosing, "PATIENCE", 0.2)
    before = time.monotonic()
    assert type(choosing.chosen()) is Recorded
    assert time.monotonic() - before < 5


@pytest.mark.parametrize(("named", "kind"), [("kind", Live), ("recorded", Recorded)])
def test_who_names_one_gets_it(monkeypatch, named, kind):
    monkeypatch.setattr(engine, "state", lambda: Engine(named != "kind"))
    monkeypatch.setenv("LABKIT_VENUE", named)
    assert type(choosing.chosen()) is kind


def test_an_unknown_one_is_refused(monkeypatch):
    monkeypatch.setenv("LABKIT_VENUE", "minikube")
    with pytest.raises(LabError) as caught:
        choosing.chosen()
    assert "minikube" in caught.value.what
    assert "recorded" in caught.value.why


def test_a_kernel_of_make_record_writes_down_what_it_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_TAPE", str(tmp_path / "cells"))
    assert type(choosing.chosen()) is Recording


def test_the_venue_hears_of_each_cell(monkeypatch, capsys):
    class Hearing(Live):
        heard: list[str] = []  # noqa: RUF012  one venue, one list

        def begin_cell(self, source, cell):
            self.heard.append(source)

        def end_cell(self):
            self.heard.append("end")

    monkeypatch.setattr(choosing, "chosen", Hearing)
    before = backend._current
    shell = InteractiveShell()
    try:
        shell.run_cell("from labkit.notebook import choosing; choosing.begin(get_ipython())", store_history=True)
        shell.run_cell("1 + 1", store_history=True)
    finally:
        backend.install(before)
        InteractiveShell.clear_instance()
    assert Hearing.heard == ["end", "1 + 1", "end"]
    assert "Live mesh" in capsys.readouterr().out
