"""Five hundred machines with something wrong: each command ends with its status and one error, never a traceback."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import cli

MACHINES = 500
IN_A_PROCESS = 25  # of its own: the terminal and the locale are known to a new process alone
COMMANDS = (["doctor"], ["doctor", "--json"], ["status"], ["down"], ["up"], ["up", "--until", "cluster"], ["images"])
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
FILES = ("kubeconfig", "cluster.json", "lab.json", "recorded.json", "bin/kind", "bin", "cache", "owner")
CONTENTS: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_text(""),
    lambda path: path.write_text("null"),
    lambda path: path.write_text('{"container": '),
    lambda path: path.write_text("[1, 2"),
    lambda path: path.write_text('{"version": 99}'),
    lambda path: path.write_bytes(b"\xff\xfe"),
    lambda path: path.mkdir(),
    lambda path: path.symlink_to(path),
)


def machine(seed: int, home: Path) -> tuple[list[str], dict[str, str]]:
    """A command, and an environment and a home to run it in with one to four things wrong."""
    chance = random.Random(seed)  # noqa: S311  the same machines each time
    home.mkdir()
    environment = {"PATH": "/nowhere", "HOME": str(home), "LABKIT_HOME": str(home), "LABKIT_VENUE": "kind",
                   "LABKIT_DOWNLOADS": CLOSED, "LABKIT_REGISTRY": CLOSED[7:]}  # fmt: skip
    for name in chance.sample(sorted(VARIABLES), chance.randint(1, 3)):
        environment[name] = chance.choice(VARIABLES[name])
    if chance.random() < 0.5:
        file = home / chance.choice(FILES)
        file.parent.mkdir(exist_ok=True)
        chance.choice(CONTENTS)(file)
    return chance.choice(COMMANDS), environment


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
        words, environment = machine(seed, tmp_path / str(seed))
        with monkeypatch.context() as patch:
            for name in [*os.environ]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["labkit", *words])
            status = 0
            try:
                cli.main()
            except SystemExit as ended:
                status = ended.code
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
