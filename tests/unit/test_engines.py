"""Whatever a `docker` on the PATH does, the course tells it from an engine, and works without one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from timing import least, wall

from labkit import backend
from labkit.backend.concurrency import together
from labkit.backend.live import Live
from labkit.cluster import engine

DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
GOOD = {
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "ServerVersion": "20.10.24", "NCPU": 2, "MemTotal": 8 << 30,
    "CgroupVersion": "2", "Driver": "overlay2", "DockerRootDir": "/var/lib/docker", "OSType": "linux",
}  # fmt: skip
PODMAN = {"host": {"arch": "amd64", "cpus": 8}, "store": {"graphDriverName": "overlay"}, "version": {"Version": "5.4"}}


def printing(text: object, *, status: int = 0, errors: str = "") -> str:
    """A program that says these words; any other command than `info` fails, as it does where there is no engine."""
    said = text if isinstance(text, str) else json.dumps(text)
    return f"""#!{sys.executable}
import sys
if sys.argv[1:2] == ["info"]:
    print({said!r})
    print({errors!r}, file=sys.stderr)
    sys.exit({status})
print({DOWN!r}, file=sys.stderr)
sys.exit(1)
"""


def without(key: str) -> str:
    return printing({name: value for name, value in GOOD.items() if name != key})


# a program's text, by what it is; each answers as no engine of this machine's does
ANSWERS = {
    "20.10 with its daemon down": printing({"ServerErrors": [DOWN], "ClientInfo": {"Context": "default"}}),
    "28 with its daemon down": printing({"ServerVersion": "", "NCPU": 0, "MemTotal": 0}, status=1, errors=DOWN),
    "errors that are no list": printing(GOOD | {"ServerErrors": {"code": 1}}),
    "errors of other types": printing(GOOD | {"ServerErrors": [None, 3, ["x"]]}),
    "not allowed": printing("", status=1, errors="permission denied while trying to connect"),
    "podman": printing(PODMAN),
    "podman that warns": printing("Emulate Docker CLI using podman.\n" + json.dumps(PODMAN)),
    "podman over many lines": printing(json.dumps(PODMAN, indent=2)),
    "no version": without("ServerVersion"),
    "no cores": without("NCPU"),
    "no memory": without("MemTotal"),
    "null for all": printing(dict.fromkeys(GOOD)),
    "numbers as words": printing(GOOD | {"NCPU": "two", "MemTotal": "8GiB"}),
    "words as numbers": printing(GOOD | {"ServerVersion": 20.10}),
    "true for a number": printing(GOOD | {"NCPU": True}),
    "less than nothing": printing(GOOD | {"MemTotal": -1}),
    "Windows containers": printing(GOOD | {"OSType": "windows"}),
    "an empty object": printing({}),
    "a list": printing([GOOD]),
    "null": printing("null"),
    "a number of 5,000 digits": printing("9" * 5000),
    "nested beyond reason": printing("{" + '"a":{' * 100_000),
    "no JSON": printing("Usage: docker COMMAND"),
    "half of the JSON": printing(json.dumps(GOOD)[:60]),
    "nothing": printing(""),
    "an error alone": printing("", status=125, errors="docker: 'info' is not a docker command."),
    "a page of a proxy": printing("<html><body>Sign in</body></html>"),
    "a million lines": f"#!{sys.executable}\nprint('WARNING: no swap limit support\\n' * 10**6)\n",
    "no text": f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write(bytes(range(256)))\n",
    "no program": "\0\0\0",
    "an interpreter that is gone": "#!/nowhere/python\n",
    "it is killed": "#!/bin/sh\nkill -9 $$\n",
    "it hangs": "#!/bin/sh\n/bin/sleep 60\n",
    "it hangs, and will not be ended": "#!/bin/sh\ntrap '' INT TERM\n/bin/sleep 15\n/bin/sleep 15\n",
}
HANGS = "it hangs"


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Puts a `docker` on the PATH, alone, in a home of its own; nothing else of the machine is changed."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CLUSTER", "not-there")
    for name in ("LABKIT_VENUE", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)

    def install(text: str) -> None:
        program = folder / "docker"
        program.write_text(text)
        program.chmod(0o755)

    return install


@pytest.mark.parametrize("text", ANSWERS.values(), ids=ANSWERS)
def test_what_is_no_engine_is_told_with_its_reason_and_in_time(docker, text, monkeypatch):
    monkeypatch.setattr(backend, "together", together)
    docker(text)
    with backend.use(Live()):
        assert least(lambda: wall(engine.state), 2) < 2
        found = engine.state()
    assert not found.usable
    assert 0 < len(found.why) < 500
    assert found.fix


# the words of the five ways in; the first cell is what IPython's startup of a notebook's kernel calls
FIRST_CELL = """
from unittest.mock import Mock
from labkit import backend
from labkit.notebook import choosing
choosing.begin(Mock())
"""
LAB = """
from unittest.mock import patch
from jupyterlab.labapp import LabApp
from labkit import cli
with patch.object(LabApp, "launch_instance"), patch.object(cli, "_trust"):
    cli.app(["lab"])
"""
WAYS = {
    "doctor": ["-m", "labkit.cli", "doctor"],
    "status": ["-m", "labkit.cli", "status"],
    "down": ["-m", "labkit.cli", "down"],
    "lab": ["-c", LAB],
    "first cell": ["-c", FIRST_CELL],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", ["20.10 with its daemon down", "podman", "null for all", "a list", "no text", "a million lines"]
)
def test_no_way_into_the_course_ends_in_a_traceback(docker, name, way):
    docker(ANSWERS[name])
    told = subprocess.run([sys.executable, *WAYS[way]], text=True, capture_output=True, timeout=60)
    assert "Traceback" not in told.stdout + told.stderr
    if way in ("lab", "first cell"):
        assert told.returncode == 0
        assert "ecorded mesh" in told.stdout
    else:
        assert told.returncode == 1


@pytest.mark.parametrize("way", ["doctor", "lab", "first cell"])
def test_an_engine_that_hangs_keeps_nobody_waiting_who_can_do_without(docker, way):
    """Compared with one that says at once that it is down: all else that takes time takes it both times."""

    def seconds() -> float:
        return wall(lambda: subprocess.run([sys.executable, *WAYS[way]], capture_output=True, timeout=60))

    docker(ANSWERS["20.10 with its daemon down"])
    usual = min(seconds() for _ in range(3))
    docker(ANSWERS[HANGS])
    assert least(seconds, 2 + usual) < 2 + usual


@pytest.mark.parametrize("way", ["status", "down"])
def test_an_engine_on_a_busy_machine_is_waited_for_by_who_needs_it(docker, way):
    docker(printing(GOOD).replace("    print(", f"    import time; time.sleep({2 * engine.PATIENCE})\n    print(", 1))
    told = subprocess.run([sys.executable, *WAYS[way]], text=True, capture_output=True, timeout=60)
    assert "No container engine" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    "said",
    [
        json.dumps(GOOD),
        "WARNING: bridge-nf-call-iptables is disabled\n" + json.dumps(GOOD),
        json.dumps(GOOD) + "\nWARNING: No swap limit support",
        json.dumps(GOOD, indent=2),
        json.dumps(GOOD | {"CgroupVersion": None, "OSType": None, "ServerErrors": None}),
    ],
)
def test_an_engine_is_told_among_warnings_and_with_what_it_may_leave_out(docker, said):
    docker(printing(said))
    with backend.use(Live()):
        found = engine.state(engine.PATIENT)
    assert (found.usable, found.cpus, found.memory) == (True, 2, 8 << 30)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("unix:///var/run/docker.sock", True),
        ("npipe:////./pipe/docker_engine", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://[::1]:2375", True),
        ("", True),
        ("tcp://docker:2376", False),
        ("tcp://10.0.0.7:2375", False),
        ("ssh://trainer@build.example.org", False),
        ("tcp://[::2", False),
    ],
)
def test_an_engine_on_another_machine_is_refused_with_its_reason(docker, host, here):
    docker(
        printing(GOOD).replace(
            "if sys.argv", f'if sys.argv[1] == "context":\n    print({host!r})\n    sys.exit()\nif sys.argv', 1
        )
    )
    with backend.use(Live()):
        found = engine.state(engine.PATIENT)
    assert found.usable is here
    assert here or host in found.why


@pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker command to ask")
def test_the_real_docker_command_says_which_machine_it_works_on(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    asked = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "tcp://192.0.2.1:2375"
