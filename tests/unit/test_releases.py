"""The releases source against a local far end; the engine is played."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from company import LOGIN, Authority
from fake import Fake
from farend import busy, far_end, free_port, tampered

from labkit import backend
from labkit.backend import Completed
from labkit.cluster import images, releases
from labkit.cluster.downloads import archive_name, program_in
from labkit.cluster.releases import Releases, diagnose, full_name
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import GATEWAY_API, HELM, ISTIO, KIND, KUBERNETES, SHA256, settings


@dataclass
class Played(Fake):
    """The engine answers from `answer`; time does not pass."""

    answer: Callable[[list[str]], tuple[int, str]]
    ran: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def run(self, argv, *, stdin, cwd, env, timeout, on_line):
        self.ran.append(" ".join(argv))
        returncode, output = self.answer(argv)
        return Completed(tuple(argv), returncode, "", output, 0.0)

    def sleep(self, seconds):
        self.slept.append(seconds)


def packed(archive: Path, *names: str) -> Path:
    """An archive with a file of each name."""
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return archive


@pytest.fixture
def end(tmp_path, monkeypatch):
    """kind's, Kubernetes', Istio's and Helm's files at their official paths."""
    s = settings()
    root = tmp_path / "published"
    kind = f"kubernetes-sigs/kind/releases/download/v{KIND}/kind-{s.system}-{s.architecture}"
    kubectl = f"release/v{KUBERNETES}/bin/{s.system}/{s.architecture}/kubectl"
    name = archive_name(ISTIO, s.system, s.architecture)
    istio = f"istio/istio/releases/download/{ISTIO}/{name}"
    for path, checksum in ((kind, ".sha256sum"), (kubectl, ".sha256"), (istio, ".sha256")):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
        sha256 = hashlib.sha256(path.encode()).hexdigest()
        line = f"{sha256}\n" if path == kubectl else f"{sha256}  {file.name}\n"
        file.with_name(file.name + checksum).write_text(line)
    helm = packed(root / f"helm-v{HELM}-{s.system}-{s.architecture}.tar.gz", f"{s.system}-{s.architecture}/helm")
    helm.with_name(f"{helm.name}.sha256sum").write_text(
        f"{hashlib.sha256(helm.read_bytes()).hexdigest()}  {helm.name}\n"
    )
    with far_end(root) as end:
        monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("LABKIT_DOWNLOADS", f"{end.address}/")
        monkeypatch.setattr(releases, "SHA256", {})  # of these files, what is published is all that is known
        yield end


@pytest.fixture
def told():
    return []


@pytest.fixture
def progress(told):
    return Progress(told.append, lambda: 0.0)


def nothing(argv: list[str]) -> tuple[int, str]:
    return 1, "Error: no such image"


@pytest.mark.parametrize("program", ["kind", "kubectl", "helm"])
def test_a_tool_arrives_verified_and_can_be_executed(end, progress, program):
    path = Releases().tool(program, progress)
    assert path == settings().bin / program
    assert path.stat().st_mode & 0o111
    asked = len(end.requests)
    Releases().tool(program, progress)
    assert len(end.requests) == asked


def test_a_tool_of_another_version_is_replaced(end, progress):
    settings().bin.mkdir(parents=True)
    (settings().bin / "kind").write_text("an older one")
    assert b"kind" in Releases().tool("kind", progress).read_bytes()


def test_istios_archive(end, progress):
    s = settings()
    path = Releases().istio_archive(ISTIO, s.system, s.architecture, progress)
    assert path.name == archive_name(ISTIO, s.system, s.architecture)


def test_a_tampered_tool_never_reaches_the_path(end, progress):
    end.fail("/kubectl$", tampered)
    with pytest.raises(LabError, match="SHA-256"):
        Releases().tool("kubectl", progress)
    assert not (settings().bin / "kubectl").exists()


def test_an_archive_without_the_program_is_refused(end, progress, tmp_path):
    archive = packed(tmp_path / "helm.tar.gz", "linux-amd64/README.md")
    with pytest.raises(LabError, match="holds no helm"):
        program_in(archive, "helm", tmp_path / "helm")
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(LabError, match="truncated"):
        program_in(archive, "helm", tmp_path / "helm")


def test_a_mirror_that_publishes_a_checksum_of_its_own_is_refused(end, progress, monkeypatch):
    """Another file, and a checksum that fits it: what versions.toml says decides, and what was kept goes."""
    s = settings()
    kept = Releases().tool("kind", progress)
    kept.unlink()
    monkeypatch.setattr(releases, "SHA256", SHA256)
    for fetch in (
        partial(Releases().tool, "kind", progress),
        partial(Releases().tool, "kubectl", progress),
        partial(Releases().istio_archive, ISTIO, "linux", "amd64", progress),
    ):
        with pytest.raises(LabError, match="SHA-256"):
            fetch()
    assert not (settings().bin / "kind").exists()
    assert f"kind-{KIND}-{s.system}-{s.architecture}" in SHA256


def test_each_program_for_each_platform_has_a_checksum():
    platforms = [f"{system}-{architecture}" for system in ("linux", "darwin") for architecture in ("amd64", "arm64")]
    programs = [f"{name}-{platform}" for name in (f"kind-{KIND}", f"kubectl-{KUBERNETES}") for platform in platforms]
    assert set(programs) <= set(SHA256)
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in SHA256.values())
    assert len(set(SHA256.values())) == len(SHA256)


def test_definitions_are_compared_with_the_digest_in_settings(end, progress, monkeypatch):
    published = end.root / "kubernetes-sigs" / "gateway-api" / "releases" / "download" / f"v{GATEWAY_API}"
    published.mkdir(parents=True)
    (published / "standard-install.yaml").write_text("kind: CustomResourceDefinition\n")
    with pytest.raises(LabError, match="SHA-256"):
        Releases().gateway_api(progress)
    monkeypatch.setattr(releases, "GATEWAY_API_SHA256", hashlib.sha256(b"kind: CustomResourceDefinition\n").hexdigest())
    assert Releases().gateway_api(progress).read_text() == "kind: CustomResourceDefinition\n"


# -- reachable ----------------------------------------------------------------------------------


def registry(monkeypatch, address: str) -> None:
    monkeypatch.setenv("LABKIT_REGISTRY", address.removeprefix("http://"))


def test_reachable(end, tmp_path, monkeypatch):
    (end.root / "v2").mkdir()
    (end.root / "v2" / "index").write_text("")
    with far_end(tmp_path / "published") as images_end:
        images_end.fail("/v2/", busy(401))
        registry(monkeypatch, images_end.address)
        assert Releases().reachable() is None


def test_unreachable_says_what_and_why(end, monkeypatch):
    registry(monkeypatch, f"http://127.0.0.1:{free_port()}")
    end.fail("kubectl.sha256$", busy(503))
    reason = Releases().reachable()
    assert "images: 127.0.0.1" in reason
    assert "kubectl" in reason
    assert "503" in reason
    assert "Istio" not in reason


def test_everything_is_here_only_with_the_tools_and_the_image_and_no_network_is_asked(end, progress):
    Releases().tool("kind", progress)
    with backend.use(Played(lambda argv: (0, ""))):
        assert not Releases().is_here()
    Releases().tool("kubectl", progress)
    end.requests.clear()
    with backend.use(Played(lambda argv: (1, ""))):
        assert not Releases().is_here()
    with backend.use(Played(lambda argv: (0, ""))):
        assert Releases().is_here()
    assert end.requests == []


# -- images -------------------------------------------------------------------------------------


@pytest.fixture
def stocked(end, monkeypatch):
    """Istio's release is unpacked already, and asks for two images."""
    monkeypatch.setattr(releases, "ensure_release", lambda source, progress: settings().release_folder)
    monkeypatch.setattr(images, "wanted", lambda release, istioctl, *installs: ["docker.io/istio/pilot:1", "curl/curl"])

    def with_images(base, name, fill, progress):
        fill("the-node")
        return name

    monkeypatch.setattr(images, "with_images", with_images)


def pulls(**said: list[tuple[int, str]]) -> Callable[[list[str]], tuple[int, str]]:
    """No image is here; each pull whose command holds the word says what is next, then succeeds."""

    def answer(argv: list[str]) -> tuple[int, str]:
        if "inspect" in argv:
            return nothing(argv)
        script = next((lines for word, lines in said.items() if any(word in part for part in argv)), None)
        return script.pop(0) if script else (0, "")

    return answer


LIMIT = "Error response from daemon: toomanyrequests: You have reached your pull rate limit"
DOWN = "dial tcp 127.0.0.1:1: connect: connection refused"
DIGEST = "commit failed: unexpected commit digest sha256:aa, expected sha256:bb: failed precondition"


def test_images_come_from_the_registries_under_their_full_names(stocked, progress):
    with backend.use(Played(pulls())) as engine:
        Releases(node_image_digest="sha256:abc").node_image(progress)
    assert "docker pull kindest/node@sha256:abc" in engine.ran
    fetched = [command.split()[-1] for command in engine.ran if "content fetch" in command]
    assert fetched == ["docker.io/istio/pilot:1", "docker.io/curl/curl:latest"]
    assert not any("hosts" in command for command in engine.ran)


def test_a_mirror_stands_in_for_every_registry(stocked, progress, monkeypatch):
    registry(monkeypatch, "mirror.example:5000")
    with backend.use(Played(pulls())) as engine:
        Releases(node_image_digest="sha256:abc").node_image(progress)
    assert "docker pull mirror.example:5000/kindest/node@sha256:abc" in engine.ran
    assert all("--hosts-dir" in command for command in engine.ran if "content fetch" in command)


def test_a_proxy_is_told_by_its_name_and_whom_to_trust_by_a_file(stocked, progress, monkeypatch, tmp_path):
    authority = Authority.made(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@proxy.test:3128")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with backend.use(Played(pulls())) as engine:
        Releases().node_image(progress)
    fetches = [command for command in engine.ran if "content fetch" in command]
    assert fetches
    for word in ("--env HTTPS_PROXY ", "--env NO_PROXY ", "--env SSL_CERT_FILE=/dev/shm/"):
        assert all(word in command for command in fetches)
    assert not any(LOGIN in command for command in engine.ran)


@pytest.mark.parametrize("trouble", [LIMIT, DOWN, DIGEST])
@pytest.mark.parametrize("where", ["kindest", "pilot"])
def test_what_may_pass_is_tried_again_in_sight(stocked, progress, told, trouble, where):
    with backend.use(Played(pulls(**{where: [(1, trouble), (1, trouble)]}))) as engine:
        Releases().node_image(progress)
    assert engine.slept == [1.0, 3.0]
    assert sum("again in" in event.note for event in told) >= 2


@pytest.mark.parametrize("trouble", [LIMIT, DOWN, DIGEST])
def test_what_does_not_pass_is_one_error(stocked, progress, trouble):
    with backend.use(Played(pulls(pilot=[(1, trouble)] * 9))) as engine, pytest.raises(LabError) as raised:
        Releases().node_image(progress)
    assert len(engine.slept) == 4
    assert "istio/pilot" in raised.value.what
    assert trouble in raised.value.why


@pytest.mark.parametrize("trouble", ["docker.io/istio/pilot:1: not found", "write /x: no space left on device"])
def test_what_cannot_pass_is_not_tried_again(stocked, progress, trouble):
    with backend.use(Played(pulls(pilot=[(1, trouble)] * 9))) as engine, pytest.raises(LabError):
        Releases().node_image(progress)
    assert engine.slept == []


def test_troubles_are_told_apart():
    assert len({diagnose(words).why for words in (LIMIT, DOWN, DIGEST, "manifest unknown", "no space left")}) == 5


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("fortio/fortio:1.2", "docker.io/fortio/fortio:1.2"),
        ("registry.istio.io/release/pilot:1.31.1", "registry.istio.io/release/pilot:1.31.1"),
        ("localhost/a/b", "localhost/a/b:latest"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("docker.io/istio/pilot@sha256:abc", "docker.io/istio/pilot@sha256:abc"),
    ],
)
def test_full_names(image, full):
    assert full_name(image) == full
