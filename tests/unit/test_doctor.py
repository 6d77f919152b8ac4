"""The doctor: each finding judged on its own, and an answer in time whatever hangs."""

from __future__ import annotations

import shutil
import socket
import threading
from dataclasses import replace

import pytest
from timing import least, wall

from labkit import backend
from labkit.backend.concurrency import together
from labkit.cluster import doctor
from labkit.cluster.doctor import GIB, Finding
from labkit.cluster.engine import Engine
from labkit.cluster.kind import Node
from labkit.errors import LabError
from labkit.settings import settings


@pytest.mark.parametrize(
    ("gib", "status"), [(2.4, "bad"), (2.5, "warning"), (3.9, "warning"), (4, "good"), (24, "good")]
)
def test_memory(gib, status):
    assert doctor._memory(int(gib * GIB)).status == status


@pytest.mark.parametrize(("gib", "status"), [(4.9, "bad"), (5, "warning"), (9.9, "warning"), (10, "good")])
def test_disk(gib, status):
    assert doctor._disk(int(gib * GIB)).status == status


def test_a_disk_inside_a_virtual_machine_is_nobodys_fault():
    assert doctor._disk(None).status == "good"


@pytest.mark.parametrize(("version", "status"), [(1, "warning"), (2, "good")])
def test_cgroups(version, status):
    assert doctor._cgroups(version).status == status


@pytest.mark.parametrize(("cores", "status"), [(1, "warning"), (2, "good")])
def test_cpus(cores, status):
    assert doctor._cpus(cores).status == status


def test_a_kernel_without_what_sidecars_need_is_named():
    whole = frozenset(option for options in doctor.NETFILTER.values() for option in options)
    assert doctor._redirects(whole).status == doctor._redirects(whole - {"IP_NF_NAT"}).status == "good"
    lacking = doctor._redirects(whole - {"NETFILTER_XT_MATCH_OWNER"})
    assert lacking.status == "bad"
    assert "xt_owner" in lacking.value


def test_inotify_names_only_what_is_low():
    low = doctor._inotify_limits({"max_user_watches": 524288, "max_user_instances": 128})
    assert low.status == "warning"
    assert "max_user_instances=512" in low.remedy
    assert "max_user_watches" not in low.remedy
    assert doctor._inotify_limits({"max_user_watches": 524288, "max_user_instances": 512}).status == "good"


@pytest.mark.parametrize(
    ("system", "architecture", "status"),
    [
        ("linux", "amd64", "good"),
        ("darwin", "arm64", "good"),
        ("windows", "amd64", "bad"),
        ("linux", "riscv64", "bad"),
    ],
)
def test_platforms(system, architecture, status):
    assert doctor._published_for(system, architecture).status == status


def engine_with(**differing) -> Engine:
    usual = {"name": "Docker", "version": "29", "cpus": 4, "memory": 8 * GIB, "cgroup_version": 2, "data_folder": "/"}
    return Engine(usable=True, **(usual | differing))


def found(monkeypatch, state: Engine) -> dict[str, str]:
    monkeypatch.setattr(doctor.engine, "state", lambda: state)
    return {finding.subject: finding.status for finding in doctor._engine()}


def test_a_good_engine(monkeypatch):
    monkeypatch.setattr(doctor, "_free", lambda folder: 20 * GIB)
    assert set(found(monkeypatch, engine_with()).values()) == {"good"}


def test_a_small_old_engine(monkeypatch):
    monkeypatch.setattr(doctor, "_free", lambda folder: 20 * GIB)
    small = found(monkeypatch, engine_with(memory=2 * GIB, cgroup_version=1))
    assert small["memory"] == "bad"
    assert small["cgroup version"] == "warning"
    assert small["container engine"] == "good"


def test_no_engine_says_why_and_what_to_do(monkeypatch):
    monkeypatch.setattr(doctor.engine, "state", lambda: Engine(usable=False, why="permission denied", fix="sudo"))
    assert doctor._engine() == [Finding("container engine", "permission denied", "bad", "sudo")]


@pytest.mark.parametrize(
    ("node", "status"),
    [
        (None, "warning"),
        (Node("n", "c", running=True, ours=True, port=None), "warning"),
        (Node("n", "c", running=True, ours=False, port=-1), "warning"),
        (Node("n", "c", running=True, ours=True, port=-1), "good"),
    ],
)
def test_a_taken_port_is_good_only_where_our_own_cluster_took_it(monkeypatch, node, status):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("LABKIT_PORT", str(port))
        ours = node and replace(node, port=port if node.port else None)
        monkeypatch.setattr(doctor.kind, "node", lambda: ours)
        assert [finding.status for finding in doctor._port()] == [status]


def test_the_room_where_the_engine_keeps_its_data_is_measured(monkeypatch):
    if settings().system != "linux":
        assert doctor._free("/") is None
    else:
        assert doctor._free("/") == pytest.approx(shutil.disk_usage("/").free, rel=0.05)


def test_only_what_is_bad_forbids_a_live_mesh():
    good, warning, bad = (Finding("x", "y", status) for status in ("good", "warning", "bad"))
    assert doctor.can_run_live([good, warning])
    assert not doctor.can_run_live([good, bad])


def test_a_command_that_cells_run_and_this_machine_lacks_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "COMMANDS", ("sh", "no-such-command"))
    [finding] = doctor._commands()
    assert finding.status == "warning"
    assert "no-such-command" in finding.value
    assert "sh," not in finding.value
    monkeypatch.setattr(doctor, "COMMANDS", ("sh",))
    assert doctor._commands() == [Finding("commands", "sh", "good")]


@pytest.fixture
def healthy(monkeypatch):
    """Every probe answers at once."""
    for probe in ("_engine", "_port", "_netfilter", "_inotify", "_source"):
        monkeypatch.setattr(doctor, probe, lambda probe=probe: [Finding(probe, "", "good")])


def test_what_hangs_is_a_finding_and_the_rest_is_told(healthy, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(backend, "together", together)
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    monkeypatch.setattr(doctor, "_engine", never.wait)
    assert least(lambda: wall(doctor.examine), 2) < 2
    findings = doctor.examine()
    assert findings[0].subject == "container engine"
    assert not doctor.can_run_live(findings)
    assert {"_port", "architecture", "istioctl"} <= {finding.subject for finding in findings}
    never.set()


def test_an_error_in_a_probe_is_a_finding_with_its_fix(healthy, monkeypatch):
    def refuse() -> list[Finding]:
        raise LabError("No.", "nowhere to go", "go home")

    monkeypatch.setattr(doctor, "_source", refuse)
    assert Finding("image source", "nowhere to go", "bad", "go home") in doctor.examine()


def test_every_finding_that_is_not_good_has_a_remedy():
    judged = [
        doctor._memory(GIB),
        doctor._disk(GIB),
        doctor._cgroups(1),
        doctor._cpus(1),
        doctor._inotify_limits({"max_user_watches": 1, "max_user_instances": 1}),
        doctor._published_for("plan9", "mips"),
        doctor._lacking(["make", "openssl"]),
        doctor._silent("container engine"),
    ]
    assert all(finding.status != "good" and finding.remedy for finding in judged)


def test_together_keeps_the_order_and_raises_what_was_raised():
    assert list(together({"b": lambda: 1, "a": lambda: 2}, 5).items()) == [("b", 1), ("a", 2)]
    with pytest.raises(ZeroDivisionError):
        together({"a": lambda: 1 / 0}, 5)
