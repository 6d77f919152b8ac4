"""A cluster that exists already: which one, which namespace of it, and what the course keeps of it."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend, cli, session, settings
from labkit.api import access
from labkit.api.guard import Guard
from labkit.cluster import bring_up, context
from labkit.course import adoption, components, verbs
from labkit.errors import LabError
from labkit.mesh import istio, leftovers
from labkit.notebook import choosing
from labkit.progress import Progress

OURS = "reader"
SILENT = Progress(lambda event: None, lambda: 0.0)


def kubeconfig(*names: str, namespace: str = OURS) -> str:
    contexts = [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}} for name in names]
    return yaml.safe_dump({"kind": "Config", "contexts": contexts, "current-context": names[0]})


@pytest.fixture
def readers(monkeypatch, tmp_path) -> Path:
    """The reader's own kubeconfig with two contexts, of which the course was told one."""
    path = tmp_path / "readers" / "config"
    path.parent.mkdir()
    path.write_text(kubeconfig("other", "company"))
    for name, value in {
        "LABKIT_HOME": tmp_path / "home",
        "LABKIT_VENUE": "context:company",
        "KUBECONFIG": path,
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in ("LABKIT_GATEWAY", "LABKIT_NAMESPACE", "LABKIT_RECORDER"):
        monkeypatch.delenv(name, raising=False)
    in_namespace(monkeypatch, OURS)
    return path


def in_namespace(monkeypatch, name: str) -> None:
    """As in a kernel that was started with LABKIT_NAMESPACE."""
    for module in (context, adoption, components, verbs, choosing):
        monkeypatch.setattr(module, "NAMESPACE", name)


class Kubectl(Fake):
    """`kubectl config view` as far as the course uses it: of $KUBECONFIG, without credentials."""

    def run(self, argv, *, env, **_):
        assert argv[:4] == ["kubectl", "config", "view", "--minify"]
        assert "--raw" not in argv
        config = yaml.safe_load(Path(env["KUBECONFIG"]).read_text())
        name = argv[argv.index("--context") + 1]
        found = [each for each in config["contexts"] if each["name"] == name]
        if not found:
            return backend.Completed(tuple(argv), 1, "", f"error: cannot locate context {name}", 0.0)
        alone = json.dumps({**config, "contexts": found, "current-context": name})
        return backend.Completed(tuple(argv), 0, alone, "", 0.0)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """What a way was opened with; tests/unit/test_relay.py has the way itself."""
    ways = []

    def start(*way):
        ways.append(way)
        return tmp_path / "home" / ".kube" / "config"

    monkeypatch.setattr(access, "start", start)
    return ways


# -- the way in for commands ----------------------------------------------------------------------------
def test_the_way_leads_to_that_context_in_the_readers_namespace_and_their_file_is_only_read(
    readers, monkeypatch, opened
):
    in_namespace(monkeypatch, "mine")
    before = hashlib.sha256(readers.read_bytes()).digest()
    with backend.use(Kubectl()):
        context.open_way()

    [(name, its_namespace, kubeconfig, environment)] = opened
    assert (name, its_namespace, environment["KUBECONFIG"]) == ("company", "mine", str(readers))
    assert environment["KUBERC"] == "off"
    assert kubeconfig == settings.settings().kubeconfig
    assert kubeconfig.parent == settings.settings().context_folder
    assert hashlib.sha256(readers.read_bytes()).digest() == before


def test_a_context_that_is_not_there_is_named_with_the_file_it_was_looked_for_in(readers, monkeypatch):
    monkeypatch.setenv("LABKIT_VENUE", "context:gone")
    with backend.use(Kubectl()), pytest.raises(LabError) as missing:
        context.open_way()
    assert "gone" in missing.value.what
    assert str(readers) in missing.value.what


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_each_context_has_a_folder_of_its_own_beneath_the_courses(one, other):
    home = settings.settings().home / "contexts"
    folders = [replace(settings.settings(), context=name).context_folder for name in (one, other)]
    assert [folder.parent for folder in folders] == [home, home]
    assert {folder.name for folder in folders}.isdisjoint({"", ".", ".."})
    assert (folders[0] == folders[1]) == (one == other)


# -- the namespace ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "namespace", ["", "default", "istio-system", "kube-system", "kube-public", "a/b", "..", "A", "-a", "a" * 64]
)
def test_a_namespace_that_is_no_readers_own_is_refused_and_nothing_kept(readers, monkeypatch, namespace):
    in_namespace(monkeypatch, namespace)
    with backend.use(Kubectl()), pytest.raises(LabError) as refused:
        context.open_way()
    assert f"LABKIT_NAMESPACE={OURS}" in refused.value.fix  # the context's own
    assert not settings.settings().kubeconfig.exists()


def test_a_context_that_names_no_namespace_leaves_it_to_the_reader(readers, monkeypatch):
    in_namespace(monkeypatch, "")
    readers.write_text(kubeconfig("company", namespace=""))
    with backend.use(Kubectl()), pytest.raises(LabError) as unnamed:
        context.open_way()
    assert "LABKIT_NAMESPACE=NAME" in unnamed.value.fix


def test_outside_of_a_context_the_namespace_is_the_one_that_notebooks_say(monkeypatch):
    monkeypatch.setenv("LABKIT_NAMESPACE", "mine")
    for named in ("kind", "recorded", ""):
        monkeypatch.setenv("LABKIT_VENUE", named)
        assert settings._namespace() == "default"


# -- a cluster, as a reader of one namespace sees it ----------------------------------------------------
class Cluster(Fake):
    """An API server that has these lists and objects, by path, and a kubectl that sees these workloads."""

    def __init__(self, objects: dict[str, object], workloads: str = "") -> None:
        self.objects, self.workloads = objects, workloads

    def run(self, argv, **options):
        if argv[:3] != ["kubectl", "get", "all"]:
            return super().run(argv, **options)
        return backend.Completed(tuple(argv), 0, self.workloads, "", 0.0)

    def kubernetes(self, method, path, body, query, content_type):
        if method != "GET":
            super().kubernetes(method, path, body, query, content_type)
        found = self.objects.get(path, 404)
        if isinstance(found, int):
            raise backend.KubernetesError(found, "Error", path, "")
        return json.dumps({"kind": "List", "items": found} if isinstance(found, list) else found)


@contextmanager
def working_in(*cluster):
    """In somebody else's cluster, as a kernel does."""
    theirs = session.Session(lambda: "", context.gateway, owns_cluster=False)
    with backend.use(Guard(Cluster(*cluster), OURS, Path("commands"))), session.use(theirs):
        yield


NAMESPACE = f"/api/v1/namespaces/{OURS}"
DEPLOYMENTS = "/apis/apps/v1/namespaces/istio-system/deployments"
GATEWAY = "/api/v1/namespaces/istio-system/services/istio-ingressgateway"


def namespace(uid: str = "1") -> dict[str, object]:
    return {NAMESPACE: {"metadata": {"uid": uid, "labels": {"istio-injection": "enabled"}}}}


def istiod(image: str, available: int = 1) -> dict[str, object]:
    containers = [{"image": image}]
    spec = {"template": {"spec": {"containers": containers}}}
    return {
        DEPLOYMENTS: [{"metadata": {"name": "istiod"}, "spec": spec, "status": {"availableReplicas": available}}],
        f"{DEPLOYMENTS}/istiod": {"spec": {"replicas": 1}},
    }


def test_an_empty_namespace_is_adopted_once_and_from_then_on_known(readers):
    settings.settings().context_folder.mkdir(parents=True)
    with working_in(namespace()):
        adoption.adopt()
    with working_in(namespace(), "pod/bookinfo\n"):
        adoption.adopt()
    with working_in(namespace(uid="2"), "pod/somebody-elses\n"), pytest.raises(LabError) as another:
        adoption.adopt()  # of the same name, in another cluster or made anew
    assert "pod/somebody-elses" in another.value.why


@pytest.mark.parametrize("kind", ["secrets", "configmaps", "serviceaccounts"])
def test_a_namespace_with_anything_in_it_that_goto_would_remove_is_not_adopted(readers, kind):
    there = {f"{NAMESPACE}/{kind}": [{"metadata": {"name": "theirs"}}]}
    with working_in(namespace() | there), pytest.raises(LabError) as refused:
        adoption.adopt()
    assert "theirs" in refused.value.why
    assert not settings.settings().context_folder.exists()


@pytest.mark.parametrize(("status", "told"), [(404, "create namespace"), (0, "answers"), (401, "answers")])
def test_a_cluster_without_the_namespace_or_an_answer_says_what_to_look_at(readers, status, told):
    with working_in({NAMESPACE: status}), pytest.raises(LabError) as refused:
        bring_up.bring_up(SILENT)
    assert told in refused.value.fix
    assert "--context company" in refused.value.fix


def test_what_the_api_server_forbids_is_told_in_its_own_words(readers):
    with working_in({NAMESPACE: 403}), pytest.raises(backend.KubernetesError) as forbidden:
        bring_up.bring_up(SILENT)
    assert forbidden.value.status == 403


# -- Istio, found in place ------------------------------------------------------------------------------
def test_any_version_of_istio_that_is_available_stands_and_is_told():
    with working_in(istiod("registry.example.com:5000/pilot:1.27.0-distroless@sha256:ab")):
        assert components.ISTIO.is_ready()
        assert components.ISTIO.detail() == "1.27.0-distroless, found in place"
        components.ISTIO.ensure(SILENT)


@pytest.mark.parametrize("found", [{}, istiod("pilot:1.27.0", available=0)])
def test_without_one_it_is_said_that_others_must_install_it(found):
    with working_in(found):
        assert not components.ISTIO.is_ready()
        with pytest.raises(backend.NotYours) as refused:
            components.ISTIO.ensure(SILENT)
    assert "ask those who run the cluster" in refused.value.fix


def test_goto_leaves_what_is_found_and_says_so(readers, monkeypatch):
    samples = settings.settings().release_folder / "samples" / "bookinfo"
    kinds = {
        "platform/kube/bookinfo": ("apps/v1", "Deployment"),
        "networking/bookinfo-gateway": ("networking.istio.io/v1", "Gateway"),
    }
    for name, (version, kind) in kinds.items():
        manifest = samples / f"{name}.yaml"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": "bookinfo"}}))
    monkeypatch.setattr(context, "find", lambda progress: None)
    with working_in(namespace() | istiod("pilot:1.27.0")):
        place = verbs.goto("02", lambda event: None)
        changed = verbs.what_changed()
    assert place.found == ("Istio", "injection label")
    assert "stays: Istio, injection label" in repr(place)
    assert changed.empty


def test_a_place_in_the_courses_own_cluster_reads_as_ever():
    assert repr(verbs.Place("05", "Bookinfo", ("cluster",))) == "Lab 05, Bookinfo. Standing: cluster."


def test_only_the_readers_namespace_is_looked_through_for_leftovers():
    theirs = {"metadata": {"name": "theirs"}}
    listed = {"/api/v1/namespaces": [theirs], "/api/v1/persistentvolumes": [theirs], f"{NAMESPACE}/pods": [theirs]}
    with working_in(listed):
        assert [(left.resource, left.namespace) for left in leftovers.find(OURS, [])] == [("pods", OURS)]


@pytest.mark.parametrize(
    ("labels", "enabled"),
    [({}, False), ({"istio.io/rev": "a"}, True), ({"istio.io/rev": "a", "istio-injection": "disabled"}, False)],
)
def test_a_namespace_may_ask_one_revision_for_its_sidecars(labels, enabled):
    with working_in({NAMESPACE: {"metadata": {"labels": labels}}}):
        assert istio.injection_is_enabled(OURS) == enabled


def test_an_analysis_that_could_not_look_is_no_clean_one():
    class Forbidden(Fake):
        def run(self, argv, **_):
            return backend.Completed(tuple(argv), 1, "", "Error: secrets is forbidden", 0.0)

    with backend.use(Forbidden()), pytest.raises(backend.CommandFailed):
        istio.analyze()


# -- the way in -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given_to_it", "address"),
    [
        ({"ip": "192.0.2.1"}, "http://192.0.2.1"),
        ({"hostname": "lb.example.com"}, "http://lb.example.com"),
        ({"ip": "2001:db8::1"}, "http://[2001:db8::1]"),
    ],
)
def test_the_gateway_is_where_the_load_balancer_is_unless_the_reader_says_otherwise(
    readers, monkeypatch, given_to_it, address
):
    with working_in({GATEWAY: {"status": {"loadBalancer": {"ingress": [given_to_it]}}}}):
        assert session.gateway() == address
        monkeypatch.setenv("LABKIT_GATEWAY", "http://127.0.0.1:8080/")
        assert session.gateway() == "http://127.0.0.1:8080"


@pytest.mark.parametrize("service", [{"status": {"loadBalancer": {}}}, {}, 403, 404])
def test_a_gateway_without_an_address_names_the_command_that_gives_it_one(readers, service):
    with working_in({GATEWAY: service}), pytest.raises(LabError) as unknown:
        session.gateway()
    assert "port-forward -n istio-system" in unknown.value.fix
    assert "LABKIT_GATEWAY" in unknown.value.fix


# -- choosing -------------------------------------------------------------------------------------------
class Company(Kubectl, Cluster):
    """Somebody else's cluster, found by its context."""

    def run(self, argv, **options):
        return (Kubectl if argv[:2] == ["kubectl", "config"] else Cluster).run(self, argv, **options)


def company(monkeypatch, found):
    """What a kernel there asks through. Whoever may work in one namespace may not list what Istio's own holds."""
    forbidden = {"/apis/networking.istio.io/v1/namespaces/istio-system/gateways": 403}
    monkeypatch.setattr(choosing, "Live", lambda: Company(namespace() | forbidden | found))
    return choosing.chosen()


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("found", "told"),
    [(istiod("pilot:1.27.0"), "Istio 1.27.0 found in place"), ({}, "no Istio in it")],
)
def test_each_notebook_says_where_it_is(readers, monkeypatch, found, told):
    _, its_session = company(monkeypatch, found)
    assert its_session.describe() == f"Live mesh: context company, namespace reader, {told}"
    assert not its_session.owns_cluster


@pytest.mark.usefixtures("opened")
def test_a_recording_can_be_made_inside_somebody_elses_cluster(readers, monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_RECORDER", str(tmp_path / "cells"))
    mesh, its_session = company(monkeypatch, {})
    with backend.use(mesh), session.use(its_session):
        session.begin_cell("%look", None)
        backend.kubernetes("GET", NAMESPACE)
        with pytest.raises(backend.NotYours):
            backend.kubernetes("DELETE", "/api/v1/namespaces/theirs")
        with pytest.raises(backend.NotYours):
            backend.run(["kubectl", "delete", "namespace", "theirs"])
        session.end_cell()
    [cell] = map(json.loads, (tmp_path / "cells").read_text().splitlines())
    assert [(call["kind"], call["answer"].get("error", {}).get("type")) for call in cell["calls"]] == [
        ("kubernetes", None), ("kubernetes", "NotYours"), ("run", "NotYours"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["context:", "kind:a", "context"])
def test_a_venue_without_a_name_is_none(monkeypatch, name):
    monkeypatch.setenv("LABKIT_VENUE", name)
    monkeypatch.delenv("LABKIT_RECORDER", raising=False)
    with pytest.raises(LabError) as unknown:
        choosing.chosen()
    assert "context:NAME" in unknown.value.why


@pytest.mark.parametrize("command", [["up"], ["down"], ["record"], ["bench"]])
def test_commands_for_clusters_of_the_courses_own_leave_a_context_alone(readers, command):
    with pytest.raises(LabError) as refused:
        cli.app(command, standalone_mode=False)
    assert "company" in refused.value.what
    assert "unset LABKIT_VENUE" in refused.value.fix
