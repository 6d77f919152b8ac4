"""A recorded cluster's API: what it answers from a state, whom, and how a state is written down and read."""

from __future__ import annotations

import json
import lzma
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import least, processor

from labkit import backend
from labkit.api import recorded, views
from labkit.api.recorded import COLUMNS, DOCUMENT, LOG, TABLE, Asked
from labkit.api.serving import Served
from labkit.errors import LabError
from labkit.recordings import state
from labkit.recordings.files import Head

AT = 1_800_000_000.0
POD_COLUMNS = [{"name": "Name", "type": "string"}, {"name": "Age", "type": "string"}]


def pod(name: str, namespace: str = "default", phase: str = "Running", **labels: str) -> dict:
    metadata = {
        "name": name, "namespace": namespace, "labels": labels, "creationTimestamp": "2027-01-15T07:00:00Z",
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def held(object_: dict, *cells: str) -> str:
    return json.dumps({"object": object_, "cells": list(cells)})


def resources(version: str, **kinds: str) -> str:
    found = [{"name": name, "kind": kind, "verbs": ["get", "list"]} for name, kind in kinds.items()]
    return json.dumps({"kind": "APIResourceList", "groupVersion": version, "resources": found})


RULE = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "default"}, "spec": {}}  # fmt: skip
STATE = {
    (DOCUMENT, "/version"): '{"major":"1"}',
    (DOCUMENT, "/api/v1"): resources("v1", pods="Pod", namespaces="Namespace"),
    (DOCUMENT, "/apis/networking.istio.io/v1"): resources("networking.istio.io/v1", virtualservices="VirtualService"),
    (DOCUMENT, "/apis/networking.istio.io/v1beta1"): resources(
        "networking.istio.io/v1beta1", virtualservices="VirtualService"
    ),
    (COLUMNS, "/api/v1/pods"): json.dumps(POD_COLUMNS),
    (COLUMNS, "/apis/networking.istio.io/v1/virtualservices"): "[]",
    ("/api/v1/namespaces", "default"): held({"kind": "Namespace", "metadata": {"name": "default"}}),
    ("/api/v1/pods", "default/b"): held(pod("b", app="reviews", version="v1"), "b", "1s"),
    ("/api/v1/pods", "default/a"): held(pod("a", app="ratings", phase="Pending"), "a", "1s"),
    ("/api/v1/pods", "other/c"): held(pod("c", "other", app="reviews"), "c", "1s"),
    ("/apis/networking.istio.io/v1/virtualservices", "default/reviews"): held(RULE),
    (LOG, "default/b/app"): "one\ntwo\nthree\n",
    (LOG, "default/b/istio-proxy"): "ready\n",
}


def ask(path: str, accept: str = "", method: str = "GET", **query: str) -> recorded.Answer:
    return recorded.answer(STATE, AT, Asked(method, path, query, accept))


def names(path: str, **query: str) -> list[str]:
    return [each["metadata"]["name"] for each in json.loads(ask(path, **query).text)["items"]]


# -- what it answers ------------------------------------------------------------------------------
def test_objects_are_listed_in_their_namespaces_by_name():
    assert names("/api/v1/pods") == ["a", "b", "c"]
    assert names("/api/v1/namespaces/default/pods") == ["a", "b"]
    assert names("/api/v1/namespaces") == ["default"]
    assert json.loads(ask("/api/v1/pods").text)["kind"] == "PodList"
    assert json.loads(ask("/api/v1/namespaces/default").text)["kind"] == "Namespace"
    assert json.loads(ask("/api/v1/namespaces/default/pods/b").text)["metadata"]["labels"]["version"] == "v1"


@pytest.mark.parametrize(
    ("selector", "found"),
    [("app=reviews", "bc"), ("app==reviews,version", "b"), ("app!=reviews", "a"), ("!version", "ac"), ("version", "b"),
     ("app in (reviews, ratings),version notin (v1)", "ac"), ("app=", ""), ("", "abc")],
)  # fmt: skip
def test_labels_select(selector, found):
    assert "".join(names("/api/v1/pods", labelSelector=selector)) == found


@pytest.mark.parametrize(
    ("selector", "found"),
    [("metadata.name=a", "a"), ("metadata.namespace!=default", "c"), ("status.phase=Running,metadata.name!=c", "b"),
     ("spec.nodeName=x", "")],
)  # fmt: skip
def test_fields_select(selector, found):
    assert "".join(names("/api/v1/pods", fieldSelector=selector)) == found


@pytest.mark.parametrize("selector", ["app in reviews", "a=b=c", "(", "app in (", "a b"])
def test_a_selector_that_is_none_is_refused(selector):
    assert ask("/api/v1/pods", labelSelector=selector).status == 400


def test_a_table_has_the_ages_of_its_moment():
    table = json.loads(ask("/api/v1/namespaces/default/pods", TABLE, includeObject="Object").text)
    assert [row["cells"] for row in table["rows"]] == [["a", "60m"], ["b", "60m"]]
    assert table["rows"][0]["object"]["kind"] == "Pod"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (121, "2m1s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
     (11_000, "3h3m"), (8 * 3600, "8h"), (47 * 3600 + 59, "47h"), (48 * 3600, "2d"), (50 * 3600, "2d2h"),
     (8 * 86400, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y")],
)  # fmt: skip
def test_an_age_is_written_as_kubectl_writes_it(seconds, written):
    assert recorded.age(seconds) == written


def test_a_defined_kind_is_told_in_each_of_its_versions():
    [rule] = json.loads(ask("/apis/networking.istio.io/v1beta1/virtualservices").text)["items"]
    assert rule["apiVersion"] == "networking.istio.io/v1beta1"


def test_logs_are_told_to_their_end():
    assert ask("/api/v1/namespaces/default/pods/b/log", container="app", tailLines="2").text == "two\nthree\n"
    assert ask("/api/v1/namespaces/default/pods/b/log", container="nosuch").status == 400
    assert "app istio-proxy" in ask("/api/v1/namespaces/default/pods/b/log").text
    assert ask("/api/v1/namespaces/default/pods/nosuch/log").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_is_changed(method):
    refused = ask("/api/v1/namespaces/default/pods/b", method=method)
    assert refused.status == 405
    assert "recorded" in json.loads(refused.text)["message"]


@pytest.mark.parametrize("path", ["/", "/api/v1/nosuch", "/apis/x/v1/pods", "/api/v1/namespaces/default/pods/z",
                                  "/a//b", "/api/v1/namespaces/default/pods/b/exec",
                                  "/api/v1/nodes/../pods"])  # fmt: skip
def test_what_is_not_there_is_not_found(path):
    assert ask(path).status == 404


def test_a_watch_ends_and_who_wants_all_first_is_told_to_list():
    assert ask("/api/v1/pods", watch="true").watch
    assert ask("/api/v1/pods", watch="true", sendInitialEvents="true").status == 422


@given(
    path=st.text(max_size=30), selector=st.text(max_size=20), fields=st.text(max_size=20), accept=st.text(max_size=5)
)
def test_whatever_is_asked_is_answered(path, selector, fields, accept):
    for asked in (f"/{path}", f"/api/v1/pods/{path}", "/api/v1/pods"):
        found = ask(asked, accept, labelSelector=selector, fieldSelector=fields, tailLines=selector)
        assert found.status in (200, 400, 404)


# -- whom -------------------------------------------------------------------------------------------
SHOWN = {("default/a:15000", "/certs"): "{}"}


def shown(place: str, path: str) -> str | None:
    return SHOWN.get((place, path))


@pytest.fixture
def served():
    serving = Served(lambda asked: recorded.answer(STATE, AT, asked), shown, "kind-istio-lab")
    yield serving
    serving.close()


def client(served: Served, **headers: str) -> httpx.Client:
    told = yaml.safe_load((served.folder / "config").read_text())
    headers = headers or {"Authorization": f"Bearer {told['users'][0]['user']['token']}"}
    return httpx.Client(base_url=told["clusters"][0]["cluster"]["server"], headers=headers, verify=False)  # noqa: S501


def test_who_has_its_kubeconfig_is_answered_and_nobody_else(served):
    with client(served) as known, client(served, Authorization="Bearer guess") as stranger:
        assert known.get("/api/v1/pods").json()["kind"] == "PodList"
        assert known.post("/api/v1/pods", json={}).status_code == 405
        assert stranger.get("/api/v1/pods").status_code == 401
    assert (served.folder / "config").stat().st_mode & 0o77 == 0
    assert list(served.folder.glob("*.pem")) == []


def test_a_watch_ends_by_itself(served):
    with client(served) as known:
        assert known.get("/api/v1/pods", params={"watch": "1"}, timeout=10).text == ""


def test_many_questions_at_once_and_a_second_kernel(served):
    second = Served(lambda asked: recorded.answer({}, AT, asked), shown, "kind-istio-lab")
    with client(served) as known, ThreadPoolExecutor(50) as pool:
        statuses = set(pool.map(lambda _: known.get("/api/v1/pods", timeout=30).status_code, range(50)))
    with client(second) as other:
        assert other.get("/api/v1/pods").status_code == 404
    second.close()
    assert statuses == {200}
    assert not second.folder.exists()


# -- written down -------------------------------------------------------------------------------------
HEAD = Head("05-deploy-bookinfo", "2026-01-01T00:00:00Z", "", ())
TEXTS = st.dictionaries(st.tuples(st.text(max_size=3), st.text(max_size=3)), st.text(max_size=5), max_size=8)


@settings(max_examples=20)
@given(states=st.lists(TEXTS, min_size=1, max_size=5))
def test_each_moment_is_what_it_was_from_wherever_one_comes(tmp_path_factory, states):
    path = tmp_path_factory.mktemp("states") / "05.state.xz"
    before, moments = {}, []
    for number, each in enumerate(states):
        moments.append((2 * number, AT + number, state.difference(before, each)))
        before = each
    state.write(path, HEAD, moments)
    found = state.Moments(path, HEAD)
    for number in [*range(len(states)), *reversed(range(len(states)))]:
        assert found.at(2 * number) == (states[number], AT + number)
        assert found.at(2 * number + 1) == (states[number], AT + number)
    assert found.at(-1) == (states[0], AT)


@pytest.mark.parametrize("spoil", [
    lambda content: content[:-20], lambda content: content + b"x", lambda content: b"", lambda content: b"no xz",
    lambda content: lzma.compress(b"{}"), lambda content: lzma.compress(lzma.decompress(content).split(b"\n")[0]),
    lambda content: lzma.compress(lzma.decompress(content).replace(b"2026-01-01", b"2026-01-02")),
    lambda content: lzma.compress(lzma.decompress(content).replace(b'"cell": 0', b'"cell": -1')),
    lambda content: lzma.compress(lzma.decompress(content).replace(b'"changes": [', b'"changes": [[1, 2, 3], ')),
    lambda content: lzma.compress(lzma.decompress(content) + b"\n" + b" " * (1 << 27)),
])  # fmt: skip
def test_a_damaged_state_is_refused_with_its_file(tmp_path, spoil):
    path = tmp_path / "05.state.xz"
    state.write(path, HEAD, [(0, AT, [("a", "b", "c")])])
    path.write_bytes(spoil(path.read_bytes()))

    def refused() -> None:
        with pytest.raises(LabError, match=r"05\.state\.xz"):
            state.Moments(path, HEAD).at(0)

    assert least(lambda: processor(refused), 5) < 5


def test_a_secret_is_not_written_down(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(LabError):
        state.write(tmp_path / "05.state.xz", HEAD, [(0, AT, [("log", "a/b/c", key.decode())])])


class Cluster(Fake):
    """An API server with one pod, one Secret, and one kind that may not be listed."""

    def kubernetes(self, method, path, body, query, content_type):
        documents = {"/apis": {"groups": []}, "/version": {}, "/api": {}, "/api/v1/pods": {"items": [pod("a")]},
                     "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {"items": []},
                     "/api/v1": json.loads(resources("v1", pods="Pod", secrets="Secret"))}  # fmt: skip
        if path not in documents:
            raise backend.KubernetesError(403, "Forbidden", "no", "ask")
        return json.dumps({"columnDefinitions": [], "rows": None, **documents[path]})


def test_a_state_is_all_that_may_be_seen():
    seen = state.observe(Cluster())
    assert {what for what, _ in seen} == {DOCUMENT, COLUMNS, "/api/v1/pods"}
    assert json.loads(seen["/api/v1/pods", "default/a"])["object"]["kind"] == "Pod"
    assert re.search("secrets", seen[DOCUMENT, "/api/v1"])


@pytest.mark.parametrize(("app", "asked"), [("details", True), ("ztunnel", False)])
def test_a_proxy_is_asked_for_its_configuration_unless_it_is_no_envoy(app, asked):
    class Asked(Fake):
        views = False

        def kubernetes(self, method, path, body, query, content_type):
            return ""

        def port_forward(self, namespace, pod, port):
            self.views = True
            raise LabError("It does not answer.", "nobody listens", "wait")

    mesh = Asked()
    found = {"metadata": {"namespace": "a", "name": "b", "labels": {"app": app}},
             "status": {"containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}]}}  # fmt: skip
    state._of_a_pod(mesh, found)
    assert mesh.views is asked


def test_without_a_cluster_there_is_no_state():
    class Nothing(Fake):
        def kubernetes(self, method, path, body, query, content_type):
            raise LabError("There is no cluster.", "none", "up")

    assert state.observe(Nothing()) == {}


# -- what proxies show ----------------------------------------------------------------------------------
DUMP = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "version_info": "7",
         "dynamic_active_clusters": [{"version_info": "7", "cluster": {"name": "a"}, "last_updated": "now"}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": []},
    ]
}  # fmt: skip


def test_a_dump_is_whole_again_but_for_what_each_push_counts_up():
    kept = dict(views.pieces("default/a:15000", json.dumps(DUMP)))
    whole = json.loads(views.shown(kept, "default/a:15000", "/config_dump?include_eds"))
    assert whole["configs"][0]["dynamic_active_clusters"] == [{"cluster": {"name": "a"}}]
    assert whole["configs"][0]["version_info"] == "7"
    assert len(whole["configs"]) == 2
    assert len(json.loads(views.shown(kept, "default/a:15000", "/config_dump"))["configs"]) == 1


def test_a_push_that_changes_nothing_else_changes_no_piece():
    later = json.loads(json.dumps(DUMP).replace('"now"', '"later"'))
    assert dict(views.pieces("a", json.dumps(DUMP))) == dict(views.pieces("a", json.dumps(later)))


@pytest.mark.parametrize(("place", "path"), [("default/b:15000", "/config_dump"), ("default/a:15000", "/quitquitquit")])
def test_what_was_not_written_down_is_not_shown(place, path):
    assert views.shown(dict(views.pieces("default/a:15000", json.dumps(DUMP))), place, path) is None


# -- what kinds have for fields -----------------------------------------------------------------------------
class Schemas(Fake):
    """An API server that tells of these groups' fields; `asked` counts its answers."""

    def __init__(self, *groups: str) -> None:
        super().__init__()
        self.groups, self.asked = groups, []

    def kubernetes(self, method, path, body, query, content_type):
        self.asked.append(path)
        told = {group: {"serverRelativeURL": f"/openapi/v3/{group}?hash=1"} for group in self.groups}
        return json.dumps({"paths": told} if path == "/openapi/v3" else {"of": path, "machineID": {"type": "string"}})


def test_fields_are_kept_once_for_all_recordings(tmp_path):
    path = tmp_path / "openapi.xz"
    assert state.schemas(path) == {}
    state.keep_schemas(Schemas("api/v1"), path)
    state.keep_schemas(again := Schemas("api/v1"), path)
    assert again.asked == ["/openapi/v3"]
    state.keep_schemas(Schemas("api/v1", "apis/networking.istio.io/v1"), path)
    kept = state.schemas(path)
    assert json.loads(kept[DOCUMENT, "/openapi/v3/api/v1"])["of"] == "/openapi/v3/api/v1"
    assert set(json.loads(kept[DOCUMENT, "/openapi/v3"])["paths"]) == {"api/v1", "apis/networking.istio.io/v1"}
    path.write_bytes(b"?")
    with pytest.raises(LabError, match=r"openapi\.xz"):
        state.schemas(path)
