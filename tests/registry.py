"""A real OCI registry on loopback: CNCF Distribution, built once from its Go module."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farend import free_port

VERSION = "v3.1.2"
MODULE = f"github.com/distribution/distribution/v3/cmd/registry@{VERSION}"


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Its host:port, for as long as the block lasts. What is pushed stays in `folder` for the next run."""
    port = free_port()
    config = folder / "config.yml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', secret: loopback}}\n"
    )
    environment = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([_program(folder), "serve", config], stdout=log, stderr=log, env=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _program(folder: Path) -> Path:
    program = folder / VERSION / "registry"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(program.parent), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", MODULE], env=environment, check=True)
    return program


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def push(image: str, registry: str, name: str) -> str:
    """Push an image under another name, which it loses again; the digest that the registry knows it by.

    An image that has no other name is then gone from the engine.
    """
    target = f"{registry}/{name}"
    subprocess.run(["docker", "tag", image, target], check=True)
    try:
        subprocess.run(["docker", "push", "--quiet", target], check=True, stdout=subprocess.DEVNULL)
        format = "{{range .RepoDigests}}{{println .}}{{end}}"
        inspect = ["docker", "image", "inspect", "--format", format, target]
        digests = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()
        return next(line for line in digests if line.startswith(target.rpartition(":")[0] + "@")).partition("@")[2]
    finally:
        subprocess.run(["docker", "rmi", target], check=True, stdout=subprocess.DEVNULL)
