"""The releases source in full, against stand-ins of the far end only.

A real OCI registry on loopback holds what the packages source built, under the official names; a file server
holds the published files at their official paths. All between is the real thing: engine, containerd, kind's node.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from farend import FarEnd, busy, cut, far_end, free_port, tampered
from registry import push, registry

from labkit import backend
from labkit.backend.live import Live
from labkit.cluster import images, kind, releases
from labkit.cluster.downloads import unpack
from labkit.cluster.packages import Packages
from labkit.cluster.releases import Releases, full_name
from labkit.errors import LabError
from labkit.mesh import traffic
from labkit.progress import Event, Progress
from labkit.settings import ISTIO, NODE_IMAGE, settings

pytestmark = [pytest.mark.live, pytest.mark.long]

SMALL = "lab/small:1"
LAYER = 2 << 20


class Hurried(Live):
    """The pauses between attempts are counted, and cut short."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(min(seconds, 0.2))


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Stock:
    """What the far end holds. node, small: the digests of the node image, and of an image of one small layer."""

    mirror: Path
    registry: str
    node: str
    small: str


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Iterator[Stock]:
    mirror = Packages().mirror()
    if not mirror.is_dir():
        pytest.skip("nothing is built from packages yet: `LABKIT_SOURCE=packages labkit images`, then again")
    quiet = Progress(lambda event: None, backend.now)
    names = Packages().images(quiet)
    base = Packages().kind_node_image(quiet)
    with registry(settings().cache / "tests" / "registry") as address:
        for name in names:
            if not name.startswith("registry.k8s.io/"):  # those are in the node image
                push(name, address, full_name(name).partition("/")[2])
        node = _pushed(f"FROM {base}\nCOPY blob /kind/\n", address, NODE_IMAGE, tmp_path_factory.mktemp("node"))
        small = _pushed("FROM scratch\nCOPY blob /\n", address, SMALL, tmp_path_factory.mktemp("small"))
        yield Stock(mirror, address, node, small)


def _pushed(dockerfile: str, registry: str, name: str, folder: Path) -> str:
    """The digest of a new image with a layer that the engine then has no more, and must pull."""
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "blob").write_bytes(os.urandom(LAYER))
    return push(docker("build", "--quiet", str(folder)), registry, name)


@pytest.fixture
def files(stock, tmp_path, monkeypatch) -> Iterator[FarEnd]:
    """The download hosts, and a home and a cache with nothing in them."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    with far_end(root=stock.mirror) as end:
        monkeypatch.setenv("LABKIT_DOWNLOADS", end.address)
        monkeypatch.setattr(images, "PUBLISHED_ALONE", ())  # which the far end cannot have
        monkeypatch.setattr(releases, "SHA256", {})  # these were built here, and are not what the projects published
        yield end


@pytest.fixture
def front(stock, monkeypatch) -> Iterator[FarEnd]:
    """The image registries."""
    with far_end(upstream=f"http://{stock.registry}") as end:
        monkeypatch.setenv("LABKIT_REGISTRY", end.address.removeprefix("http://"))
        yield end


@pytest.fixture
def hurried() -> Iterator[Hurried]:
    with backend.use(Hurried()) as hurried:
        yield hurried


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def progress(told) -> Progress:
    return Progress(told.append, backend.now)


# -- all of it ----------------------------------------------------------------------------------


@contextmanager
def the_tag_is_put_back(image: str) -> Iterator[None]:
    before = images.identities([image])[0] if images.exists(image) else ""
    try:
        yield
    finally:
        if before:
            docker("tag", before, image)


def test_from_nothing_to_a_cluster_that_holds_all_images(stock, files, front, hurried, progress, monkeypatch):
    source = Releases(node_image_digest=stock.node)
    assert source.reachable() is None
    assert "kind" in backend.run([source.tool("kind", progress), "version"]).stdout
    assert "Client Version" in backend.run([source.tool("kubectl", progress), "version", "--client"]).stdout
    with the_tag_is_put_back(NODE_IMAGE):
        name = source.node_image(progress)
    try:
        release = settings().release_folder
        wanted = {full_name(image) for image in images.wanted(release, release / "bin" / "istioctl")}
        assert wanted <= _complete_images(name)
        asked = len(files.requests), len(front.requests)
        assert source.node_image(progress) == name
        assert asked == (len(files.requests), len(front.requests))
        monkeypatch.setenv("LABKIT_CLUSTER", "istio-lab-apart")
        _runs_a_pod(source, progress)
    finally:
        docker("rmi", name, f"{settings().registry}/{NODE_IMAGE.rpartition(':')[0]}@{stock.node}")


def _runs_a_pod(source: Releases, progress: Progress) -> None:
    """A cluster from the node image, and a pod in it whose image was pulled into that."""
    try:
        kind.up(source, progress)
        traffic.deploy_client()
    finally:
        kind.down(progress)


def _complete_images(node_image: str) -> set[str]:
    """The images that a node of this image finds in its containerd, with all their content."""
    with _containerd(node_image) as container:
        check = docker("exec", container, "ctr", "--namespace", "k8s.io", "images", "check")
    return {line.split()[0] for line in check.splitlines() if " complete " in line}


@contextmanager
def _containerd(node_image: str) -> Iterator[str]:
    options = ("--detach", "--network", "host", "--security-opt", "seccomp=unconfined", "--entrypoint", "containerd")
    container = docker("run", *options, node_image, "--log-level", "error")
    try:
        ready = "until ctr version >/dev/null 2>&1; do sleep 0.1; done"
        docker("exec", container, "timeout", "60", "bash", "-c", ready)
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


# -- files --------------------------------------------------------------------------------------


def istio(progress: Progress, version: str = ISTIO) -> Path:
    s = settings()
    return Releases().istio_archive(version, s.system, s.architecture, progress)


def test_a_busy_file_server_is_asked_again(files, hurried, progress):
    files.fail("tar.gz$", busy(429, "7"), times=2)
    assert unpack(istio(progress), settings().home).joinpath("bin", "istioctl").exists()
    assert hurried.slept == [7, 7]


def test_a_cut_download_goes_on_where_it_stopped(files, hurried, progress):
    files.fail("tar.gz$", cut(5 << 20))
    istio(progress)
    resumed = [asked for path, asked in files.requests if path.endswith("tar.gz") and asked]
    assert resumed == [f"bytes={5 << 20}-"]


def test_a_tampered_archive_is_refused_then_fetched_anew(files, hurried, progress):
    files.fail("tar.gz$", tampered)
    with pytest.raises(LabError, match="SHA-256"):
        istio(progress)
    assert istio(progress).exists()


def test_a_truncated_archive_leaves_nothing(files, progress):
    archive = istio(progress)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabError, match="truncated"):
        unpack(archive, settings().home)
    assert list(settings().home.iterdir()) == []


def test_a_version_that_the_far_end_lacks(files, hurried, progress, monkeypatch):
    monkeypatch.setattr(releases, "KIND", "9.9.9")
    with pytest.raises(LabError, match="404"):
        Releases().tool("kind", progress)


# -- images -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(stock) -> Iterator[str]:
    """containerd in a container of the node image, as `with_images` hands it over."""
    with _containerd(NODE_IMAGE) as container:
        yield container


@pytest.fixture
def pull_small(node, stock, front, hurried, progress, monkeypatch) -> Iterator[dict[str, Callable[[], None]]]:
    """The small image, pulled by containerd or by the engine, neither of which has it."""
    monkeypatch.setattr(releases, "NODE_IMAGE", SMALL)
    had = _images(node)

    def containerd() -> None:
        releases._pull_all([SMALL], progress, node)
        assert full_name(SMALL) in _images(node)

    def engine() -> None:
        Releases(node_image_digest=stock.small)._node_base(progress)
        assert images.exists(SMALL)

    yield {"containerd": containerd, "engine": engine}
    for name in _images(node) - had:
        docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "rm", "--sync", name)
    if images.exists(SMALL):
        docker("rmi", "--force", images.identities([SMALL])[0])


def _images(node: str) -> set[str]:
    return set(docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "ls", "-q").split())


both = pytest.mark.parametrize("who", ["containerd", "engine"])
FAULTS = {
    "429 at the manifest": ("/manifests/", busy(429)),
    "500 at the manifest": ("/manifests/", busy(500)),
    "429 at a layer": ("/blobs/", busy(429)),
    "cut in a layer": ("/blobs/", cut(LAYER // 2)),
    "a tampered layer": ("/blobs/", tampered),
}


@both
@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_got_over(pull_small, front, who, fault):
    pattern, how = FAULTS[fault]
    front.fail(pattern, how, times=2)
    pull_small[who]()


@both
@pytest.mark.parametrize("fault", ["429 at the manifest", "500 at the manifest", "a tampered layer"])
def test_what_stays_is_one_error_after_attempts_that_showed(pull_small, front, hurried, told, who, fault):
    pattern, how = FAULTS[fault]
    front.fail(pattern, how, times=1000)
    with pytest.raises(LabError) as raised:
        pull_small[who]()
    assert "lab/small" in raised.value.what
    assert len(hurried.slept) == len(releases.PAUSES)
    assert sum("again in" in event.note for event in told if event.status == "running") == len(releases.PAUSES)


@both
def test_no_registry_at_all(pull_small, monkeypatch, who):
    monkeypatch.setenv("LABKIT_REGISTRY", f"127.0.0.1:{free_port()}")
    with pytest.raises(LabError, match="connection refused"):
        pull_small[who]()


def test_a_digest_that_the_registry_does_not_have(pull_small, front, hurried, progress):
    with pytest.raises(LabError, match="does not have it"):
        Releases(node_image_digest=f"sha256:{'0' * 64}")._node_base(progress)
    assert hurried.slept == []
