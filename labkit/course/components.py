"""What the labs build, one component upon the other: a lab's start is the list of those that are ready then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from labkit import backend, session
from labkit.cluster import bring_up, kind, release
from labkit.errors import LabError
from labkit.mesh import bookinfo, helm, istio, objects, providers, tracing
from labkit.mesh.telemetry import prometheus
from labkit.progress import Progress
from labkit.settings import GATEWAY_NODE_PORT, NAMESPACE, settings
from labkit.settings import HELM as HELM_VERSION
from labkit.settings import ISTIO as ISTIO_VERSION


@dataclass(frozen=True)
class Component:
    """Something that is ready or not. `ensure` and `remove` may be repeated and interrupted at will.

    `objects` are the component's own in the reader's namespace; anything else there is a leftover.
    `detail` says more of one that is ready. `is_ours`: whether the course may remove it; else it stays as it is found.
    `is_begun`, where one may be there in part: whether anything of it is, and so is to be removed.
    """

    name: str
    is_ready: Callable[[], bool]
    ensure: Callable[[Progress], None]
    remove: Callable[[Progress], None]
    objects: Callable[[], list[dict[str, Any]]] = list
    detail: Callable[[], str] = str
    is_ours: Callable[[], bool] = lambda: True
    is_begun: Callable[[], bool] | None = None

    def is_there(self) -> bool:
        return (self.is_begun or self.is_ready)()


def _release_is_ready() -> bool:
    return backend.exists(settings().istio_folder / "samples") and backend.exists(settings().bin / "istioctl")


def _ensure_release(progress: Progress) -> None:
    if _release_is_ready():
        return
    with progress.stage("Istio's release"):
        release.copy()
        release.put_on_path()


def _remove_release(progress: Progress) -> None:
    release.remove()


def _istio_is_ready() -> bool:
    if not session.owns_cluster():
        return istio.version() != ""  # which version, and with which gateways, is for others to say
    return istio.is_installed() and _gateway_port_is_set()


def _gateway_port_is_set() -> bool:
    service = objects.find("services", istio.GATEWAYS[0], istio.NAMESPACE)
    ports = service["spec"]["ports"] if service else []
    return any(port.get("nodePort") == GATEWAY_NODE_PORT and port["port"] == 80 for port in ports)


def wake_istiod(progress: Progress) -> dict[str, Any]:
    """What 07 scaled to zero, and an interruption left there: without it Istio can neither stand nor be removed.

    Its Deployment as it was found; empty where there is none.
    """
    found = istio.control_plane()
    if istio.is_scaled_to_zero(found):
        with progress.stage("istiod") as note:
            istio.scale_up(note)
    return found or {}


def remove_revisions(progress: Progress) -> None:
    """The control planes that 21 puts beside the first, and the tags: whoever changes Istio would meet two."""
    if not session.owns_cluster():
        return
    for tag in istio.tags():
        with progress.stage(f"remove Istio's tag {tag}"):
            istio.remove_tag(tag)
    for name in istio.other_revisions():
        with progress.stage(f"remove Istio's revision {name}"):
            istio.remove_revision(name)


def remove_releases(progress: Progress) -> None:
    """What 26 installs with Helm. A release that took over what istioctl had installed is forgotten, not uninstalled:
    its objects are the whole mesh's, and `take_back` gives them to istioctl."""
    if not session.owns_cluster():
        return
    found, adopter = helm.releases(), helm.adopted_by()
    if found:
        _ensure_helm(progress)
    for release_ in found:
        with progress.stage(f"remove Helm's release {release_.name}"):
            (helm.forget if release_.name == adopter else helm.remove)(release_)


def remove_providers(progress: Progress) -> None:
    """What 27 and 28 write into the mesh's settings. Once nobody names them any more: a policy whose provider is gone
    refuses all."""
    if not session.owns_cluster() or not providers.names():
        return
    with progress.stage("take added providers out of the mesh's settings"):
        providers.remove()


def leave_ambient(istiod: dict[str, Any], progress: Progress) -> None:
    """What 29 turns on. Bookinfo's pods, which may have no sidecars, are made anew; `ISTIO` takes away ztunnel."""
    if not session.owns_cluster() or not istio.is_ambient(istiod):
        return
    with progress.stage("leave ambient mode"):
        istio.leave_ambient(NAMESPACE)
    BOOKINFO.remove(progress)


def take_back(progress: Progress) -> None:
    """Give istioctl what a release of Helm's took over. It waits for istiod, which nothing may keep from starting."""
    if not session.owns_cluster() or not helm.adopted_by():
        return
    with progress.stage("give istioctl back what Helm took over") as note:
        if istio.version():
            istio.install(note)
        helm.disown()


def _istio_detail() -> str:
    if not session.owns_cluster():
        return f"{istio.version()}, found in place"
    return f"{ISTIO_VERSION}, profile demo"


def _ensure_istio(progress: Progress) -> None:
    leave_ambient(wake_istiod(progress), progress)
    if _istio_is_ready():
        return
    with progress.stage("Istio") as note:
        istio.install(note)


def _remove_istio(progress: Progress) -> None:
    with progress.stage("remove Istio"):
        istio.uninstall()


def _ensure_injection(progress: Progress) -> None:
    if not session.owns_cluster() and istio.injection_is_enabled(NAMESPACE):
        return  # to label a namespace takes more than to fill it
    istio.set_injection(NAMESPACE, enabled=True)


def _remove_injection(progress: Progress) -> None:
    istio.set_injection(NAMESPACE, enabled=False)


def _bookinfo_is_ready() -> bool:
    there = {d["metadata"]["name"] for d in objects.list_("deployments", NAMESPACE, group="apps")}
    return set(bookinfo.deployments()) <= there


def _ensure_bookinfo(progress: Progress) -> None:
    with progress.stage("Bookinfo") as note:
        bookinfo.deploy(report=note)


def _remove_bookinfo(progress: Progress) -> None:
    with progress.stage("remove Bookinfo"):
        bookinfo.remove()


def _gateway_is_ready() -> bool:
    return all(objects.find_like(document, NAMESPACE) for document in objects.read(bookinfo.gateway_manifest()))


def _ensure_gateway(progress: Progress) -> None:
    with progress.stage("Bookinfo's gateway") as note:
        for document in objects.read(bookinfo.gateway_manifest()):
            # not `kubectl apply`: it would leave what somebody patched into an object beside what it says
            objects.put({**document, "metadata": {**document["metadata"], "namespace": NAMESPACE}})
        bookinfo.wait_for_page(timeout=240, report=note)  # Bookinfo itself may be starting


def _remove_gateway(progress: Progress) -> None:
    objects.delete(bookinfo.gateway_manifest(), namespace=NAMESPACE)


def _ensure_prometheus(progress: Progress) -> None:
    with progress.stage("Prometheus") as note:
        prometheus.deploy(note)


def _remove_prometheus(progress: Progress) -> None:
    with progress.stage("remove Prometheus"):
        prometheus.remove()


def _ensure_jaeger(progress: Progress) -> None:
    with progress.stage("Jaeger") as note:
        tracing.deploy(note)


def _remove_jaeger(progress: Progress) -> None:
    with progress.stage("remove Jaeger"):
        tracing.remove()


def _ensure_helm(progress: Progress) -> None:
    if not release.has_helm():
        release.helm(progress.tell)


def _keep(progress: Progress) -> None:
    """The cluster is removed by `labkit down` and by nothing else, and no lab minds that helm is there."""


CLUSTER = Component("cluster", bring_up.is_up, bring_up.bring_up, _keep, detail=bring_up.name)
RELEASE = Component(
    "Istio's release", _release_is_ready, _ensure_release, _remove_release, detail=lambda: str(settings().istio_folder)
)
ISTIO = Component(
    "Istio",
    _istio_is_ready,
    _ensure_istio,
    _remove_istio,
    detail=_istio_detail,
    is_ours=session.owns_cluster,
    is_begun=istio.is_begun,
)
INJECTION = Component(
    "injection label",
    lambda: istio.injection_is_enabled(NAMESPACE),
    _ensure_injection,
    _remove_injection,
    is_ours=session.owns_cluster,
)
BOOKINFO = Component(
    "Bookinfo", _bookinfo_is_ready, _ensure_bookinfo, _remove_bookinfo, lambda: objects.read(bookinfo.manifest())
)
GATEWAY = Component(
    "gateway",
    _gateway_is_ready,
    _ensure_gateway,
    _remove_gateway,
    lambda: objects.read(bookinfo.gateway_manifest()),
    lambda: session.gateway() + bookinfo.PAGE,
)
PROMETHEUS = Component(
    "Prometheus", prometheus.is_installed, _ensure_prometheus, _remove_prometheus, is_ours=session.owns_cluster
)
JAEGER = Component("Jaeger", tracing.is_installed, _ensure_jaeger, _remove_jaeger, is_ours=session.owns_cluster)
HELM = Component("Helm", release.has_helm, _ensure_helm, _keep, detail=lambda: HELM_VERSION)
UP = (CLUSTER, RELEASE, ISTIO, INJECTION, BOOKINFO, GATEWAY)  # what `labkit up` makes
COMPONENTS = (*UP, PROMETHEUS, JAEGER)


def make_all(progress: Progress) -> None:
    """Bookinfo and all that it needs, each as soon as may be: Istio once the API server answers, while kind is still at
    work; Bookinfo once istiod can inject it, while the gateways still start. In a cluster that is there one after the
    other, as most of them are only looked for."""
    if not session.owns_cluster() or _cluster_stands():
        for component in UP:
            component.ensure(progress)
        return
    kind.remove_half_made(progress)
    with backend.threads() as pool:
        creating = pool.submit(CLUSTER.ensure, progress)
        _until("the cluster's API server", kind.answers, creating)
        installing = pool.submit(ISTIO.ensure, progress)
        RELEASE.ensure(progress)
        _until("istiod's injection webhook", istio.injector_is_ready, installing)
        INJECTION.ensure(progress)
        last = [pool.submit(component.ensure, progress) for component in (BOOKINFO, GATEWAY)]
        for making in (creating, installing, *last):
            making.result()


def _cluster_stands() -> bool:
    """Where no engine answers within a second it may be waking up, which whoever makes the cluster waits for."""
    try:
        return CLUSTER.is_ready()
    except LabError:
        return False


def _until(what: str, ready: Callable[[], bool], maker: Future[None]) -> None:
    """Wait until something is ready, or until what makes it has ended; an error of the maker's is raised."""
    backend.wait(
        what,
        observe=lambda: maker.done() or ready(),
        done=bool,
        state=lambda ready: "it does not answer yet",
        every=0.5,
        timeout=1800,  # the makers have limits of their own, and say more when they are reached
    )
    if maker.done():
        maker.result()
