"""A bundle: written whole, and refused where it is cut, changed, for another machine or of another course."""

from __future__ import annotations

import json
import tarfile
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit import backend
from labkit.cluster import bundle, downloads, sources
from labkit.cluster.bundle import contents, installing, writing
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import ISTIO
from labkit.settings import settings as lab_settings
from tests.fake import Fake

NODE = "istio-lab/node:0123456789ab"
HELD = contents.Contents(
    form=contents.FORM,
    system=lab_settings().system,
    architecture=lab_settings().architecture,
    versions=contents.versions(),
    source="packages",
    differences=("a chart",),
    node_image=NODE,
    files={},
)


class Engine(Fake):
    """A container engine, and what it was asked to load."""

    def __init__(self, *images: str) -> None:
        self.images, self.loaded = set(images), []

    def run(self, argv, **_):
        if argv[:2] == ["docker", "load"]:
            self.loaded.append(argv[-1])
            self.images.add(NODE)
        found = argv[:2] != ["docker", "image"] or argv[-1] in self.images
        return backend.Completed(tuple(argv), 0 if found else 1, "", "", 0.0)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LABKIT_SOURCE", raising=False)
    lab_settings.cache_clear()
    yield tmp_path / "home"
    lab_settings.cache_clear()


@pytest.fixture
def folder(tmp_path):
    """An unpacked bundle."""
    made = tmp_path / "bundle"
    (made / contents.WHEELS).mkdir(parents=True)
    archive = downloads.archive_name(ISTIO, HELD.system, HELD.architecture)
    for name in (
        "kind",
        "kubectl",
        "helm",
        archive,
        contents.GATEWAY_API,
        contents.NODE_IMAGE,
        "wheels/a-1.0-py3-none-any.whl",
    ):
        (made / name).write_text(f"the content of {name}")
    put(made, files={str(file.relative_to(made)): downloads.sha256_of(file) for file in writing._files(made)})
    return made


def put(folder, **changed) -> None:
    (folder / contents.FILE).write_text(replace(HELD, **changed).as_json())


def silent() -> Progress:
    return Progress(lambda event: None, backend.now)


@pytest.fixture
def unpacked(monkeypatch):
    """Istio's release is not unpacked here: what stands for it is no archive."""
    monkeypatch.setattr(installing, "ensure_release", lambda source, progress: None)


def test_what_was_installed_is_the_source_that_is_here(folder, home, unpacked):
    with backend.use(Engine()) as engine:
        installing.install(folder, silent())
        source = sources.choose()
        assert source.name == "bundle"
        assert source.node_image(silent()) == NODE
        assert source.differences == ("a chart",)
        assert source.origin == "packages"
        assert source.gateway_api(silent()).read_text() == f"the content of {contents.GATEWAY_API}"
    assert engine.loaded == [str(folder / contents.NODE_IMAGE)]
    assert (home / "bin/kind").stat().st_mode & 0o111
    assert not (bundle.installed() / contents.WHEELS).exists()
    assert not (bundle.installed() / contents.NODE_IMAGE).exists()


def test_a_second_time_loads_nothing(folder, unpacked):
    with backend.use(Engine(NODE)) as engine:
        installing.install(folder, silent())
        installing.install(folder, silent())
    assert engine.loaded == []


def test_a_node_image_that_went_is_missed(folder, unpacked):
    with backend.use(Engine()) as engine:
        installing.install(folder, silent())
        engine.images.clear()
        assert not bundle.Bundle().is_here()
        with pytest.raises(LabError, match="does not hold"):
            bundle.Bundle().node_image(silent())


def refused(folder, words: str) -> None:
    with backend.use(Engine()) as engine, pytest.raises(LabError) as caught:
        installing.install(folder, silent())
    assert words in str(caught.value)
    assert engine.loaded == []
    assert not bundle.installed().exists()


@pytest.mark.parametrize("name", ["kind", contents.NODE_IMAGE, "wheels/a-1.0-py3-none-any.whl"])
def test_one_that_was_changed_or_cut_is_refused(folder, name):
    (folder / name).write_text("somebody else's")
    refused(folder, f"{name} is not what it was")
    (folder / name).unlink()
    refused(folder, f"{name} is missing")
    (folder / name).symlink_to("/etc/passwd")
    refused(folder, f"{name} is missing")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"form": 2}, "its form is 2"),
        ({"architecture": "s390x"}, "is for linux-s390x"),
        ({"system": "plan9"}, "is for plan9-"),
        ({"versions": {**HELD.versions, "istio": "1.0.0"}}, "istio 1.0.0"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "names a file '../../etc/passwd'"),
        ({"files": {"/etc/passwd": "0" * 64}}, "names a file '/etc/passwd'"),
        ({"files": {"wheels/../kind": "0" * 64}}, "names a file"),
        ({"node_image": "--privileged"}, "names no node image"),
        ({"node_image": None}, "names no node image"),
    ],
)
def test_one_that_is_not_for_here_is_refused(folder, changed, words):
    put(folder, **changed)
    refused(folder, words)


@pytest.mark.parametrize(
    "told", ["", "{", "[]", "null", '{"form": 1}', '{"form": 1, "differences": null}', "[" * 99999]
)
def test_one_that_says_nothing_of_itself_is_refused(folder, told):
    (folder / contents.FILE).write_text(told)
    refused(folder, "is not installed")


def test_where_there_is_none_it_says_what_to_do(tmp_path):
    refused(tmp_path, "unpack the archive")


def test_an_installed_one_of_an_earlier_course_is_no_source(folder, unpacked, monkeypatch):
    with backend.use(Engine()):
        installing.install(folder, silent())
        monkeypatch.setattr(contents, "ISTIO", "9.9.9")
        assert not bundle.Bundle().is_here()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*vars(HELD), "other"]), json_values))
def test_whatever_stands_in_it_is_refused_in_words(tmp_path, changed):
    (tmp_path / contents.FILE).write_text(json.dumps({**vars(HELD), **changed}))
    with suppress(LabError):
        assert isinstance(contents.read(tmp_path), contents.Contents)


class Here:
    """A source that has everything."""

    name, origin, differences = "packages", "packages", ("a chart",)

    def __init__(self, folder):
        self.folder = folder

    def _file(self, name):
        (self.folder / name).write_text(name)
        return self.folder / name

    def tool(self, program, progress):
        return self._file(program)

    def istio_archive(self, version, system, architecture, progress):
        name = downloads.archive_name(version, system, architecture)
        self._file(f"{name}.sha256")
        return self._file(name)

    def gateway_api(self, progress):
        return self._file("standard-install.yaml")

    def node_image(self, progress):
        return NODE


def test_what_was_written_can_be_installed(tmp_path, monkeypatch, unpacked):
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.setattr(writing.sources, "choose", lambda: Here(there))
    monkeypatch.setattr(writing, "_save", lambda image, to: to.write_text(image))
    monkeypatch.setattr(writing, "_wheels", lambda into, note: (into.mkdir(), (into / "a-1.whl").write_text("a")))
    archive = writing.write(tmp_path, silent())
    monkeypatch.undo()

    with tarfile.open(archive) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "room", filter="data")
    assert {"istio-lab/Makefile", "istio-lab/notebooks/05-deploy-bookinfo.ipynb", "istio-lab/bundle/kind"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or ".git/" in name]
    assert [path.name for path in tmp_path.glob(".*")] == []
    held = contents.read(tmp_path / "room/istio-lab/bundle")
    assert held.node_image == NODE
    contents.verify(tmp_path / "room/istio-lab/bundle", held, lambda said: None)


def test_one_that_could_not_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.sources, "choose", lambda: Here(tmp_path / "nowhere"))
    to = tmp_path / "to"
    to.mkdir()
    with pytest.raises(OSError, match="nowhere"):
        writing.write(to, silent())
    assert list(to.iterdir()) == []
