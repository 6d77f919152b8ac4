"""The relay on the way to a cluster: who may ask, what is handed on, and that nothing is left of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest
import yaml

from labkit.api import access, credentials, relay
from labkit.errors import LabError

OURS = "reader"
MINE = f"/api/v1/namespaces/{OURS}"


class Handler(BaseHTTPRequestHandler):
    """An API server, as far as a relay can tell: says what arrived, streams, and speaks another protocol."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "relay"

    def log_message(self, *_: object) -> None:
        """What arrived is told in the answers."""

    def _answers(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.arrived.append((self.command, self.path))
        if self.headers.get("upgrade"):
            self.send_response_only(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers["upgrade"])
            self.end_headers()
            while data := self.connection.recv(1 << 16):
                self.connection.sendall(data.upper())
            self.close_connection = True
        elif "watch" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n")
            self.server.watched.set()
            try:
                while not self.server.over.wait(0.05):
                    self.wfile.write(b"1\r\n.\r\n")
            except OSError:
                self.server.gone.set()
        else:
            told = {"headers": dict(self.headers), "body": body.decode(), "path": self.path}
            answer = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PATCH = _answers  # noqa: N815  http.server's names


class Upstream(ThreadingMixIn, UnixStreamServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, path: Path) -> None:
        self.arrived: list[tuple[str, str]] = []
        self.watched, self.over, self.gone = threading.Event(), threading.Event(), threading.Event()
        super().__init__(str(path), Handler)


@dataclass
class World:
    relay: relay.Relay
    upstream: Upstream
    tls: ssl.SSLContext

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.relay.port, context=self.tls, timeout=10)

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, str]:
        connection = self.connection()
        given = {"Authorization": f"Bearer {self.relay.token if token is None else token}", **headers}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def world(tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("r")
    upstream = Upstream(folder / "s")
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    certificate, identity = credentials.identity(folder)
    assert identity.stat().st_mode & 0o777 == 0o600
    served = relay.Relay(folder / "s", OURS, identity)
    served.start()
    yield World(served, upstream, ssl.create_default_context(cadata=certificate.decode()))
    upstream.over.set()
    served.close()
    upstream.shutdown()
    upstream.server_close()


def test_only_who_has_the_token_is_heard(world):
    for token in ("", "x", world.relay.token[:-1], world.relay.token + "x"):
        status, told = world.ask("GET", "/api", token=token)
        assert status == 401
        assert json.loads(told)["kind"] == "Status"
    assert world.upstream.arrived == []
    assert world.ask("GET", "/api")[0] == 200
    assert world.ask("GET", "/api", token=world.relay.looking_token)[0] == 200


def test_what_is_refused_is_not_sent_and_told_as_an_api_server_does(world):
    status, told = world.ask("DELETE", "/api/v1/namespaces/default/pods/a")
    assert status == 403
    assert json.loads(told) == {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "metadata": {},
        "message": "pod a is in namespace default, which is somebody else's; in this cluster namespace reader is "
        "yours, and nothing else",
    }  # fmt: skip
    assert world.upstream.arrived == []


def test_what_is_let_through_arrives_as_it_was_sent_but_for_the_token(world):
    status, told = world.ask("POST", f"{MINE}/pods?a=%20b", '{"a": "ü"}'.encode(), Accept="a/b")
    arrived = json.loads(told)
    assert (status, arrived["path"], arrived["body"]) == (200, f"{MINE}/pods?a=%20b", '{"a": "ü"}')
    headers = {name.lower(): value for name, value in arrived["headers"].items()}
    assert headers["accept"] == "a/b"
    assert headers["host"] == "localhost"
    assert "authorization" not in headers


def test_a_body_in_pieces_and_one_that_waits_to_be_asked_for_arrive_whole(world):
    status, told = world.ask("POST", f"{MINE}/pods", iter([b'{"a":', b" 1}"]))
    assert (status, json.loads(told)["body"]) == (200, '{"a": 1}')
    status, told = world.ask("POST", f"{MINE}/pods", b"{}", Expect="100-continue")
    assert (status, json.loads(told)["body"]) == (200, "{}")


def test_a_body_that_is_too_large_is_refused(world):
    try:
        status, _ = world.ask("POST", f"{MINE}/pods", b"x" * (relay.LARGEST + 1))
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        return  # the answer came before all was sent
    finally:
        assert world.upstream.arrived == []
    assert status == 413


def test_one_connection_takes_one_request_after_the_other_refused_ones_too(world):
    connection = world.connection()
    for method, path, status in [
        ("GET", "/a", 200),
        ("DELETE", "/b", 403),
        ("HEAD", "/c", 200),
        ("GET", "/d", 200),
    ] * 3:
        connection.request(method, path, headers={"Authorization": f"Bearer {world.relay.token}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status


def test_another_protocol_goes_to_and_fro(world):
    with world.tls.wrap_socket(
        socket.create_connection(("127.0.0.1", world.relay.port)), server_hostname="127.0.0.1"
    ) as raw:
        raw.settimeout(10)
        head = [f"POST {MINE}/pods/a/exec?command=ls HTTP/1.1", "Host: a", f"Authorization: Bearer {world.relay.token}",
                "Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0", "", "early"]  # fmt: skip
        raw.sendall("\r\n".join(head).encode())
        said = b""
        while b"EARLY" not in said:
            said += raw.recv(1 << 16)
        assert said.startswith(b"HTTP/1.1 101 ")
        for _ in range(3):
            raw.sendall(b"word")
            assert raw.recv(4) == b"WORD"


def test_a_watch_is_told_as_it_happens_and_ends_with_whoever_watches(world):
    connection = world.connection()
    connection.request("GET", "/api/v1/pods?watch=true", headers={"Authorization": f"Bearer {world.relay.token}"})
    answer = connection.getresponse()
    assert answer.read1(5) == b"first"
    answer.close()
    connection.close()
    assert world.upstream.gone.wait(10)


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, b"nonsense\r\n\r\n", b""]
)
def test_whoever_speaks_no_http_is_left_and_others_are_served(world, sent):
    # whoever is left may see it while still at sending
    with socket.create_connection(("127.0.0.1", world.relay.port)) as plain, suppress(OSError):
        plain.sendall(sent)
    with (
        world.tls.wrap_socket(
            socket.create_connection(("127.0.0.1", world.relay.port)), server_hostname="127.0.0.1"
        ) as raw,
        suppress(OSError),
    ):
        raw.sendall(sent)
    assert world.ask("GET", "/api")[0] == 200


def test_fifty_at_once_are_served(world):
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(world.ask("GET", "/api")[0])) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 50


def test_without_kubectl_proxy_behind_it_it_says_so(world, tmp_path_factory):
    world.upstream.shutdown()
    world.upstream.server_close()
    status, told = world.ask("GET", "/api")
    assert status == 503
    assert "restart the kernel" in json.loads(told)["message"]


def test_it_is_served_on_this_machine_alone(world):
    import psutil

    [at] = [each.laddr for each in psutil.Process().net_connections("tcp") if each.status == "LISTEN"
            and each.laddr.port == world.relay.port]  # fmt: skip
    assert at.ip == "127.0.0.1"


# -- `kubectl proxy` and the kubeconfigs ----------------------------------------------------------------
KUBECTL = """#!{python}
import socket, sys, time
path = sys.argv[sys.argv.index("--unix-socket") + 1]
if "refused" in sys.argv:
    sys.exit("error: context \\"refused\\" does not exist")
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
print(f"Starting to serve on {{path}}", flush=True)
time.sleep(600)
"""
KERNEL = """
import os, sys, time
from pathlib import Path
from labkit.api import access
commands = access.start("company", "reader", Path(sys.argv[1]) / f"kubeconfig-{os.getpid()}", dict(os.environ))
print(commands, flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """One in which kubectl is a program that listens, as `kubectl proxy` does, and serves nobody."""
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable))
    kubectl.chmod(0o755)
    return {**os.environ, "PATH": f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)}


def test_a_context_that_leads_nowhere_is_told_in_kubectls_words(environment, tmp_path):
    with pytest.raises(LabError) as nowhere:
        access.start("refused", OURS, tmp_path / "kubeconfig-1", environment)
    assert "does not exist" in nowhere.value.why


def test_without_kubectl_the_reader_is_told_where_it_is_from(environment, tmp_path):
    with pytest.raises(LabError) as missing:
        access.start("company", OURS, tmp_path / "kubeconfig-1", {**environment, "PATH": str(tmp_path)})
    assert "kubectl" in missing.value.what


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_it_however_the_kernel_ends(environment, tmp_path, end):
    home = tmp_path / "home"
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, str(home)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    assert kernel.stdout
    commands = Path(kernel.stdout.readline().strip())
    looking = home / f"kubeconfig-{kernel.pid}"
    tokens = [yaml.safe_load(path.read_text())["users"][0]["user"]["token"] for path in (commands, looking)]
    assert len(set(tokens)) == 2
    assert {path.stat().st_mode & 0o777 for path in (commands, looking)} == {0o600}
    assert len(listening(tmp_path)) == 1

    kernel.send_signal(end)
    kernel.wait(60)

    deadline = time.monotonic() + 60
    while listening(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listening(tmp_path) == []
    access._forget_the_dead(home)
    assert list(home.iterdir()) == []


def listening(folder: Path) -> list[int]:
    import psutil

    mine = str(folder / "bin" / "kubectl")
    return [each.pid for each in psutil.process_iter() if mine in _command(each) and "/bin/sh" not in _command(each)]


def _command(process: Any) -> list[str]:
    import psutil

    try:
        return process.cmdline()
    except psutil.Error:
        return []
