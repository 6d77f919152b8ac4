"""Port-forwarding, against a far end that speaks as kubelet's streaming server does.

https://github.com/kubernetes/kubelet/blob/v0.35.0/pkg/cri/streaming/portforward/websocket.go
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from tornado import tcpclient, web, websocket
from tornado.iostream import StreamClosedError

from labkit import backend

PORT = 15000
DATA, ERROR = b"\0", b"\1"


class Admin(BaseHTTPRequestHandler):
    """What listens in the pod: it answers with the path, many times over."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, body = (404, b"not here") if self.path == "/nothing" else (200, self.path.encode() * 100_000)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Forward(websocket.WebSocketHandler):
    """Two channels for the port: its data, and what went wrong."""

    open_now = 0

    def initialize(self, backend):
        self.backend = backend

    def select_subprotocol(self, offered):
        return "v4.channel.k8s.io" if "v4.channel.k8s.io" in offered else None

    def prepare(self):
        pod = self.path_args[0]
        if pod == "forbidden":
            self.set_status(403)
            self.finish({"reason": "Forbidden", "message": "no create on pods/portforward"})

    async def open(self, pod):
        type(self).open_now += 1
        port = int(self.get_query_argument("ports")).to_bytes(2, "little")
        await self.write_message(DATA + port, binary=True)
        await self.write_message(ERROR + port, binary=True)
        if pod == "silent":
            await self.write_message(ERROR + b"connection refused", binary=True)
            self.close()
            return
        self.stream = await tcpclient.TCPClient().connect("127.0.0.1", self.backend)
        self.pumping = asyncio.ensure_future(self.pump())

    async def pump(self):
        try:
            while True:
                await self.write_message(DATA + await self.stream.read_bytes(32 * 1024, partial=True), binary=True)
        except (StreamClosedError, websocket.WebSocketClosedError):
            self.close()

    async def on_message(self, message):
        assert message[:1] == DATA
        if self.path_args[0] == "vanishing":
            self.close()
            return
        await self.stream.write(message[1:])

    def on_close(self):
        type(self).open_now -= 1


@contextmanager
def served(backend: int) -> Iterator[int]:
    started, ports, loops = threading.Event(), [], []

    async def serve():
        app = web.Application([(r"/api/v1/namespaces/default/pods/(\w+)/portforward", Forward, {"backend": backend})])
        server = app.listen(0, "127.0.0.1")
        ports.append(next(iter(server._sockets.values())).getsockname()[1])
        over = asyncio.Event()
        loops.append((asyncio.get_running_loop(), over))
        started.set()
        await over.wait()
        server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield ports[0]
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join()


@pytest.fixture
def api_server(tmp_path, monkeypatch) -> Iterator[None]:
    """The course's kubeconfig leads to the far end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as admin:
        threading.Thread(target=admin.serve_forever, args=(0.01,), daemon=True).start()
        with served(admin.server_address[1]) as port:
            monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
            (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig(port)))
            yield
        admin.shutdown()


def kubeconfig(port: int) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "far-end",
        "clusters": [{"name": "far-end", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "far-end", "context": {"cluster": "far-end", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
    }


def test_many_answers_over_one_connection(api_server):
    with backend.port_forward("default", "reviews", PORT) as get:
        for path in ("/stats", "/config_dump?include_eds"):
            assert get(path) == path * 100_000
        assert Forward.open_now == 1


def test_several_pods_at_once(api_server):
    from concurrent.futures import ThreadPoolExecutor

    def ask(path):
        with backend.port_forward("default", "reviews", PORT) as get:
            return get(path)

    paths = [f"/{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, paths)) == [path * 100_000 for path in paths]


def test_nothing_stays_open(api_server):
    with backend.port_forward("default", "reviews", PORT) as get:
        get("/stats")
    backend.wait("The far end sees it closed", lambda: Forward.open_now, lambda n: n == 0, timeout=60, every=0.01)


def test_a_missing_permission_is_named(api_server):
    with pytest.raises(backend.KubernetesError) as raised, backend.port_forward("default", "forbidden", PORT):
        pass
    assert raised.value.status == 403
    assert "pods/portforward" in raised.value.why


def test_a_port_where_nobody_listens(api_server):
    with backend.port_forward("default", "silent", PORT) as get, pytest.raises(backend.Unreachable) as raised:
        get("/stats")
    assert "connection refused" in raised.value.why


def test_a_pod_that_vanishes_between_two_requests(api_server):
    with backend.port_forward("default", "vanishing", PORT) as get, pytest.raises(backend.Unreachable):
        get("/stats")


def test_an_answer_that_is_no_success(api_server):
    with backend.port_forward("default", "reviews", PORT) as get, pytest.raises(backend.Unreachable, match="404"):
        get("/nothing")


def test_no_api_server(tmp_path, monkeypatch):
    from labkit.cluster.kind import free_port

    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig(free_port())))
    with pytest.raises(backend.KubernetesError) as raised, backend.port_forward("default", "reviews", PORT):
        pass
    assert raised.value.status == 0
