"""The course's images, and the kind node image that holds them, so that a new cluster pulls nothing."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from labkit import backend
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import MANIFESTS, settings

NODE = "istio-lab/node"
CONTAINERD = "/var/lib/containerd"
STORE, CONTENT = f"{CONTAINERD}/io.containerd.content.v1.content", "/kind/content"
SNAPSHOTTER, SNAPSHOTS = f"{CONTAINERD}/io.containerd.snapshotter.v1.overlayfs", "/kind/snapshots"
VOLUME = "/unpacked"
# kind lays a volume over /var, into which Docker copies the image's whole /var for each new node: more than a GiB
# that is only read stays outside of it. Unpacking wants a volume too: overlayfs cannot write onto overlayfs.
BEFORE = f"""
set -e
if [ ! -L {STORE} ]; then
  mkdir -p {STORE}
  mv {STORE} {CONTENT}
  ln -s {CONTENT} {STORE}
fi
rm -rf {SNAPSHOTTER}
ln -s {VOLUME} {SNAPSHOTTER}
"""
AFTER = f"""
set -e
pkill -x containerd
while pgrep -x containerd; do sleep 0.1; done
rm -rf /run/containerd {SNAPSHOTTER}
mkdir -p {SNAPSHOTTER}/snapshots {SNAPSHOTS}
cp -a {VOLUME}/. {SNAPSHOTTER}
find {SNAPSHOTTER}/snapshots -mindepth 1 -maxdepth 1 -exec mv -t {SNAPSHOTS} {{}} +
find {SNAPSHOTS} -mindepth 1 -maxdepth 1 -exec ln -s -t {SNAPSHOTTER}/snapshots {{}} +
"""
# What is no JSON is a layer. containerd's own `discard_unpacked_layers` leaves an image in the same state.
DISCARD_LAYERS = f"""
set -e
for digest in $(ctr --namespace k8s.io content ls --quiet); do
  blob={CONTENT}/blobs/${{digest%:*}}/${{digest#*:}}
  [ "$(head --bytes 1 $blob)" = "{{" ] || ctr --namespace k8s.io content rm $digest
done
"""

# The samples whose pods the course runs, by their place in Istio's release.
SAMPLES = (
    "bookinfo/platform/kube/bookinfo.yaml",
    "curl/curl.yaml",
    "httpbin/httpbin.yaml",
    "httpbin/sample-client/fortio-deploy.yaml",
    "grpc-echo/grpc-echo.yaml",
    "extauthz/ext-authz.yaml",
    "addons/prometheus.yaml",
    "addons/jaeger.yaml",
)


# Settings of istioctl's that name images which the projects publish, and nobody can build from packages.
PUBLISHED_ALONE = (MANIFESTS / "29-ambient.yaml",)


def wanted(release: Path, istioctl: Path, *installs: Path) -> list[str]:
    """The names of all images that the demo profile, other settings and the course's samples ask for, sorted.

    `release` is Istio's release, unpacked. Raises LabError where a sample is missing, CommandFailed.
    """
    asked = [["--set", "profile=demo"], *(["--filename", str(path)] for path in installs)]
    made = [backend.run([istioctl, "manifest", "generate", *each]).stdout for each in asked]
    texts = [*made, *(_sample(release / "samples" / path) for path in SAMPLES)]
    return sorted({image for text in texts for image in images_in(text)})


def _sample(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(
            f"Istio's release lacks {path.name}.", str(error), "`labkit up --until istio` unpacks it again"
        ) from error


def images_in(manifests: str) -> Iterator[str]:
    """The image names in Kubernetes manifests (YAML, any number of documents), the injected proxy's included."""
    for document in yaml.load_all(manifests, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        yield from _images(document)


def _images(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _images(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str) and "{{" not in value and value != "auto":
                yield value
            else:
                yield from _images(value)


def preload(base: str, images: list[str], progress: Progress, *, unpacked: bool) -> str:
    """A node image that holds `images`, which are in the container engine. The same ones are never put in twice.

    `unpacked`: a pod's first start then need not unpack its image. No file of theirs may be hidden by a layer above:
    what marks it so cannot be laid into an image. Packed, they are as in kind's own node images.
    """
    name = node_image(*identities([base, *images]), *([] if unpacked else ["packed"]))

    def fill(container: str) -> None:
        save = shlex.join(["docker", "save", *images])
        load = shlex.join(
            ["docker", "exec", "-i", container, *CTR, "import", *([] if unpacked else ["--no-unpack"]), "-"]
        )
        backend.run(["bash", "-o", "pipefail", "-c", f"{save} | {load}"])
        if unpacked:
            _inside(container, DISCARD_LAYERS)

    return with_images(base, name, fill, progress)


CTR = ("ctr", "--namespace", "k8s.io", "images")


def node_image(*parts: str) -> str:
    """The name of the node image that is made from `parts` (identities of images, or names with digests)."""
    decisive = (*parts, BEFORE, AFTER, DISCARD_LAYERS)
    return f"{NODE}:{hashlib.sha256(' '.join(decisive).encode()).hexdigest()[:16]}"


def identities(images: list[str]) -> list[str]:
    """Their IDs in the container engine: digests of all they hold. Raises CommandFailed if one is not there."""
    return backend.run(["docker", "image", "inspect", "--format", "{{.Id}}", *images]).stdout.split()


def exists(image: str) -> bool:
    """Whether the container engine holds an image of that name."""
    return not backend.run(["docker", "image", "inspect", "--format", "{{.Id}}", image], check=False).returncode


def with_images(base: str, name: str, fill: Callable[[str], None], progress: Progress) -> str:
    """The node image `name`: `base` with what `fill` brings in; nothing is done if it is there already.

    `fill` gets the name of a container of the base image in which containerd runs; it imports or pulls into
    containerd's namespace k8s.io. The container is removed whatever happens.
    """
    if exists(name):
        return name
    container = f"{NODE.replace('/', '-')}-{name.rpartition(':')[2]}"
    with progress.stage("Node image") as note:
        _remove(container)
        try:
            note("starting containerd")
            _start(base, container)
            note("images go in")
            fill(container)
            note("committing")
            _inside(container, AFTER)
            backend.run(["docker", "commit", "--change", ENTRYPOINT, container, name])
        except backend.CommandFailed as error:
            raise disk_full(error.why) or error from error
        finally:
            _remove(container)
    return name


ENTRYPOINT = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'  # as kind commits its own node images


def _start(base: str, container: str) -> None:
    # the engine's own network: a registry at 127.0.0.1 is there for containerd as it is for the engine
    options = ["--detach", "--name", container, "--network", "host"]
    # privileged as kind's nodes are: containerd mounts what it unpacks
    options += ["--privileged", "--volume", VOLUME, "--entrypoint", "sleep"]
    backend.run(["docker", "run", *options, base, "infinity"])
    _inside(container, BEFORE)
    backend.run(["docker", "exec", "--detach", container, "containerd", "--log-level", "error"])
    backend.wait(
        "containerd in the node image",
        lambda: backend.run(["docker", "exec", container, "ctr", "version"], check=False),
        lambda answer: answer.returncode == 0,
        timeout=60,
        state=lambda answer: answer.stderr.strip(),
    )


def disk_full(output: str) -> LabError | None:
    """The error to raise where a command failed because no room was left, on disk or in the container engine."""
    if "no space left on device" not in output.lower():
        return None
    return LabError(
        "The disk is full.",
        output.strip().splitlines()[-1],
        f"make room: `docker system df` and `docker system prune` for the engine, `du -sh {settings().cache}` for "
        "downloads and builds; then run it again: what is done is kept",
    )


def _inside(container: str, script: str) -> None:
    backend.run(["docker", "exec", container, "bash", "-c", script])


def _remove(container: str) -> None:
    backend.run(["docker", "rm", "--force", "--volumes", container], check=False)
