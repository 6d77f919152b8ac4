"""Every check fails on the state before its step, and passes once its remedy has run, as a reader would paste it.

In each run some labs are drawn for it. That each passes after the lab's own steps, and that each exercise's check
refuses both nothing and a wrong answer until the solution's own code has run, the notebooks show for every lab: the
cells that say so are compared.
"""

from __future__ import annotations

import shlex

import nbformat
import pytest
from nbclient import NotebookClient
from pytest_live import skip_where_it_cannot_be_done
from tries.steps import remedies

from labkit import backend, session
from labkit.course import components, labs, verbs
from labkit.mesh import bookinfo, injection, istio, leftovers, objects, pods
from labkit.progress import Progress
from labkit.settings import NOTEBOOKS, settings

pytestmark = pytest.mark.live


def silent(event) -> None:
    """Progress that nobody watches."""


def test_lab_00_fails_where_there_is_no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(settings().cache))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))

    report = verbs.check("00")

    assert [result.claim for result in report.results if result.passed] == []


# what a reader does who is given the remedies, and then waits as readers do
UNTIL_IT_HOLDS = """
import time
for _ in range(45):
    report = check("{number}")
    if report.passed:
        break
    time.sleep(2)
report
"""


@pytest.mark.drawn
@pytest.mark.parametrize("lab", labs.LABS[1:], ids=lambda lab: lab.number)
def test_each_check_fails_at_its_labs_start_and_passes_once_its_remedy_has_run(lab):
    skip_where_it_cannot_be_done(lab.number)
    begin = ["%load_ext labkit", "from labkit import check, goto, mesh, release", f'goto("{lab.number}")']
    remedies = ["\n".join(check.remedy) for check in lab.checks]
    cells = [*begin, f'check("{lab.number}")', *remedies, UNTIL_IT_HOLDS.format(number=lab.number)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()

    at_the_start, at_the_end = (shown(notebook.cells[n]) for n in (len(begin), -1))
    assert f"0/{len(lab.checks)} passed" in at_the_start
    assert "✗" not in at_the_end, f"{at_the_end}\n{leftovers.anywhere()}"


def shown(cell) -> str:
    [result] = [output for output in cell.outputs if output.output_type == "execute_result"]
    return result.data["text/plain"]


def test_goto_brings_istiod_back():
    verbs.goto("07", silent)
    backend.run(["kubectl", "scale", "deployment/istiod", f"--namespace={istio.NAMESPACE}", "--replicas=0"])

    assert "Istio" in verbs.goto("07", silent).standing
    assert istio.is_installed()


# What a reader may leave behind who plants a fault, or patches, and goes on without mending it.
LEFT = {
    "21": (
        *(command.removeprefix("%") for command in labs.lab("21").checks[0].remedy),
        "istioctl tag set prod --revision canary",
        "kubectl label namespace default istio-injection- istio.io/rev=prod",
        "kubectl rollout restart deployment/details-v1",
        "kubectl rollout status deployment/details-v1 --timeout=120s",
    ),
    "26": (
        "helm install istiod-helm manifests/charts/istio-control/istio-discovery -n istio-system --set revision=helm",
        "helm install istio-base manifests/charts/base -n istio-system --take-ownership --force-conflicts",
    ),
    "27": (
        "kubectl apply -f $LABKIT_MANIFESTS/27-mesh.yaml",
        shlex.join(["bash", "-c", labs.lab("27").checks[1].remedy[1]]),
    ),
    "28": (shlex.join(["bash", "-euc", "\n".join(labs.lab("28").checks[0].remedy[1:])]),),
    "31": labs.exercise("31.5").fault,  # before what would stop its rollout
    "03": labs.exercise("03.2").fault,
    "04": labs.exercise("04.2").fault[:1],
    "05": labs.exercise("05.2").fault[:1],
    "06": (
        "kubectl patch gateways.networking.istio.io bookinfo-gateway --type=merge "
        """--patch '{"spec": {"selector": {"app": "other"}}}'""",
    ),
    "08": labs.exercise("08.2").fault,
    "14": labs.exercise("14.2").fault,
    "30": labs.exercise("30.1").fault,
    "99": labs.exercise("99.2").fault,
    "24": (
        "kubectl create secret generic cacerts -n istio-system --from-file=samples/certs/ca-cert.pem",
        "kubectl label secret cacerts -n istio-system app.kubernetes.io/part-of=istio-lab",
        "kubectl rollout restart deployment/istiod -n istio-system",
    ),
    "28.3": (  # no pod of details would start after it
        "kubectl apply -f $LABKIT_MANIFESTS/28-typo.yaml",
        *labs.exercise("28.3").fault,
    ),
}


def test_goto_puts_right_what_was_broken_and_left():
    components.HELM.ensure(Progress(silent, backend.now))
    verbs.goto("07", silent)
    for commands in LEFT.values():
        for command in commands:
            verbs._run(command)

    verbs.goto("07", silent)

    pages = bookinfo.page(12)
    assert set(pages.status) == {200}
    assert "" not in set(pages.version)
    assert verbs.what_changed().empty
    assert {istio.revision(injection.pod(name)) for name in bookinfo.deployments()} == {istio.DEFAULT}
    assert "istio-proxy" in injection.rehearse(output="jsonpath={.spec.initContainers[*].name}").stdout


def test_goto_leaves_ambient_mode():
    skip_where_it_cannot_be_done("29")
    verbs.goto("29", silent)
    for step in remedies("29", 0, 1):
        backend.run(["bash", "-euo", "pipefail", "-c", step], cwd=session.reader_folder(), timeout=600)
    assert verbs.check("29").results[0].passed

    verbs.goto("07", silent)

    assert not istio.is_ambient(istio.control_plane())
    assert objects.list_("daemonsets", istio.NAMESPACE, group="apps") == []
    assert verbs.what_changed().empty
    assert set(bookinfo.page(12).status) == {200}
    assert all("istio-proxy" in containers for containers in pods(selector="app=details").containers)
