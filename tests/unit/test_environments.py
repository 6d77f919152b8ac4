"""Five hundred machines with something wrong: each command ends with its status and one error, never a traceback."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import backend, cli, load_ipython_extension, session
from labkit.backend.live import Live
from labkit.cluster import kind
from labkit.errors import LabError

MACHINES = 500
IN_A_PROCESS = 25  # of its own: the terminal and the locale are known to a new process alone
COMMANDS = (["doctor"], ["doctor", "--json"], ["status"], ["down"], ["up"], ["up", "--until", "cluster"], ["images"])
FIRST_CELL = ["%load_ext labkit"]
CLOSED = "http://127.0.0.1:9"
BINARY = os.fsdecode(b"/srv/\xff")

VARIABLES = {
    "LABKIT_PORT": ["abc", "99999", "-1", " 8080", "8080.0", "65535", "1"],
    "LABKIT_VENUE": ["foo", "context:nowhere", "context:", "kind", "recorded", BINARY],
    "LABKIT_SOURCE": ["releases", "packages", "foo"],
    "LABKIT_DOWNLOADS": ["http://[::1", ":::", "mirror", f"http://user:s3cret@{CLOSED[7:]}", "http://\udcff"],
    "LABKIT_REGISTRY": ["127.0.0.1:9", "http://x", "user:s3cret@x", "[::1]:9"],
    "LABKIT_CLUSTER": ["A b", "../x", "-x", "a" * 300],
    "LABKIT_NAMESPACE": ["default", "A", "mine"],
    "LABKIT_GATEWAY": [":::", "http://"],
    "LABKIT_ISTIO": ["../../x", "9.9.9"],
    "LABKIT_KIND": ["../../x", "9.9.9"],
    "LABKIT_NODE_IMAGE": ["--privileged", "x:v9.9.9"],
    "LABKIT_HEADLESS": ["", "x"],
    "LABKIT_HOME": ["relative/../x", "/srv/a:b", "/dev/null/home", "/etc/passwd", "/proc/x", "/" + "x" * 300, BINARY],
    "LABKIT_CACHE": ["/dev/null/cache", "/etc/passwd", "/proc/x", "/srv/" + "x" * 300],
    "HOME": ["", "/dev/null", "/etc/passwd", "relative", "/srv/" + "x" * 300, BINARY],
    "XDG_DATA_HOME": ["relative", "/etc/passwd", BINARY],
    "KUBECONFIG": ["/dev/null", "/nowhere", "a:b", BINARY],
    "HTTPS_PROXY": [":::", "http://[::1", "socks://x", f"http://user:s3cret@{CLOSED[7:]}", "http://\udcff"],
    "ALL_PROXY": ["socks5://127.0.0.1:9", "foo://x"],
    "http_proxy": [":::", CLOSED],
    "NO_PROXY": ["*", "[::1", "10.0.0.0/99", "\udcff"],
    "SSL_CERT_FILE": ["/nowhere", "/etc/passwd", "/srv", BINARY],
    "SSL_CERT_DIR": ["/nowhere", "/etc/passwd", "a:b"],
    "REQUESTS_CA_BUNDLE": ["/nowhere", "/etc"],
    "COLUMNS": ["0", "abc", "-1", "1", "99999"],
    "DOCKER_HOST": ["tcp://127.0.0.1:9", "foo", "unix:///nowhere"],
    "PATH": ["", "/nowhere", BINARY],
    "TERM": ["dumb", "", "xterm"],
    "NO_COLOR": ["1"],
    "LC_ALL": ["C", "foo"],
    "PYTHONIOENCODING": ["ascii", "latin-1"],
    "TMPDIR": ["/nowhere"],
}  # fmt: skip
INFO = {"OperatingSystem": "Debian", "ServerVersion": "29.0.0", "NCPU": 2, "MemTotal": 4 << 30, "CgroupVersion": "2",
        "Driver": "overlay2", "DockerRootDir": "/var/lib/docker"}  # fmt: skip
ENGINES = (json.dumps(INFO),)
VENUES = ("kind", "recorded", "")
FILES = ("kubeconfig", "cluster.json", "lab.json", "recorded.json", "bin/kind", "bin/kubectl", "owner")
CONTENTS: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_text(""),
    lambda path: path.write_text("null"),
    lambda path: path.write_text('{"container": '),
    lambda path: path.write_text("[1, 2"),
    lambda path: path.write_text('{"version": 99}'),
    lambda path: path.write_bytes(b"\xff\xfe"),
    lambda path: path.write_text('{"container": "abc", "gateway": "http://127.0.0.1:9"}'),
    lambda path: path.write_text('{"container": "abc", "gateway": 5, "contexts": [{}], "current-context": "x"}'),
    lambda path: path.mkdir(),
    lambda path: path.symlink_to(path),
)


def engine(home: Path, info: str) -> Path:
    """A `docker` that says this of itself, and has the course's node; the folder that it lies in."""
    node = {"Id": "abc", "State": {"Running": True}, "HostConfig": {"PortBindings": None},
            "Mounts": [{"Destination": f"{kind.MARKS}/abc", "Source": f"{home}/owner"}]}  # fmt: skip
    folder = home / "engine"
    folder.mkdir()
    program = folder / "docker"
    answers = f"info) printf '%s\\n' '{info}';; container) printf '%s\\n' '{json.dumps(node)}';;"
    program.write_text(f"#!/bin/sh\ncase $1 in {answers} *) exit 1;; esac\n")
    program.chmod(0o755)
    return folder


def machine(seed: int, home: Path, commands: Sequence[list[str]] = COMMANDS) -> tuple[list[str], dict[str, str]]:
    """A command, and an environment and a home to run it in with a few things wrong."""
    chance = random.Random(seed)  # noqa: S311  the same machines each time
    home.mkdir()
    environment = {"PATH": "/nowhere", "HOME": str(home), "LABKIT_HOME": str(home), "LABKIT_DOWNLOADS": CLOSED,
                   "LABKIT_REGISTRY": CLOSED[7:], "LABKIT_VENUE": chance.choice(VENUES)}  # fmt: skip
    if chance.random() < 0.5:
        environment["PATH"] = str(engine(home, chance.choice(ENGINES)))
    for name in chance.sample(sorted(VARIABLES), chance.randint(0, 3)):
        environment[name] = chance.choice(VARIABLES[name])
    for name in chance.sample(FILES, chance.randint(0, len(FILES))):
        (home / name).parent.mkdir(exist_ok=True)
        chance.choice(CONTENTS)(home / name)
    return chance.choice(commands), environment


def run(words: list[str]) -> None:
    """A command, or a notebook's first cell, as far as this process goes."""
    if words == FIRST_CELL:
        nobody = SimpleNamespace(register=lambda *_: None)
        with backend.use(Live()):
            load_ipython_extension(SimpleNamespace(register_magic_function=lambda *_: None, events=nobody))
            session.entered()
    else:
        sys.argv = ["labkit", *words]
        cli.main()


def is_in_order(status: int, out: str, err: str) -> bool:
    """0: done. 1: it says no, on standard output, or by one error of what, why and fix."""
    if "Traceback" in out + err or "s3cret" in out + err:
        return False
    if status == 1 and err:
        return err.startswith("labkit: ") and err.count("\n  why: ") == err.count("\n  fix: ") == 1
    return status in (0, 1) and not err and (status == 0 or bool(out))


def test_no_machine_ends_in_a_traceback(monkeypatch, tmp_path, capsys):
    seen = set()
    for seed in range(MACHINES):
        words, environment = machine(seed, tmp_path / str(seed), [*COMMANDS, FIRST_CELL, FIRST_CELL])
        with monkeypatch.context() as patch:
            for name in [*os.environ]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", [])
            status = 0
            try:
                run(words)
            except SystemExit as ended:
                status = ended.code
            except LabError as error:  # as IPython shows it, in place of a traceback
                status = 1
                print(f"labkit: {error}", file=sys.stderr)
            except Exception as error:
                raise AssertionError(f"machine {seed}: {words} with {environment}") from error
        out, err = capsys.readouterr()
        assert is_in_order(status, out, err), f"machine {seed}: {words} with {environment}: {status}, {out}, {err}"
        seen.add(err)
    assert len(seen) > 40


@pytest.mark.parametrize("seed", range(MACHINES, MACHINES + IN_A_PROCESS))
def test_nor_does_a_process_of_its_own(tmp_path, seed):
    words, environment = machine(seed, tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-m", "labkit.cli", *words], env=environment, capture_output=True, timeout=60, check=False
    )
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    assert is_in_order(done.returncode, out, err), f"{words} with {environment}: {done.returncode}, {out}, {err}"


@pytest.mark.parametrize("rest", ["--help | :", "doctor | head -1", "doctor >&-", "status >&-", "--help >/dev/full"])
def test_whoever_has_read_enough_hears_no_more(rest):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m labkit.cli {rest}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert is_in_order(done.returncode, "", done.stderr) or done.stderr == ""
