"""Every check fails on the state before its step, and passes once the step is taken by the solution's own code."""

from __future__ import annotations

import pytest

from labkit import venue
from labkit.course import labs, parts, verbs
from labkit.course.labs.lab_01_what_is_a_service_mesh import WITHOUT_MESH
from labkit.course.labs.lab_08_mtls_certificates import STRANGER
from labkit.course.labs.lab_13_dns_proxy import OFF, ON
from labkit.mesh import bookinfo, istio, leftovers, objects, proxy, traffic
from labkit.progress import Progress
from labkit.settings import MANIFESTS, NAMESPACE, settings

pytestmark = pytest.mark.live


def silent(event) -> None:
    """Progress that nobody watches."""


def test_lab_00_fails_where_there_is_no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(settings().cache))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))

    report = verbs.check("00")

    assert [result.claim for result in report.results if result.passed] == []


def test_lab_00s_exercise_fails_until_it_is_solved_and_may_be_solved_twice():
    verbs.goto("00", silent)
    _solve_twice("00.1")


@pytest.fixture(scope="module", params=labs.LABS[1:], ids=lambda lab: lab.number)
def lab(request):
    """A lab whose start was just reached. Both tests below share it: the first changes nothing."""
    verbs.goto(request.param.number, silent)
    return request.param


def test_each_check_fails_at_its_labs_start(lab):
    report = verbs.check(lab.number)

    assert [result.claim for result in report.results if result.passed] == []


def test_each_exercise_fails_until_it_is_solved_and_may_be_solved_twice(lab):
    TAKE_STEP.get(lab.number, lambda: None)()
    _solve_twice(f"{lab.number}.1")


def _solve_twice(exercise: str) -> None:
    assert not verbs.check(exercise).passed

    verbs.solve(exercise, silent)
    verbs.solve(exercise, silent)

    assert verbs.check(exercise).passed, verbs.check(exercise)


def test_goto_brings_istiod_back():
    verbs.goto("07", silent)
    venue.run(["kubectl", "scale", "deployment/istiod", f"--namespace={istio.NAMESPACE}", "--replicas=0"])

    assert "Istio" in verbs.goto("07", silent).standing
    assert istio.is_installed()


# -- what a lab's own cells do before its exercise ----------------------------------------------
def _make(part: parts.Part) -> None:
    part.make(Progress(silent, venue.now))


def _bookinfo_without_a_mesh() -> None:
    _namespace(WITHOUT_MESH)
    bookinfo.deploy(WITHOUT_MESH)


def _stranger_refused() -> None:
    _namespace(STRANGER)
    for namespace in (STRANGER, NAMESPACE):
        traffic.deploy_client(namespace)
    proxy.propagate(MANIFESTS / "08-strict.yaml")


def _reviews_in_subsets() -> None:
    objects.apply(bookinfo.networking("destination-rule-all"), namespace=NAMESPACE)


def _jason_waits_for_his_ratings() -> None:
    for name in ("destination-rule-all", "virtual-service-reviews-jason-v2-v3", "virtual-service-ratings-test-delay"):
        proxy.propagate(bookinfo.networking(name))


def _two_dns_clients() -> None:
    objects.apply(MANIFESTS / "13-namespaces.yaml", namespace=NAMESPACE)
    patch = ["--patch-file", str(MANIFESTS / "13-capture.yaml")]
    for namespace in (OFF, ON):
        traffic.deploy_client(namespace)
    venue.run(["kubectl", "patch", "deployment/curl", "--namespace", ON, *patch])
    venue.run(["kubectl", "rollout", "status", "deployment/curl", "--namespace", ON, "--timeout=120s"])


def _least_privilege() -> None:
    traffic.deploy_client()
    for name in ("14-fresh-connections.yaml", "14-deny-all.yaml", "14-least-privilege.yaml"):
        proxy.propagate(MANIFESTS / name)


def _all_removed_but_one_volume() -> None:
    for part in reversed(labs.lab("15").start):
        part.remove(Progress(silent, venue.now))
    venue.run(["kubectl", "delete", "configmaps", "--all-namespaces", "--selector=istio.io/config=true"])
    left = leftovers.anywhere()
    gateway_api = [f"{kind}/{name}" for kind, name in zip(left.kind, left.name, strict=True) if "k8s.io" in name]
    if gateway_api:
        venue.run(["kubectl", "delete", *gateway_api])
    objects.apply(MANIFESTS / "15-forgotten.yaml", namespace=NAMESPACE)


def _namespace(name: str) -> None:
    if not objects.find("namespaces", name):
        venue.run(["kubectl", "create", "namespace", name])


TAKE_STEP = {
    "01": _bookinfo_without_a_mesh,
    "02": lambda: _make(parts.RELEASE),
    "03": lambda: _make(parts.ISTIO),
    "04": lambda: _make(parts.INJECTION),
    "05": lambda: _make(parts.BOOKINFO),
    "06": lambda: _make(parts.GATEWAY),
    "08": _stranger_refused,
    "10": _reviews_in_subsets,
    "11": _jason_waits_for_his_ratings,
    "12": traffic.deploy_client,
    "13": _two_dns_clients,
    "14": _least_privilege,
    "15": _all_removed_but_one_volume,
}
