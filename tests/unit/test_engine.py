"""The engine's states, told apart; and who may install one."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import SourceFileLoader

import pytest
from fake import Fake

from labkit import backend
from labkit.backend.answers import Completed
from labkit.cluster import engine
from labkit.errors import LabError
from labkit.progress import Progress

INFO = {
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "ServerVersion": "20.10.24",
    "NCPU": 2,
    "MemTotal": 8 << 30,
    "CgroupVersion": "2",
    "Driver": "overlay2",
    "DockerRootDir": "/var/lib/docker",
}


class Machine(Fake):
    """A machine on which `docker info` answers as told."""

    def __init__(self, stdout="", stderr="", returncode=0, docker=True) -> None:
        self.answer, self.docker, self.ran = (returncode, stdout, stderr), docker, []

    def which(self, program):
        return f"/usr/bin/{program}" if self.docker else None

    def run(self, argv, **_):
        self.ran.append(" ".join(argv))
        return Completed(tuple(argv), *self.answer, 0)

    def now(self):
        return 0.0


def seen(machine) -> engine.Engine:
    with backend.use(machine):
        return engine.state()


def install(machine):
    with backend.use(machine):
        return engine.install(Progress(lambda event: None, lambda: 0.0))


NOT_RUNNING = Machine(stderr="Cannot connect to the Docker daemon. Is the docker daemon running?", returncode=1)
DENIED = Machine(stderr="permission denied while trying to connect to the Docker daemon socket", returncode=1)


def test_a_running_engine_is_described():
    found = seen(Machine(stdout=json.dumps(INFO)))
    assert found.usable
    assert (found.cpus, found.memory, found.cgroup_version) == (2, 8 << 30, 2)


def test_no_engine_no_permission_and_not_running_have_remedies_of_their_own():
    fixes = [seen(machine).fix for machine in (Machine(docker=False), DENIED, NOT_RUNNING)]
    assert not any(seen(machine).usable for machine in (Machine(docker=False), DENIED, NOT_RUNNING))
    assert all(fixes)
    assert len(set(fixes)) == 3
    assert "usermod" in seen(DENIED).fix


def test_requiring_an_engine_that_is_not_there_raises():
    with backend.use(NOT_RUNNING), pytest.raises(LabError):
        engine.require()


def test_an_engine_that_answers_is_left_alone():
    machine = Machine(stdout=json.dumps(INFO))
    assert install(machine).usable
    assert {command.split()[0] for command in machine.ran} == {"docker"}


@pytest.mark.parametrize(("debian", "user"), [(False, 0), (True, 1000)])
def test_elsewhere_nothing_is_installed(monkeypatch, debian, user):
    monkeypatch.setattr(engine, "_is_debian", lambda: debian)
    monkeypatch.setattr(engine.os, "geteuid", lambda: user)
    machine = Machine(docker=False)
    with pytest.raises(LabError) as caught:
        install(machine)
    assert machine.ran == []
    assert caught.value.fix


def test_what_was_not_started_here_is_not_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    machine = Machine()
    with backend.use(machine):
        assert not engine.stop()
    assert machine.ran == []


@pytest.mark.parametrize(("bounding", "has"), [("000001fffeffffff", False), ("000001ffffffffff", True)])
def test_a_capability_is_read_from_the_bounding_set(bounding, has):
    status = f"Name:\tcat\nCapEff:\t0000000000000000\nCapBnd:\t{bounding}\n"
    assert engine.has_capability(status, engine.CAP_SYS_RESOURCE) is has


@pytest.fixture
def shim(monkeypatch):
    loader = SourceFileLoader("shim", str(engine.SHIM))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("shim", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module.os, "execv", lambda *argv: None)
    return module


@pytest.mark.parametrize(
    ("words", "process"),
    [
        (["create", "--bundle", "{folder}", "id"], lambda spec: spec["process"]),
        (["exec", "--process", "{folder}/config.json", "id"], lambda spec: spec),
    ],
)
def test_the_shim_takes_out_one_capability_and_nothing_else(shim, tmp_path, words, process):
    file = tmp_path / "config.json"
    asked = {"cwd": "/", "capabilities": {"bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"], "effective": ["CAP_CHOWN"]}}
    file.write_text(json.dumps({"process": asked} if words[0] == "create" else asked))
    shim.main([word.format(folder=tmp_path) for word in words])
    got = process(json.loads(file.read_text()))
    assert got == {"cwd": "/", "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_CHOWN"]}}


def test_the_shim_adds_no_capabilities_where_none_were_named(shim, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"cwd": "/"}))
    shim.main(["exec", "--process", str(file), "id"])
    assert json.loads(file.read_text()) == {"cwd": "/"}
