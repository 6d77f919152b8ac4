"""The packages source: everything built from the registries of Go, Python, JavaScript, Java and Debian alone."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from labkit import backend
from labkit.cluster import downloads, images
from labkit.cluster.packages import gateway_api, istio, recipes, tools
from labkit.cluster.packages.build import build_images
from labkit.cluster.packages.steps import Note, Step, builds, make
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import GATEWAY_API, ISTIO, KIND, KUBERNETES, NODE_IMAGE, settings

NODE_BASE = "istio-lab/node-base"


class Packages:
    """See labkit.cluster.source.Source. kind, kubectl, Helm and Istio are handed out from `mirror`, which has the
    layout of their official addresses, checksums included, so that it can stand in for them."""

    name = "packages"
    origin = "packages"
    differences = istio.DIFFERENCES

    def is_here(self) -> bool:
        """Whether everything was built once, and the engine still holds it. What changed since is built anew."""
        built = _last_node_image()
        return built.exists() and images.exists(built.read_text())

    def reachable(self) -> str | None:
        """None if everything can be built here, else why not. Answers at once."""
        unmet = tools.obstacle()
        return unmet.what if unmet else None

    def tool(self, program: str, progress: Progress) -> Path:
        """`kind`, `kubectl` or `helm` in settings().bin, verified against the mirror's checksum. Raises LabError."""
        with progress.stage(program) as note:
            tools.require()
            if program == "helm":
                return _installed_from(self._helm_archive(note), settings().bin / program)
            step, name = _published(program)
            return _installed(make(step, note) / name, settings().bin / program)

    def istio_archive(self, version: str, system: str, architecture: str, progress: Progress) -> Path:
        """Istio's release archive, its checksum beside it. Raises LabError for one that cannot be built here."""
        name = downloads.archive_name(version, system, architecture)
        if (version, system, architecture) != (ISTIO, settings().system, settings().architecture):
            raise LabError(
                f"{name} cannot be built here.",
                "the packages source builds for the machine that it runs on",
                "let LABKIT_SOURCE=releases fetch it",
            )
        with progress.stage(f"Istio {version}") as note:
            tools.require()
            return make(istio.archive(system, architecture), note) / name

    def gateway_api(self, progress: Progress) -> Path:
        """The Kubernetes Gateway API's definitions, as the project publishes them. Raises LabError."""
        with progress.stage(f"Gateway API {GATEWAY_API}") as note:
            tools.require()
            return make(gateway_api.manifest(), note) / gateway_api.MANIFEST

    def node_image(self, progress: Progress) -> str:
        """The course's node image: Kubernetes' images, Istio's and the samples' on kind's own base."""
        name = images.preload(NODE_BASE, self.images(progress), progress, unpacked=True)
        _last_node_image().write_text(name)
        return name

    def images(self, progress: Progress) -> list[str]:
        """Every image the course needs, in the container engine, under the name that its manifests ask for."""
        with progress.stage("Images") as note:
            tools.require()
            names = [*_kubernetes_images(note), *_istio_images(note)]
            build_images([NODE_BASE, *names], note)
            return names

    def kind_node_image(self, progress: Progress) -> str:
        """kindest/node as kind publishes it, with Kubernetes' images alone: what the documented path starts from."""
        with progress.stage("kind's node image") as note:
            tools.require()
            names = _kubernetes_images(note)
            build_images([NODE_BASE, *names], note)
        packed = images.preload(NODE_BASE, names, progress, unpacked=False)
        backend.run(["docker", "tag", packed, NODE_IMAGE])
        return NODE_IMAGE

    def _helm_archive(self, note: Note) -> Path:
        """Where Helm publishes it, which is at the top of the mirror: no folder that one step could fill alone."""
        built = make(recipes.helm_archive(), note)
        self.mirror().mkdir(parents=True, exist_ok=True)
        for file in built.glob("*.tar.gz*"):
            shutil.copy2(file, self.mirror() / file.name)
        return self.mirror() / recipes.helm_archive_name()

    def mirror(self) -> Path:
        """The folder of published files: each at the path of its official address."""
        return builds() / "mirror"


def _last_node_image() -> Path:
    return builds() / "node-image"


def _published(program: str) -> tuple[Step, str]:
    """The step that puts a program into the mirror, and its name there."""
    system, architecture = settings().system, settings().architecture
    if program == "kind":
        name = f"kind-{system}-{architecture}"
        folder = f"mirror/kubernetes-sigs/kind/releases/download/v{KIND}"
        return _publish(recipes.kind(), "kind", folder, name, ".sha256sum"), name
    folder = f"mirror/release/v{KUBERNETES}/bin/{system}/{architecture}"
    return _publish(recipes.kubernetes(), "kubectl", folder, "kubectl", ".sha256"), "kubectl"


def _publish(built: Step, program: str, folder: str, name: str, suffix: str) -> Step:
    def publish(into: Path, note: Note) -> None:
        shutil.copy2(make(built, note) / program, into / name)
        istio.checksum(into / name, suffix)

    return Step(folder, (built.key, name, suffix), publish)


def _installed(published: Path, to: Path) -> Path:
    (checksum,) = published.parent.glob(f"{published.name}.sha256*")
    sha256 = downloads.checksum_for(published.name, checksum.read_text(), str(checksum))
    if to.exists() and downloads.sha256_of(to) == sha256:
        return to
    downloads.verify(published, sha256)
    return downloads.install_program(published, to)


def _installed_from(archive: Path, to: Path) -> Path:
    checksum = archive.with_name(f"{archive.name}.sha256sum")
    downloads.verify(archive, downloads.checksum_for(archive.name, checksum.read_text(), str(checksum)))
    return downloads.install_program(downloads.program_in(archive, to.name, builds() / to.name), to)


def _kubernetes_images(note: Note) -> list[str]:
    """What kubeadm asks for, and the pause image that kind's containerd asks for."""
    kubeadm = make(recipes.kubernetes(), note) / "kubeadm"
    listed = backend.run([kubeadm, "config", "images", "list", "--kubernetes-version", f"v{KUBERNETES}"]).stdout.split()
    containerd = tomllib.loads((make(recipes.kind_files(), note) / "files/etc/containerd/config.toml").read_text())
    pause = containerd["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"]
    return [*listed, pause]


def _istio_images(note: Note) -> list[str]:
    """What Istio's manifests ask for; written down, because istioctl takes longer to say it than all else takes."""

    def ask(into: Path, note: Note) -> None:
        names = images.wanted(make(istio.tree(), note), make(istio.commands(), note) / "istioctl")
        (into / "names").write_text("\n".join(names))

    step = Step("istio-images", (istio.commands().key, *images.SAMPLES), ask)
    return (make(step, note) / "names").read_text().splitlines()
