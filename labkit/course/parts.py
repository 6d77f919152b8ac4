"""What the labs build, part upon part: a lab's start is the list of parts that stand then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from labkit import backend, session
from labkit.cluster import bring_up, kind, release
from labkit.mesh import bookinfo, istio, objects
from labkit.mesh.telemetry import prometheus
from labkit.progress import Progress
from labkit.settings import GATEWAY_NODE_PORT, NAMESPACE, settings
from labkit.settings import ISTIO as ISTIO_VERSION


@dataclass(frozen=True)
class Part:
    """Something that stands or does not. `make` and `remove` may be repeated and interrupted at will.

    `objects` are the part's own in the reader's namespace; anything else there is a leftover.
    `detail` says more of a part that stands. `is_ours`: whether the course may remove it; else it stays as it is found.
    """

    name: str
    stands: Callable[[], bool]
    make: Callable[[Progress], None]
    remove: Callable[[Progress], None]
    objects: Callable[[], list[dict[str, Any]]] = list
    detail: Callable[[], str] = str
    is_ours: Callable[[], bool] = lambda: True


def _release_stands() -> bool:
    return backend.exists(settings().istio_folder / "samples") and backend.exists(settings().bin / "istioctl")


def _make_release(progress: Progress) -> None:
    if _release_stands():
        return
    with progress.stage("Istio's release"):
        release.copy()
        release.put_on_path()


def _remove_release(progress: Progress) -> None:
    release.remove()


def _istio_stands() -> bool:
    if not session.owns_cluster():
        return istio.version() != ""  # which version, and with which gateways, is for others to say
    return istio.is_installed() and _gateway_port_is_set()


def _gateway_port_is_set() -> bool:
    ports = objects.get("services", istio.GATEWAYS[0], istio.NAMESPACE)["spec"]["ports"]
    return any(port.get("nodePort") == GATEWAY_NODE_PORT and port["port"] == 80 for port in ports)


def wake_istiod(progress: Progress) -> None:
    """What 07 scaled to zero, and an interruption left there: without it Istio can neither stand nor be removed."""
    if istio.is_scaled_to_zero():
        with progress.stage("istiod") as note:
            istio.scale_up(note)


def _istio_detail() -> str:
    if not session.owns_cluster():
        return f"{istio.version()}, found in place"
    return f"{ISTIO_VERSION}, profile demo"


def _make_istio(progress: Progress) -> None:
    wake_istiod(progress)
    if _istio_stands():
        return
    with progress.stage("Istio") as note:
        istio.install(note)


def _remove_istio(progress: Progress) -> None:
    with progress.stage("remove Istio"):
        istio.uninstall()


def _make_injection(progress: Progress) -> None:
    if not session.owns_cluster() and istio.injection_is_enabled(NAMESPACE):
        return  # to label a namespace takes more than to fill it
    istio.set_injection(NAMESPACE, enabled=True)


def _remove_injection(progress: Progress) -> None:
    istio.set_injection(NAMESPACE, enabled=False)


def _bookinfo_stands() -> bool:
    there = {d["metadata"]["name"] for d in objects.list_("deployments", NAMESPACE, group="apps")}
    return set(bookinfo.deployments()) <= there


def _make_bookinfo(progress: Progress) -> None:
    with progress.stage("Bookinfo") as note:
        bookinfo.deploy(report=note)


def _remove_bookinfo(progress: Progress) -> None:
    with progress.stage("remove Bookinfo"):
        bookinfo.remove()


def _gateway_stands() -> bool:
    return all(
        objects.find(
            f"{document['kind'].lower()}s", document["metadata"]["name"], NAMESPACE, group="networking.istio.io"
        )
        for document in objects.read(bookinfo.gateway_manifest())
    )


def _make_gateway(progress: Progress) -> None:
    with progress.stage("Bookinfo's gateway") as note:
        objects.apply(bookinfo.gateway_manifest(), namespace=NAMESPACE)
        bookinfo.wait_for_page(timeout=240, report=note)  # Bookinfo itself may be starting


def _remove_gateway(progress: Progress) -> None:
    objects.delete(bookinfo.gateway_manifest(), namespace=NAMESPACE)


def _make_prometheus(progress: Progress) -> None:
    with progress.stage("Prometheus") as note:
        prometheus.deploy(note)


def _remove_prometheus(progress: Progress) -> None:
    with progress.stage("remove Prometheus"):
        prometheus.remove()


def _keep(progress: Progress) -> None:
    """The cluster is removed by `labkit down` and by nothing else."""


CLUSTER = Part("cluster", bring_up.is_up, bring_up.bring_up, _keep, detail=bring_up.name)
RELEASE = Part(
    "Istio's release", _release_stands, _make_release, _remove_release, detail=lambda: str(settings().istio_folder)
)
ISTIO = Part("Istio", _istio_stands, _make_istio, _remove_istio, detail=_istio_detail, is_ours=session.owns_cluster)
INJECTION = Part(
    "injection label",
    lambda: istio.injection_is_enabled(NAMESPACE),
    _make_injection,
    _remove_injection,
    is_ours=session.owns_cluster,
)
BOOKINFO = Part(
    "Bookinfo", _bookinfo_stands, _make_bookinfo, _remove_bookinfo, lambda: objects.read(bookinfo.manifest())
)
GATEWAY = Part(
    "gateway",
    _gateway_stands,
    _make_gateway,
    _remove_gateway,
    lambda: objects.read(bookinfo.gateway_manifest()),
    lambda: session.gateway() + bookinfo.PAGE,
)
PROMETHEUS = Part(
    "Prometheus", prometheus.is_installed, _make_prometheus, _remove_prometheus, is_ours=session.owns_cluster
)
UP = (CLUSTER, RELEASE, ISTIO, INJECTION, BOOKINFO, GATEWAY)  # what `labkit up` makes
PARTS = (*UP, PROMETHEUS)


def make_all(progress: Progress) -> None:
    """Bookinfo and all that it needs, each part as soon as may be: Istio once the API server answers, while kind is
    still at work; Bookinfo once istiod can inject it, while the gateways still start. In somebody
    else's cluster one after the other, as most of them are only looked for."""
    if not session.owns_cluster():
        for part in UP:
            part.make(progress)
        return
    kind.remove_half_made(progress)
    with backend.threads() as pool:
        creating = pool.submit(CLUSTER.make, progress)
        _until("the cluster's API server", kind.answers, creating)
        installing = pool.submit(ISTIO.make, progress)
        RELEASE.make(progress)
        _until("istiod's injection webhook", istio.injector_is_ready, installing)
        INJECTION.make(progress)
        last = [pool.submit(part.make, progress) for part in (BOOKINFO, GATEWAY)]
        for part in (creating, installing, *last):
            part.result()


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
