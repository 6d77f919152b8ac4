"""What counts as left over in a cluster."""

from __future__ import annotations

import json

import pandas  # imported before hypothesis starts its clocks
import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend, session
from labkit.errors import LabError
from labkit.mesh import certificates, leftovers

words = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)


def line(kind="ConfigMap", namespace="default", name="left", owned="", managers="kubectl-create,") -> str:
    return "\t".join((kind, namespace, name, owned, managers)) + "\n"


class Cluster(Fake):
    """kubectl that knows these kinds, and prints this of all their objects."""

    def __init__(self, resources: str, written: str) -> None:
        super().__init__()
        self.resources, self.written, self.asked = resources, written, ""

    def run(self, argv, **_):
        if argv[1] == "api-resources":
            return backend.Completed(tuple(argv), 0, self.resources, "", 0.0)
        self.asked = argv[2]
        return backend.Completed(tuple(argv), 0, self.written, "", 0.0)


def anywhere(written: str, resources: str = "configmaps\n"):
    with backend.use(Cluster(resources, written)):
        return leftovers.anywhere()


def test_an_unusual_kind_outside_of_any_namespace_is_found():
    planted = line("PriorityClass", "", "forgotten")
    [row] = anywhere(planted).to_dict("records")
    assert row == {"kind": "PriorityClass", "namespace": "", "name": "forgotten", "written_by": "kubectl-create"}


def test_every_kind_is_asked_for_but_what_passes_by_itself():
    cluster = Cluster(
        "configmaps\nevents\nevents.events.k8s.io\nnodes\nendpoints\nwidgets.example.com\ncomponentstatuses\n", ""
    )
    with backend.use(cluster):
        assert leftovers.anywhere().empty
    assert cluster.asked == "configmaps,widgets.example.com"


@pytest.mark.parametrize(
    "written",
    [
        line("ClusterRole", "", "system:node", managers="kube-apiserver,"),
        line("Pod", "default", "web-x", "owned", "kube-controller-manager,"),
        line("DaemonSet", "kube-system", "kindnet", managers="kubectl-create,kube-controller-manager,"),
        line("Deployment", "local-path-storage", "local-path-provisioner"),
        line("StorageClass", "", "standard"),
        line("Lease", "kube-node-lease", "node", managers=""),
    ],
    ids=lambda written: written.partition("\t")[0],
)
def test_what_a_fresh_cluster_has_is_left_out(written):
    assert anywhere(written).empty


def test_a_namespace_that_somebody_labelled_is_listed_with_who_it_was():
    [row] = anywhere(line("Namespace", "", "default", managers="kube-apiserver,kubectl-label,")).to_dict("records")
    assert row["written_by"] == "kubectl-label"


def test_what_somebody_put_among_kubernetes_own_is_found():
    assert list(anywhere(line(namespace="kube-system")).name) == ["left"]


@given(st.lists(st.tuples(words, words, words, st.sampled_from(["", "owned"]), words)))
def test_nothing_is_listed_that_has_an_owner_or_that_kubernetes_wrote(objects):
    lines = [line(*fields[:4], f"{fields[4]},kubelet,") for fields in objects]
    kept = [
        fields
        for fields in objects
        if not fields[3] and not any(text.startswith(leftovers.KINDS_OWN) for text in fields[1:3])
    ]
    assert [row["name"] for row in leftovers.parse("".join(lines))] == [
        fields[2] for fields in kept if fields[4] not in leftovers.KUBERNETES
    ]


def test_a_volume_that_a_lab_left_is_a_leftover():
    class Volumes(Fake):
        def kubernetes(self, method, path, body, query, content_type):
            listed = {"/api/v1/persistentvolumes": "forgotten", "/api/v1/namespaces": "kube-system"}
            if path not in listed:
                raise backend.KubernetesError(404, "NotFound", path, "")
            return json.dumps({"kind": "List", "items": [{"metadata": {"name": listed[path]}}]})

    with backend.use(Volumes()):
        [left] = leftovers.find("default", [])
    assert (left.resource_and_group, left.namespace, left.name) == ("persistentvolumes", "", "forgotten")


def test_a_kind_of_another_group_is_another_kind():
    class Gateways(Fake):
        def kubernetes(self, method, path, body, query, content_type):
            found = [{"metadata": {"name": "shop"}}] if path.endswith("/namespaces/default/gateways") else []
            return json.dumps({"kind": "GatewayList", "items": found})

    known = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "shop"}}
    with backend.use(Gateways()):
        [left] = leftovers.find("default", [known])
    assert left.resource_and_group == "gateways.gateway.networking.k8s.io"


def test_where_no_secret_is_there_is_none_left():
    class Empty(Fake):
        def kubernetes(self, method, path, body, query, content_type):
            # what an API server answers, of metadata alone, where a list is empty
            return json.dumps({"kind": "PartialObjectMetadataList", "metadata": {}, "items": None})

    with backend.use(Empty()):
        assert leftovers.find("default", []) == []


def test_a_kind_that_vanishes_while_it_is_asked_about_is_asked_no_more():
    class Vanishing(Cluster):
        def run(self, argv, **_):
            answer = super().run(argv)
            if argv[1] == "api-resources" or "gone" not in self.asked:
                return answer
            self.resources = "configmaps\n"
            return backend.Completed(tuple(argv), 1, "", 'error: the server doesn\'t have a resource type "gone"', 0.0)

        def sleep(self, seconds):
            """Nobody waits for a test."""

    with backend.use(Vanishing("configmaps\ngone.example.com\n", line())):
        assert list(leftovers.anywhere().name) == ["left"]


# -- an authority of somebody's own --------------------------------------------------------------
class Roots(Fake):
    """A cluster in which nothing is left over; the reader's namespace has the mesh's roots."""

    def __init__(self, data: object) -> None:
        super().__init__()
        self.data = data

    def kubernetes(self, method, path, body, query, content_type):
        roots = {"metadata": {"name": "istio-ca-root-cert"}, "data": self.data}
        items = [roots] if path == "/api/v1/namespaces/default/configmaps" else []
        return json.dumps({"kind": "ConfigMapList", "items": items})


@pytest.fixture
def read_roots(monkeypatch):
    """A root is its subject, and a bar stands between two."""

    def parse(text: str) -> pandas.DataFrame:
        if text in ("broken", "None"):
            raise LabError("", "", "")
        return pandas.DataFrame({"subject": text.split("|")})

    monkeypatch.setattr(certificates, "parse", parse)


OWN, BOOKS = "O=cluster.local", "CN=Books-root,O=Books"


@pytest.mark.usefixtures("read_roots")
@pytest.mark.parametrize("roots", [BOOKS, f"{OWN}|{BOOKS}", f"{BOOKS}|{OWN}"])
def test_an_authority_that_nobody_labelled_is_known_by_the_meshs_roots(roots):
    with backend.use(Roots({"root-cert.pem": roots})):
        assert leftovers.find("default", []) == [leftovers.AUTHORITY]
        with session.use(session.Session(owns_cluster=False)):
            assert leftovers.find("default", []) == []  # whose root it is, is theirs to say


@pytest.mark.usefixtures("read_roots")
@pytest.mark.parametrize(
    "data", [{"root-cert.pem": OWN}, {"root-cert.pem": "broken"}, {}, None, {"root-cert.pem": None}]
)
def test_istios_own_root_is_none_and_neither_is_what_tells_of_no_root(data):
    with backend.use(Roots(data)):
        assert leftovers.find("default", []) == []
