"""What is read of Bookinfo's page, and who it is asked for."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from fake import Fake

from labkit import backend
from labkit.backend.answers import Response
from labkit.errors import LabError
from labkit.mesh import bookinfo


class Gateway(Fake):
    """Answers with one text; remembers what it was asked."""

    def __init__(self, text="", headers=None) -> None:
        super().__init__()
        self.text, self.headers, self.asked = text, headers or {}, []

    def gateway(self):
        return "http://127.0.0.1:8080"

    def http(self, method, url, headers, body, timeout):
        self.asked.append((method, url, dict(headers), body, timeout))
        return Response(200, self.headers, self.text, 0.0123)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<title>\n Simple Bookstore App \n</title>", ""),
        ("<p>Ratings service is currently unavailable</p>", "Ratings service is currently unavailable"),
        (
            '<p class="text-gray-600">\n  Sorry, product reviews are currently unavailable for this book.</p>',
            "Sorry, product reviews are currently unavailable",
        ),
    ],
)
def test_a_page_tells_what_it_lacks(text, error):
    with backend.use(Gateway(text)):
        assert bookinfo.fetch().error == error


def test_a_user_who_signed_in_is_one_by_cookie():
    with backend.use(Gateway(headers={"set-cookie": "session=abc; HttpOnly; Path=/"})) as gateway:
        jason = bookinfo.sign_in("jason")
        bookinfo.fetch(headers=jason, timeout=2)
    assert [asked[0] for asked in gateway.asked] == ["POST", "GET"]
    assert gateway.asked[0][3] == "username=jason"
    assert gateway.asked[1][2:] == ({"Cookie": "session=abc"}, None, 2)


def test_who_cannot_sign_in_is_told():
    with backend.use(Gateway()), pytest.raises(LabError):
        bookinfo.sign_in("jason")


def test_each_of_several_pages_is_asked_for_as_the_user():
    with backend.use(Gateway("reviews-v2-abc-def")) as gateway:
        pages = bookinfo.page(2, {"Cookie": "session=abc"})
    assert list(pages.version) == ["v2", "v2"]
    assert [asked[2] for asked in gateway.asked] == [{"Cookie": "session=abc"}] * 2


def deployment(name, **labels):
    labels = {"app": name, **labels}
    spec = {"template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a"}]}}}
    return {"kind": "Deployment", "metadata": {"name": name, "generation": 1}, "spec": spec}


class Starting(Fake):
    """Deployments that are available at once, and a pod of reviews that listens from the third look on."""

    def __init__(self, labels=None, probes=None, revisions=None) -> None:
        super().__init__()
        self.looks, self.labels, self.deleted = 0, labels or {}, []
        self.probes, self.revisions = probes or {}, revisions or {}

    def run(self, argv, **how):
        if "delete" in argv:
            self.deleted.append(argv[3])
        return backend.Completed(tuple(argv), 0, "", "", 0.0)

    def sleep(self, seconds):
        """No time passes."""

    def kubernetes(self, method, path, body, query, content_type):
        if not path.endswith("/pods"):
            status = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}
            deployments = [{**deployment(name, **self.labels), "status": status} for name in bookinfo.deployments()]
            for each in deployments:
                each["spec"]["template"]["spec"]["containers"][0].update(self.probes.get(each["metadata"]["name"], {}))
            return json.dumps({"kind": "DeploymentList", "items": deployments})
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        names = ("details", "reviews")
        pods = [{"metadata": self.metadata(name), "spec": {"containers": []}, "status": ready} for name in names]
        return json.dumps({"kind": "PodList", "items": pods})

    def metadata(self, name):
        annotations = {"istio.io/rev": self.revisions[name]} if name in self.revisions else {}
        owner = {"kind": "ReplicaSet", "name": f"{name}-v1-1"}
        labels = {"pod-template-hash": "1"}
        meta = {"name": name, "namespace": "apart", "labels": labels, "ownerReferences": [owner]}
        return {**meta, "annotations": annotations}

    @contextmanager
    def port_forward(self, namespace, pod, port):
        def get(path):
            self.looks += pod == "reviews"
            if pod == "reviews" and self.looks < 3:
                raise backend.Unreachable(f"{pod}:{port}", "connection refused", "wait")
            return "ok"

        yield get


@pytest.fixture
def two_services(monkeypatch):
    names = ["details-v1", "reviews-v1"]
    monkeypatch.setattr(bookinfo.objects, "read", lambda manifest: [deployment(name) for name in names])
    monkeypatch.setattr(bookinfo.objects, "apply", lambda *words, **more: None)


def test_bookinfo_is_deployed_when_each_pod_answers_and_says_which_does_not(two_services):
    said: list[str] = []
    with backend.use(Starting()) as cluster:
        bookinfo.deploy("apart", report=said.append)
    assert cluster.looks == 3
    assert said[-2:] == ["reviews: no answer yet", "each pod answers"]


def test_bookinfo_is_deployed_when_no_earlier_pod_is_left(two_services, monkeypatch):
    leaving = {"name": "reviews-old", "namespace": "apart", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    old = {"metadata": leaving, "spec": {"containers": []}, "status": {"phase": "Running"}}
    lists = iter([[old], [old], []])
    monkeypatch.setattr(bookinfo.objects, "list_", lambda *words, **more: next(lists))
    monkeypatch.setattr(bookinfo.objects, "wait_available", lambda *words: None)
    monkeypatch.setattr(bookinfo, "_to_make_anew", lambda namespace: [])
    said: list[str] = []
    with backend.use(Starting()):
        bookinfo.deploy("apart", report=said.append)
    assert said == ["reviews-old: Terminating", "each pod answers"]


def test_a_deployment_whose_pods_got_another_label_is_made_anew(two_services):
    with backend.use(Starting()) as cluster:
        bookinfo.deploy("apart")
    assert cluster.deleted == []
    with backend.use(Starting({"sidecar.istio.io/inject": "false"})) as cluster:
        bookinfo.deploy("apart")
    assert cluster.deleted == ["details-v1", "reviews-v1"]


def test_so_is_one_whose_containers_got_a_probe(two_services):
    with backend.use(Starting(probes={"details-v1": {"readinessProbe": {}}})) as cluster:
        bookinfo.deploy("apart")
    assert cluster.deleted == ["details-v1"]


def test_and_one_whose_pods_another_control_plane_serves(two_services):
    with backend.use(Starting(revisions={"details": "default", "reviews": "canary"})) as cluster:
        bookinfo.deploy("apart")
    assert cluster.deleted == ["reviews-v1"]


def test_in_somebody_elses_cluster_any_control_plane_may_serve_them(two_services, monkeypatch):
    monkeypatch.setattr(bookinfo.session, "owns_cluster", lambda: False)
    with backend.use(Starting(revisions={"reviews": "canary"})) as cluster:
        bookinfo.deploy("apart")
    assert cluster.deleted == []
