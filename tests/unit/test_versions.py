"""The move to newer versions, against stand-ins of the projects' own hosts."""

from __future__ import annotations

import hashlib
import json
import tomllib

import pytest
from farend import busy, far_end

from labkit import settings
from labkit.errors import LabError
from labkit.maintain import versions
from labkit.progress import Progress

PLATFORMS = [(system, architecture) for system in ("linux", "darwin") for architecture in ("amd64", "arm64")]
NODE = f"kindest/node:v1.99.1@sha256:{'5' * 64}"
DEFINITIONS = "kind: CustomResourceDefinition\n"


@pytest.fixture
def end(tmp_path, monkeypatch):
    """Istio 9.9.9, kind 0.99.0 and Helm 9.8.0, as GitHub and the projects' own hosts publish them."""
    root = tmp_path / "published"

    def publish(path: str, text: str) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    notes = f"Older: none.\n- v1.99.1: `{NODE}`\n- v1.98.0: `{NODE.replace('1.99.1', '1.98.0')}`\n"
    publish("repos/istio/istio/releases/latest", json.dumps({"tag_name": "9.9.9", "body": "notes"}))
    publish("repos/kubernetes-sigs/kind/releases/latest", json.dumps({"tag_name": "v0.99.0", "body": notes}))
    publish("repos/helm/helm/releases/latest", json.dumps({"tag_name": "v9.8.0", "body": "notes"}))
    publish("istio/istio/9.9.9/go.mod", "require (\n\tsigs.k8s.io/gateway-api v9.8.7 // indirect\n)\n")
    publish("kubernetes-sigs/gateway-api/releases/download/v9.8.7/standard-install.yaml", DEFINITIONS)
    for system, architecture in PLATFORMS:
        istio = f"istio-9.9.9-{system.replace('darwin', 'osx')}-{architecture}.tar.gz"
        publish(f"istio/istio/releases/download/9.9.9/{istio}.sha256", f"{_sum(istio)}  {istio}\n")
        helm = f"helm-v9.8.0-{system}-{architecture}.tar.gz"
        publish(f"{helm}.sha256sum", f"{_sum(helm)}  {helm}\n")
        kind = f"kind-{system}-{architecture}"
        publish(f"kubernetes-sigs/kind/releases/download/v0.99.0/{kind}.sha256sum", f"{_sum(kind)}  {kind}\n")
        publish(f"release/v1.99.1/bin/{system}/{architecture}/kubectl.sha256", _sum(f"{system}{architecture}"))
    with far_end(root) as end:
        monkeypatch.setenv("LABKIT_DOWNLOADS", end.address)
        yield end


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def file(tmp_path):
    copy = tmp_path / "versions.toml"
    copy.write_bytes(settings.VERSIONS.read_bytes())
    return copy


@pytest.fixture
def progress():
    return Progress(lambda event: None, lambda: 0.0)


def test_istio_moves_with_its_checksums_and_what_it_is_built_against(end, file, progress):
    before = tomllib.loads(file.read_text())
    moved = versions.move("istio", progress, file)
    after = tomllib.loads(file.read_text())
    assert f"istio version: {before['istio']['version']} → 9.9.9" in moved
    assert after["istio"] == {
        "version": "9.9.9", "gateway_api": "9.8.7", "gateway_api_sha256": _sum(DEFINITIONS)}  # fmt: skip
    archives = {name: sha256 for name, sha256 in after["sha256"].items() if name.startswith("istio-")}
    assert archives == {
        f"istio-9.9.9-{system}-{architecture}.tar.gz": _sum(f"istio-9.9.9-{system}-{architecture}.tar.gz")
        for system in ("linux", "osx") for architecture in ("amd64", "arm64")}  # fmt: skip
    assert after["kind"] == before["kind"]
    assert after["packages"] == before["packages"]


def test_kind_moves_with_its_node_image_and_its_kubectl(end, file, progress):
    versions.move("kind", progress, file)
    after = tomllib.loads(file.read_text())
    assert after["kind"] == {"version": "0.99.0", "node_image": NODE}
    programs = {name for name in after["sha256"] if not name.startswith("istio-")}
    assert programs == {f"{program}-{system}-{architecture}" for program in ("kind-0.99.0", "kubectl-1.99.1")
                        for system, architecture in PLATFORMS}  # fmt: skip
    assert after["sha256"]["kind-0.99.0-linux-arm64"] == _sum("kind-linux-arm64")


def test_helm_moves_with_its_checksums(end, file, progress):
    versions.move("helm", progress, file)
    after = tomllib.loads(file.read_text())
    assert after["helm"] == {"version": "9.8.0"}
    sums = {name: sha256 for name, sha256 in after["sha256"].items() if name.startswith("helm-")}
    assert sums == {
        f"helm-9.8.0-{system}-{architecture}": _sum(f"helm-v9.8.0-{system}-{architecture}.tar.gz")
        for system, architecture in PLATFORMS}  # fmt: skip


def test_what_is_the_newest_already_stays_as_it_is_comments_too(end, file, progress):
    versions.move("kind", progress, file)
    text = file.read_text()
    assert "# what this kind release published" in text
    assert versions.move("kind", progress, file) == []
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("repos/istio/istio/releases/latest", "no JSON"),
        ("repos/istio/istio/releases/latest", "[]"),
        ("repos/istio/istio/releases/latest", '{"message": "rate limit"}'),
        ("istio/istio/9.9.9/go.mod", "module istio.io/istio\n"),
        ("istio/istio/releases/download/9.9.9/istio-9.9.9-linux-arm64.tar.gz.sha256", "<html>sign in</html>"),
    ],
)
def test_what_is_not_understood_writes_nothing(end, file, progress, path, text):
    (end.root / path).write_text(text)
    before = file.read_text()
    with pytest.raises(LabError):
        versions.move("istio", progress, file)
    assert file.read_text() == before


def test_a_project_that_does_not_answer_writes_nothing(end, file, progress):
    end.fail("latest$", busy(403), times=10)
    before = file.read_text()
    with pytest.raises(LabError):
        versions.move("kind", progress, file)
    assert file.read_text() == before
