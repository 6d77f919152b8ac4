"""What the projects publish: kind, kubectl, Helm and Istio with their checksums, and images from their registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labkit import backend
from labkit.backend.live import network
from labkit.cluster import images
from labkit.cluster.downloads import archive_name, fetch, install_program, program_in
from labkit.cluster.source import ensure_release
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import (
    DOCKER_HUB,
    GATEWAY_API,
    GATEWAY_API_RELEASES,
    GATEWAY_API_SHA256,
    HELM,
    HELM_RELEASES,
    ISTIO,
    ISTIO_RELEASES,
    KIND,
    KIND_RELEASES,
    KUBERNETES,
    KUBERNETES_RELEASES,
    NODE_IMAGE,
    NODE_IMAGE_DIGEST,
    SHA256,
    settings,
)

PAUSES = (1.0, 3.0, 9.0, 27.0)  # seconds between one attempt at a registry and the next
PATIENCE = 2.0  # seconds for a host to answer at all
HOSTS = "/etc/containerd/mirror.d"
TRUSTED = "/dev/shm/trusted.pem"  # noqa: S108 - the container's own memory: no part of the image that is made of it


@dataclass(frozen=True)
class Releases:
    """The Source for a machine with internet, or with a mirror of it.

    LABKIT_DOWNLOADS stands in for every download host, LABKIT_REGISTRY for every image registry;
    neither is trusted more than what it stands in for. versions.toml has the checksums and digests of the versions
    that the course is written for; those of others are compared with what is published beside them.
    """

    node_image_digest: str = NODE_IMAGE_DIGEST
    name: str = "releases"
    origin: str = "releases"
    differences: tuple[str, ...] = ()

    def is_here(self) -> bool:
        """Whether nothing has to be fetched any more: a course begun at home goes on without a network."""
        tools = (settings().bin / "kind", settings().bin / "kubectl")
        return all(tool.exists() for tool in tools) and images.exists(self._node_image_name())

    def reachable(self) -> str | None:
        """None if everything can be had from here, else why not. Answers within two seconds."""
        asked = {
            "kind": _kind_address() + ".sha256sum",
            "kubectl": _kubectl_address() + ".sha256",
            "Istio": _istio_address(_archive_here()) + ".sha256",
            "images": f"{_registry_address()}/v2/",
        }
        seen = backend.together({name: partial(_refusal, url) for name, url in asked.items()}, PATIENCE)
        silent = f"no answer within {PATIENCE:.0f} s"
        reasons = {name: seen.get(name, silent) for name in asked}
        return "; ".join(f"{name}: {why}" for name, why in reasons.items() if why) or None

    def tool(self, program: str, progress: Progress) -> Path:
        """`kind`, `kubectl` or `helm`, verified, in settings().bin. Raises LabError."""
        url, suffix, version = {
            "kind": (_kind_address(), ".sha256sum", KIND),
            "kubectl": (_kubectl_address(), ".sha256", KUBERNETES),
            "helm": (_helm_address(), ".sha256sum", HELM),
        }[program]
        s = settings()
        checksum = SHA256.get(f"{program}-{version}-{s.system}-{s.architecture}", url + suffix)
        with progress.stage(f"{program} {version}") as note:
            kept = fetch(url, checksum, _downloads() / f"{program}-{version}" / url.rpartition("/")[2], note)
            if kept.name.endswith(".tar.gz"):
                kept = program_in(kept, program, kept.with_name(program))
            return install_program(kept, settings().bin / program)

    def istio_archive(self, version: str, system: str, architecture: str, progress: Progress) -> Path:
        """Istio's release archive, verified. Raises LabError."""
        name = archive_name(version, system, architecture)
        url = _istio_address(name)
        with progress.stage(f"Istio {version}") as note:
            return fetch(url, SHA256.get(name, url + ".sha256"), _downloads() / name, note)

    def gateway_api(self, progress: Progress) -> Path:
        """The Kubernetes Gateway API's definitions, compared with the digest in settings. Raises LabError."""
        url = address(f"{GATEWAY_API_RELEASES}/v{GATEWAY_API}/standard-install.yaml")
        with progress.stage(f"Gateway API {GATEWAY_API}") as note:
            return fetch(url, GATEWAY_API_SHA256, _downloads() / f"gateway-api-{GATEWAY_API}.yaml", note)

    def node_image(self, progress: Progress) -> str:
        """kind's node image with the course's images pulled into it. Raises LabError."""
        name = self._node_image_name()
        if images.exists(name):
            return name
        release = ensure_release(self, progress)
        names = images.wanted(release, release / "bin" / "istioctl", *images.PUBLISHED_ALONE)
        return images.with_images(self._node_base(progress), name, partial(_pull_all, names, progress), progress)

    def _node_image_name(self) -> str:
        """What decides which images it holds: Istio's version, and which of its samples and settings are run."""
        installs = (path.read_text("utf-8") for path in images.PUBLISHED_ALONE)
        return images.node_image(NODE_IMAGE, self.node_image_digest, ISTIO, *images.SAMPLES, *installs)

    def _node_base(self, progress: Progress) -> str:
        reference = _mirrored(NODE_IMAGE)
        if self.node_image_digest:
            reference = f"{reference.rpartition(':')[0]}@{self.node_image_digest}"
        with progress.stage(NODE_IMAGE) as note:
            if not images.exists(reference):
                _patiently(NODE_IMAGE, lambda: _pull(reference, note), note)
            backend.run(["docker", "tag", reference, NODE_IMAGE])
        return reference


# -- addresses ----------------------------------------------------------------------------------


def _kind_address() -> str:
    s = settings()
    return address(f"{KIND_RELEASES}/v{KIND}/kind-{s.system}-{s.architecture}")


def _kubectl_address() -> str:
    s = settings()
    return address(f"{KUBERNETES_RELEASES}/v{KUBERNETES}/bin/{s.system}/{s.architecture}/kubectl")


def _helm_address() -> str:
    s = settings()
    return address(f"{HELM_RELEASES}/helm-v{HELM}-{s.system}-{s.architecture}.tar.gz")


def _istio_address(name: str) -> str:
    return address(f"{ISTIO_RELEASES}/{name.split('-')[1]}/{name}")


def _archive_here() -> str:
    s = settings()
    return archive_name(ISTIO, s.system, s.architecture)


def address(url: str) -> str:
    """A mirror keeps the paths of what it mirrors."""
    base = settings().downloads
    path = url.split("/", 3)[3]
    return f"{base.rstrip('/')}/{path}" if base else url


def _registry_address() -> str:
    registry = settings().registry
    return f"{_scheme(registry)}://{registry}" if registry else DOCKER_HUB


def _scheme(registry: str) -> str:
    """Docker's own rule: plain HTTP to this machine, TLS to any other."""
    return "http" if registry.split(":")[0] in ("localhost", "127.0.0.1") else "https"


def _mirrored(image: str) -> str:
    registry = settings().registry
    return f"{registry}/{image}" if registry else image


def _refusal(url: str) -> str:
    """Why nothing can be had there; empty if it can."""
    try:
        status = backend.http("HEAD", url, timeout=PATIENCE).status
    except backend.Unreachable as error:
        return f"{network.shown(url).split('/')[2]} does not answer ({error.why})"
    wanted = status < 400 or status == 401  # a registry says 401 to whoever has not asked for a token yet
    return "" if wanted else f"{network.shown(url)} answers {status}"


# -- files --------------------------------------------------------------------------------------


def _downloads() -> Path:
    return settings().cache / "releases"


# -- images -------------------------------------------------------------------------------------


def _pull(reference: str, note: Callable[[str], None]) -> None:
    """The engine pulls, and keeps the layers that it has when it is interrupted."""
    layers: dict[str, str] = {}

    def on_line(line: str) -> None:
        layer, colon, state = line.partition(": ")
        if colon and state in LAYER_STATES:
            layers[layer] = state
            done = sum(state in ("Pull complete", "Already exists") for state in layers.values())
            note(f"{done} of {len(layers)} layers")

    backend.run(["docker", "pull", reference], on_line=on_line)


LAYER_STATES = (
    "Pulling fs layer", "Waiting", "Verifying Checksum", "Download complete", "Pull complete", "Already exists",
)  # fmt: skip


def _pull_all(names: Sequence[str], progress: Progress, container: str) -> None:
    """containerd inside `container` fetches each image, and leaves it packed: a node unpacks what its pods start."""
    ctr = ["ctr", "--namespace", "k8s.io", "content", "fetch", *_hosts(container)]
    fetch = ["docker", "exec", *_ways_out(container), container, *ctr]
    with progress.stage("Pull images") as note:
        for position, name in enumerate(names, 1):
            note(f"{position} of {len(names)}: {name}")
            _patiently(name, partial(backend.run, [*fetch, full_name(name)]), note)


def full_name(image: str) -> str:
    """An image's name with its registry and tag, as containerd wants it: Docker's rules for what is left out."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not (set(first) & set(".:") or first == "localhost"):
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _ways_out(container: str) -> list[str]:
    """Options of `docker exec` for what fetches: the reader's proxies, by name alone, and whom the reader trusts."""
    variables = network.variables()
    if trusted := network.authorities():
        write = ["sh", "-c", f"cat >{TRUSTED}"]
        backend.run(["docker", "exec", "--interactive", container, *write], stdin=trusted)
        variables.append(f"SSL_CERT_FILE={TRUSTED}")
    return [word for variable in variables for word in ("--env", variable)]


def _hosts(container: str) -> list[str]:
    """Point containerd at the mirror, and only there (https://github.com/containerd/containerd/blob/main/docs/hosts.md)."""
    if not settings().registry:
        return []
    mirror = _registry_address()
    hosts = f'server = "{mirror}"\n\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'
    write = f"mkdir -p {HOSTS}/_default && cat >{HOSTS}/_default/hosts.toml"
    backend.run(["docker", "exec", "--interactive", container, "sh", "-c", write], stdin=hosts)
    return ["--hosts-dir", HOSTS]


def _patiently(what: str, attempt: Callable[[], object], note: Callable[[str], None]) -> None:
    """Try again what a registry or a network may yet do; then one LabError."""
    for pause in (*PAUSES, None):
        try:
            attempt()
            return
        except backend.CommandFailed as error:
            trouble = diagnose(error.why)
            if pause is None or trouble.final:
                said = error.why.splitlines()[-1]
                raise LabError(f"{what} could not be pulled.", f"{trouble.why}: {said}", trouble.fix) from error
        note(f"{what}: {trouble.why}; again in {pause:.0f} s")
        backend.sleep(pause)


@dataclass(frozen=True)
class Trouble:
    """What a registry client's words mean. `final`: no second attempt can help."""

    why: str
    fix: str
    final: bool = False


TROUBLES: tuple[tuple[tuple[str, ...], Trouble], ...] = (
    (
        ("no space left",),
        Trouble("the engine's disk is full", "`docker system df` shows what fills it; free 10 GiB, then go on", True),
    ),
    (
        ("toomanyrequests", "too many requests", " 429"),
        Trouble(
            "the registry allows this address no more pulls for now (429 Too Many Requests)",
            "wait an hour, or name a registry that mirrors it with LABKIT_REGISTRY; a class wants a mirror of its own",
        ),
    ),
    (
        ("unexpected commit digest", "verification failed", "failed to verify", "does not match", "digest invalid"),
        Trouble(
            "what came is not what its digest says: it was changed or damaged on its way",
            "run it again; if it stays so, try another network, or another LABKIT_REGISTRY",
        ),
    ),
    (
        ("not found", "manifest unknown", "name unknown"),
        Trouble(
            "the registry does not have it",
            "check LABKIT_REGISTRY: a mirror must hold every image under its official path",
            True,
        ),
    ),
    (
        ("unauthorized", "denied", " 403"),
        Trouble("the registry refuses", "check LABKIT_REGISTRY; the course's images need no sign-in", True),
    ),
)  # fmt: skip
UNREACHABLE = Trouble(
    "the registry does not answer as it should",
    "check the network; behind a firewall, name a registry that mirrors the official ones with LABKIT_REGISTRY",
)


def diagnose(output: str) -> Trouble:
    """What docker's or containerd's words about a failed pull mean to a reader."""
    said = output.lower()
    return next((trouble for words, trouble in TROUBLES if any(word in said for word in words)), UNREACHABLE)
