"""The cluster's life, in bad luck too. Each test has a home and a cluster of its own, gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import backend
from labkit.cluster import sources
from labkit.progress import Progress
from labkit.settings import settings

pytestmark = pytest.mark.live


class Lab:
    """The `labkit` command with a home and a cluster of its own."""

    def __init__(self, home: Path, cluster: str) -> None:
        self.home, self.node = home, f"{cluster}-control-plane"
        self.env = {**os.environ, "LABKIT_HOME": str(home), "LABKIT_CACHE": str(settings().cache)}
        self.env |= {"LABKIT_CLUSTER": cluster, "LABKIT_PORT": "18080"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(words), env=self.env, text=True, capture_output=True, timeout=600)

    def interrupt(self, *words: str, when: str) -> int:
        """Run until a line has `when` in it, then press Ctrl-C; the exit status."""
        process = subprocess.Popen(self._command(words), env=self.env, text=True, stdout=subprocess.PIPE)
        for line in process.stdout:
            if when in line:
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=60)
        return process.returncode

    def container(self) -> str:
        found = subprocess.run(["docker", "inspect", "-f", "{{.Id}}", self.node], text=True, capture_output=True)
        return found.stdout.strip()

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-u", "-m", "labkit.cli", *words]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "home", "istio-lab-apart")
    yield lab
    subprocess.run(["docker", "rm", "--force", "--volumes", lab.node], capture_output=True)


def test_interrupted_in_each_stage_it_finishes_when_run_again(lab):
    for stage in ("create the cluster", "… Istio ", "… Bookinfo "):
        assert lab.interrupt("up", when=stage) == 130

    finished = lab.run("up")

    assert finished.returncode == 0, finished.stderr
    assert lab.run("status").returncode == 0


def test_up_again_changes_nothing_and_a_stopped_node_comes_back(lab):
    assert lab.run("up", "--until", "cluster").returncode == 0
    made = lab.container()
    assert lab.run("up", "--until", "cluster").returncode == 0
    assert lab.container() == made

    subprocess.run(["docker", "stop", lab.node], check=True, capture_output=True)
    assert lab.run("status").returncode == 1
    assert lab.run("up", "--until", "cluster").returncode == 0
    assert lab.container() == made


def test_a_taken_port_is_left_alone_and_the_next_one_named(lab):
    with socket.create_server(("127.0.0.1", 18080)):
        said = lab.run("up", "--until", "cluster")
    assert said.returncode == 0, said.stderr
    assert "127.0.0.1:18081" in said.stdout
    assert json.loads((lab.home / "cluster.json").read_text())["gateway"] == "http://127.0.0.1:18081"


def test_somebody_elses_cluster_of_the_same_name_is_left_alone(lab):
    run = ["docker", "run", "--detach", "--name", lab.node, "--entrypoint", "sleep", _node_image(), "infinity"]
    subprocess.run(run, check=True, capture_output=True)
    theirs = lab.container()
    for command in (("up", "--until", "cluster"), ("down",)):
        refused = lab.run(*command)
        assert refused.returncode == 1
        assert "LABKIT_CLUSTER" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert lab.container() == theirs


def test_another_kubeconfig_is_neither_read_nor_changed(lab, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".kube").mkdir(parents=True)
    theirs = elsewhere / ".kube" / "config"
    theirs.write_text("not even YAML: [")
    lab.env |= {"HOME": str(elsewhere), "KUBECONFIG": str(theirs)}
    lab.env["LABKIT_CACHE"] = str(settings().cache)

    assert lab.run("up", "--until", "cluster").returncode == 0
    assert lab.run("down").returncode == 0

    assert theirs.read_text() == "not even YAML: ["
    assert not (lab.home / "kubeconfig").exists()
    assert lab.container() == ""


def _node_image() -> str:
    return sources.choose().node_image(Progress(lambda event: None, backend.now))
