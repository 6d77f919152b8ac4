"""What Secrets hold stays in the cluster: the API is asked for their metadata alone."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from labkit import backend
from labkit.backend.live import Live
from labkit.mesh import objects
from labkit.settings import settings


@pytest.fixture
def accepted(monkeypatch, tmp_path):
    """A loopback API server behind the course's kubeconfig; what each request says it accepts, by method and path."""
    seen = {}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            seen[self.command, self.path] = self.headers["Accept"]
            body = json.dumps({"kind": "PartialObjectMetadataList", "items": [{"metadata": {"name": "a"}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    named = {
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    }
    settings().kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    settings().kubeconfig.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "a", **named})
    )
    with backend.use(Live()):
        yield seen
    server.shutdown()
    server.server_close()


def test_secrets_are_listed_without_their_data(accepted):
    assert objects.list_("secrets", "default") == [{"kind": "Secret", "metadata": {"name": "a"}}]
    assert "as=PartialObjectMetadataList;" in accepted["GET", "/api/v1/namespaces/default/secrets"]


@pytest.mark.parametrize(
    ("method", "path", "metadata"),
    [
        ("GET", "/api/v1/namespaces/default/secrets/a", True),
        ("PUT", "/api/v1/namespaces/default/secrets/a", True),
        ("POST", "/api/v1/namespaces/default/secrets", True),
        ("GET", "/api/v1/namespaces/secrets", False),
        ("GET", "/api/v1/namespaces/secrets/pods", False),
    ],
)
def test_nothing_that_is_asked_of_one_brings_its_data(accepted, method, path, metadata):
    backend.kubernetes(method, path)
    assert ("as=PartialObjectMetadata;" in accepted[method, path]) is metadata
