"""What the course notes on disk: damaged in any way, it costs the reader one line at most and nothing of their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend, session, state
from labkit.backend import places
from labkit.cluster import kind
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import settings

DAMAGES = {
    "empty": b"",
    "cut": b'{"lab": "0', "null": b"null", "another type": b"[1]", "a text": b'"05"', "bytes": b"\xff\xfe\x00",
    "of a later version": b'{"version": 9, "lab": {"number": 5}, "container": ["a"], "gateway": {"http": 1}}',
    "deep": b"[" * 100_000,
}  # fmt: skip


@pytest.fixture(params=DAMAGES)
def damaged(request, tmp_path):
    path = tmp_path / "note.json"
    path.write_bytes(DAMAGES[request.param])
    return path


def test_a_damaged_note_reads_as_one_that_is_not_there(damaged):
    assert state.read(damaged, {"a": 1}) in ({"a": 1}, json.loads(DAMAGES["of a later version"]))
    assert state.read(damaged.with_name("none"), []) == []
    assert state.read(damaged.parent, {}) == {}


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.lists(st.integers())))
def test_what_was_written_is_read(tmp_path_factory, note):
    path = tmp_path_factory.mktemp("notes") / "deep" / "note.json"
    state.write(path, note)
    assert state.read(path, {}) == note
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, step):
    path = tmp_path / "notes" / "note.json"
    state.write(path, {"a": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(LabError) as refused:
        state.write(path, {"a": 2})
    assert "No space left" in refused.value.why
    assert [each.name for each in path.parent.iterdir()] == ["note.json"]
    assert state.read(path, {}) == {"a": 1}


def test_a_folder_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "note.json", tmp_path):
        with pytest.raises(LabError):
            state.write(path, {})
    with pytest.raises(LabError):
        state.update(tmp_path / "file" / "note.json", {}, lambda note: note)


MANY = """
import sys
from pathlib import Path
from labkit import state
for number in range(40):
    state.update(Path(sys.argv[1]), {}, lambda note: {**note, f"{sys.argv[2]}-{number}": 1})
"""


def test_two_kernels_at_once_lose_nothing(tmp_path):
    path = tmp_path / "note.json"
    kernels = [subprocess.Popen([sys.executable, "-c", MANY, str(path), name]) for name in ("one", "other")]
    assert [kernel.wait(60) for kernel in kernels] == [0, 0]
    assert len(state.read(path, {})) == 80


# -- the notes themselves -----------------------------------------------------------------------------
@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_reader_is_may_be_damaged(home, damage):
    settings().lab_record.write_bytes(DAMAGES[damage])
    assert places.remembered() is None
    places.remember("05")
    assert places.remembered() == "05"


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_note_of_the_cluster_there_is_one_clear_line(home, damage):
    settings().cluster_record.write_bytes(DAMAGES[damage])
    with backend.use(Fake()), session.use(session.Session()), pytest.raises(LabError) as missing:
        session.gateway()
    assert "labkit up" in missing.value.fix


class Standing(Fake):
    """A cluster of the course's that runs, and a kind that knows it."""

    def __init__(self) -> None:
        self.deleted = False

    def run(self, argv, **_):
        self.deleted |= argv[:2] == ["docker", "rm"]
        said = yaml.safe_dump({"clusters": [1], "contexts": [2], "users": [3]}) if "kubeconfig" in argv else ""
        return backend.Completed(tuple(argv), 0, said, "", 0.0)

    def kubernetes(self, method, path, body, query, content_type):
        return "ok"


class Source:
    def tool(self, name, progress):
        return Path(name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("note", ["cluster_record", "kubeconfig"])
def test_up_goes_on_with_the_cluster_and_mends_the_note(home, monkeypatch, note, damage):
    monkeypatch.setattr(kind, "node", lambda: kind.Node("istio-lab-control-plane", "c0ffee", True, True, 8080))
    monkeypatch.setattr(kind.engine, "require", lambda *_: None)
    state.write(settings().cluster_record, {"container": "c0ffee", "gateway": "http://127.0.0.1:8080"})
    state.write_text(settings().kubeconfig, yaml.safe_dump({"clusters": [1], "contexts": [2], "users": [3]}))
    getattr(settings(), note).write_bytes(DAMAGES[damage])
    standing = Standing()
    with backend.use(standing):
        kind.up(Source(), Progress(lambda event: None, lambda: 0.0))
    assert not standing.deleted
    assert places.made() == {"container": "c0ffee", "gateway": "http://127.0.0.1:8080"}
    assert yaml.safe_load(settings().kubeconfig.read_text())["users"] == [3]


def test_a_cluster_keeps_whose_images_it_has(home, monkeypatch):
    made = kind.Node("istio-lab-control-plane", "c0ffee", True, True, 8080)
    state.write_text(settings().kubeconfig, yaml.safe_dump({"clusters": [1], "contexts": [2], "users": [3]}))
    kind._write_down(made, "releases")
    kind._write_down(made)
    assert places.made()["source"] == "releases"


def test_a_cluster_that_was_never_finished_is_made_anew(home, monkeypatch):
    existing = kind.Node("istio-lab-control-plane", "c0ffee", True, True, 8080)
    monkeypatch.setattr(kind, "node", lambda: existing)
    standing = Standing()
    with backend.use(standing):
        kind.remove_half_made(Progress(lambda event: None, lambda: 0.0))
    assert standing.deleted
