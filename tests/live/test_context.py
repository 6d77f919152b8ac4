"""A cluster that others run: the course in one namespace of it, with the permissions of manifests/00-reader.yaml.

The group's own cluster stands in for theirs: Istio and Bookinfo are in it already, and must be there after it as they
were before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from labkit import backend, session
from labkit.settings import ISTIO, MANIFESTS, NOTEBOOKS, settings

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bookinfo_in_the_mesh")]

NAMESPACE, COMPANY = "reader", "company"
USER = f"system:serviceaccount:{COMPANY}:{NAMESPACE}"
WATCHED = (
    "pods,deployments,services,serviceaccounts,configmaps,secrets,gateways.networking.istio.io,virtualservices,"
    "destinationrules,namespaces,clusterroles,clusterrolebindings,customresourcedefinitions,"
    "mutatingwebhookconfigurations,validatingwebhookconfigurations"
)
_IDENTITY = (
    "{{range .items}}{{.kind}} {{.metadata.namespace}} {{.metadata.name}} {{.metadata.uid}} {{.metadata.generation}} "
    '{{.metadata.labels}} {{if eq (print .metadata.namespace) "default"}}{{.metadata.resourceVersion}}{{end}}{{"\\n"}}'
    "{{end}}"
)
ATTEMPTS = """
from labkit import backend, session
from labkit.notebook import choosing
from labkit.mesh import istio

choosing.take_up()
print(session.describe())
attempts = {
    "install": istio.install,
    "uninstall": istio.uninstall,
    "label": lambda: istio.set_injection("default", enabled=False),
    "delete": lambda: backend.run(["kubectl", "delete", "pods", "--all", "--namespace", "default"]),
    "create": lambda: backend.run(["kubectl", "create", "namespace", "planted"]),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except backend.NotYours as refused:
        print(name, "refused:", refused.why)
print(backend.run(["bash", "-c", "for n in default; do kubectl delete pods --all -n $n; done"], check=False).stderr)
"""


@dataclass
class Reader:
    """Somebody with a kubeconfig of two contexts: `company` as themselves, `powerful` as the cluster's own admin."""

    kubeconfig: Path
    env: dict[str, str] = field(default_factory=dict)

    def inside(self, context: str) -> dict[str, str]:
        return {**self.env, "LABKIT_VENUE": f"context:{context}"}

    def python(self, context: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=self.inside(context), text=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def reader(bookinfo_in_the_mesh, tmp_path_factory) -> Iterator[Reader]:
    """The company gives the reader a namespace, labelled for injection, and the permissions that the course names."""
    folder = tmp_path_factory.mktemp("reader")
    given = (MANIFESTS / "00-reader.yaml").read_text().replace("READER", NAMESPACE).replace("USER", USER)
    try:
        backend.run(["kubectl", "create", "namespace", COMPANY])
        backend.run(["kubectl", "create", "serviceaccount", NAMESPACE, "--namespace", COMPANY])
        backend.run(["kubectl", "apply", "--filename", "-"], stdin=given)
        token = backend.run(["kubectl", "create", "token", NAMESPACE, "--namespace", COMPANY]).stdout.strip()
        kubeconfig = folder / "config"
        kubeconfig.write_text(_kubeconfig(token))
        env = {"KUBECONFIG": str(kubeconfig), "LABKIT_HOME": str(folder / "home"), "LABKIT_NAMESPACE": NAMESPACE}
        path = os.pathsep.join([str(settings().bin), os.environ["PATH"]])  # where the reader has a kubectl of their own
        env |= {"LABKIT_GATEWAY": session.gateway(), "LABKIT_CACHE": str(settings().cache), "PATH": path}
        yield Reader(kubeconfig, {**os.environ, **env})
    finally:
        backend.run(["kubectl", "delete", "--filename", "-", "--ignore-not-found", "--wait"], stdin=given)
        backend.run(["kubectl", "delete", "namespace", COMPANY, "--ignore-not-found", "--wait"])


@pytest.fixture
def untouched(reader) -> Iterator[None]:
    """Whatever the test does: outside of the reader's namespace all is as it was, and so is the reader's own file."""
    theirs, before = reader.kubeconfig.read_bytes(), _elsewhere()
    assert any(line.startswith("Deployment default productpage-v1 ") for line in before)
    yield
    assert _elsewhere() == before
    assert reader.kubeconfig.read_bytes() == theirs


def _kubeconfig(token: str) -> str:
    document = yaml.safe_load(settings().kubeconfig.read_text())
    [admin] = document["contexts"]
    of = {"cluster": admin["context"]["cluster"], "namespace": NAMESPACE}
    document["contexts"] = [
        {"name": "powerful", "context": {**of, "user": admin["context"]["user"]}},
        {"name": COMPANY, "context": {**of, "user": NAMESPACE}},
    ]
    document["users"].append({"name": NAMESPACE, "user": {"token": token}})
    document["current-context"] = "powerful"
    return yaml.safe_dump(document)


def _elsewhere() -> list[str]:
    argv = ["kubectl", "get", WATCHED, "--all-namespaces", "--output", f"go-template={_IDENTITY}"]
    return [line for line in backend.run(argv).stdout.splitlines() if line.split()[1] != NAMESPACE]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("context", ["powerful", COMPANY])
def test_what_is_not_the_readers_is_refused_even_to_one_who_might(reader, context):
    told = reader.python(context, "-c", ATTEMPTS)

    first, *refused = told.stdout.strip().splitlines()
    assert first == f"Live mesh: context {context}, namespace {NAMESPACE}, Istio {ISTIO} found in place", told.stderr
    assert [line.split()[0] for line in refused if "refused:" in line] == [
        "install", "uninstall", "label", "delete", "create",
    ]  # fmt: skip
    assert "is in namespace default, which is somebody else's" in told.stdout


@pytest.mark.usefixtures("untouched")
def test_a_notebook_works_there_unchanged(reader):
    [path] = NOTEBOOKS.glob("05-*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}})
    client.execute(env=reader.inside(COMPANY))

    said = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in _outputs(notebook)]
    assert any(text.startswith(f"Live mesh: context {COMPANY}, namespace {NAMESPACE}") for text in said)
    checks = [text.splitlines()[-1] for text in said if text.endswith(" passed")]
    assert (checks[0], checks[-1]) == ("3/3 passed", "1/1 passed")  # the lab's, and its exercise's once it is solved
    status = reader.python(COMPANY, "-m", "labkit.cli", "status").stdout
    assert f"✓ {'Istio':<18} {ISTIO}, found in place" in status
    assert f"✓ {'Bookinfo':<18}" in status


@pytest.mark.usefixtures("untouched")
def test_a_namespace_that_is_in_use_is_not_taken(reader):
    backend.run(["kubectl", "create", "configmap", "in-use", "--namespace", NAMESPACE])
    newcomer = Reader(reader.kubeconfig, {**reader.env, "LABKIT_HOME": str(reader.kubeconfig.parent / "newcomer")})

    told = newcomer.python(COMPANY, "-m", "labkit.cli", "status")

    assert told.returncode == 1
    assert "is not empty" in told.stderr
    assert "Traceback" not in told.stderr


def _outputs(notebook) -> Iterator[dict]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])
