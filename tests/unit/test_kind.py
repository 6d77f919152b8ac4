"""What the course asks of kind, and what it makes of kind's refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fake import Fake

from labkit import backend
from labkit.cluster import kind
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import GATEWAY_HOST, settings


class Engine(Fake):
    """A machine whose engine knows one container, and whose ports are taken up to a limit."""

    def __init__(self, container: dict | None = None, taken: frozenset[int] = frozenset()) -> None:
        self.container, self.taken = container, taken

    def run(self, argv, **_) -> backend.Completed:
        found = self.container is not None
        return backend.Completed(tuple(argv), 0 if found else 1, json.dumps(self.container), "", 0.0)

    def port_is_free(self, host: str, port: int) -> bool:
        return port not in self.taken


def container(mounted: str, source: str = "/") -> dict:
    return {
        "Id": "abc",
        "State": {"Running": True},
        "HostConfig": {"PortBindings": {"30080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}},
        "Mounts": [{"Source": source, "Destination": mounted}],
    }


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setenv("LABKIT_PORT", "8080")
    return tmp_path


@pytest.mark.parametrize(
    "told",
    [
        "{}/owner",
        "/host_mnt{}/owner",
        "/run/desktop/mnt/host/wsl/docker-desktop-bind-mounts/Ubuntu/0c5a",
        "/snap/{}",
    ],
)
def test_a_node_with_the_courses_mark_is_ours_whatever_the_engine_calls_the_folder(home, told):
    with backend.use(Engine(container(kind.mark(settings()), told.format(home)))):
        node = kind.node()
    assert (node.ours, node.port, node.running) == (True, 8081, True)


def test_a_node_of_another_home_is_not_ours():
    other = replace(settings(), home=Path("/somewhere/else"))
    with backend.use(Engine(container(kind.mark(other)))):
        assert not kind.node().ours


@pytest.mark.parametrize("printed", ["", "null", "[]", "no JSON"])
def test_an_engine_that_shows_no_container_has_none(monkeypatch, printed):
    class Odd(Engine):
        def run(self, argv, **_):
            return backend.Completed(tuple(argv), 0, printed, "", 0.0)

    monkeypatch.setattr(kind.engine, "require", lambda: None)
    with backend.use(Odd()):
        assert kind.node() is None


def test_the_next_free_port_is_taken():
    with backend.use(Engine(taken=frozenset({8080, 8081}))):
        assert kind.free_port() == 8082


def test_no_free_port_is_said():
    with backend.use(Engine(taken=frozenset(range(8000, 9000)))), pytest.raises(LabError):
        kind.free_port()


@pytest.mark.parametrize("cgroup_version", [1, 2])
def test_the_gateway_listens_on_loopback_alone(home, cgroup_version):
    document = yaml.safe_load(kind.configuration(settings(), 8080, cgroup_version))
    [node] = document["nodes"]
    assert {mapping["listenAddress"] for mapping in node["extraPortMappings"]} == {GATEWAY_HOST}
    assert all(mount["readOnly"] for mount in node["extraMounts"])


def test_only_cgroup_v1_asks_the_kubelet_for_leniency(home):
    old, new = (kind.configuration(settings(), 8080, version) for version in (1, 2))
    assert "failCgroupV1: false" in old
    assert "failCgroupV1" not in new


class Making(Engine):
    """A cluster at which kind is still at work: its kubeconfig is to be had, its API server refuses or not."""

    refused = False

    def run(self, argv, **_) -> backend.Completed:
        if argv[0] == "docker":
            return super().run(argv)
        return backend.Completed(tuple(argv), 0, "kind: Config", "", 0.0)

    def kubernetes(self, *_) -> str:
        if self.refused:
            raise backend.KubernetesError(403, "Forbidden", "not yet", "")
        return "{}"


def test_a_cluster_answers_before_kind_is_done_and_its_kubeconfig_is_the_owners_alone(home):
    with backend.use(Making(container(""))):
        assert kind.answers()
    assert (home / "kubeconfig").read_text() == "kind: Config"
    assert (home / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_a_cluster_without_a_node_or_without_an_admin_does_not_answer_yet(home, monkeypatch):
    monkeypatch.setattr(kind.engine, "require", lambda: None)
    with backend.use(Making()):
        assert not kind.answers()
    assert not (home / "kubeconfig").exists()
    refusing = Making(container(""))
    refusing.refused = True
    with backend.use(refusing):
        assert not kind.answers()


def test_an_unfinished_clusters_kubeconfig_goes_before_its_successor_comes(home):
    (home / "kubeconfig").write_text("stale")
    with backend.use(Engine(container(kind.mark(settings())))):
        kind.remove_half_made(Progress(lambda event: None, lambda: 0.0))
    assert not (home / "kubeconfig").exists()


@pytest.mark.parametrize(
    ("output", "word"),
    [("no space left on device", "docker system df"), ("port is already allocated", "again"), ("", "labkit doctor")],
)
def test_what_kind_says_decides_what_to_do(output, word):
    error = kind._creation_failed(backend.Completed(("kind",), 1, "", output, 0.0))
    assert word in error.fix
