"""The hub's parts, each alone: what the hook makes and refuses, how pages are rewritten, how the image begins."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from labkit.maintain import hub
from labkit.notebook import choosing
from labkit.settings import BEYOND_A_NAMESPACE, NOTEBOOKS, read

VALUES = yaml.safe_load((hub.HUB / "values.yaml").read_text())
IMAGE = hub.HUB / "image"


# -- participants.py ------------------------------------------------------------------------------
class Hook:
    """participants.py as the hub runs it, and what it asks of the API server."""

    def __init__(self, monkeypatch, leaving: int = 0) -> None:
        self.asked: list[tuple[str, str, dict | None]] = []
        self._leaving = leaving
        its = types.ModuleType("z2jh")
        its.get_config = lambda path: "0123456789ab"
        monkeypatch.setitem(sys.modules, "z2jh", its)
        path = hub.HUB / "participants.py"
        self.of = {"c": SimpleNamespace(KubeSpawner=SimpleNamespace()), "__file__": str(path)}
        exec(compile(path.read_text(), path, "exec"), self.of)  # noqa: S102
        self.of["ask"] = self._ask
        self.of["asyncio"] = SimpleNamespace(sleep=self._sleep)

    async def _ask(self, method, path, document=None, missing_is_fine=False):
        self.asked.append((method, path, document))
        if method == "GET":
            return {"metadata": {"deletionTimestamp": "now"}} if self._leaving else None
        return {"metadata": {"uid": "the-uid"}}

    async def _sleep(self, seconds):
        self._leaving -= 1

    def fits(self, image):
        pod = SimpleNamespace(spec=SimpleNamespace(containers=[SimpleNamespace(image=image)]))
        return self.of["fits"](None, pod) is pod

    def before(self, profile="shared", user="ada"):
        spawner = SimpleNamespace(
            extra_labels={"a": "b"},
            user_options={"profile": profile},
            _expand_user_properties=lambda text: text.format(username=user),
        )
        asyncio.run(self.of["before"](spawner))
        return spawner

    def after(self, profile="shared"):
        spawner = SimpleNamespace(
            user_options={"profile": profile}, _expand_user_properties=lambda text: text.format(username="ada")
        )
        asyncio.run(self.of["after"](spawner))


@pytest.fixture
def hook(monkeypatch) -> Hook:
    return Hook(monkeypatch)


def test_all_that_a_participant_gets_is_made_for_them_and_owned_by_their_namespace(hook):
    spawner = hook.before()
    made = [(path.partition("?")[0], document) for method, path, document in hook.asked if method == "PATCH"]
    assert made[0][0] == "/api/v1/namespaces/lab-ada"
    assert len(made) == len(list(yaml.safe_load_all((hub.HUB / "participant.yaml").read_text())))
    for path, document in made[1:]:
        assert re.search("/namespaces/(lab-ada|hub)/", path)
        assert "PARTICIPANT" not in str(document)
        assert "OWNER" not in str(document)
    owned = [document for _, document in made if "ownerReferences" in document["metadata"]]
    assert {document["metadata"]["ownerReferences"][0]["uid"] for document in owned} == {"the-uid"}
    assert {document["kind"] for document in owned} == {"Deployment", "Service", "ServiceAccount"}
    assert spawner.extra_labels == {"a": "b", "istio-lab/participant": "ada"}


@pytest.mark.parametrize("profile", ["recorded", "own"])
def test_who_needs_nothing_of_the_mesh_gets_nothing_of_it(hook, profile):
    hook.before(profile)
    hook.after(profile)
    assert hook.asked == []


def test_an_image_of_another_course_is_refused_in_words(hook):
    assert hook.fits("registry.example:5000/istio-lab:0123456789ab")
    with pytest.raises(Exception, match="set up for version 0123456789ab") as refused:
        hook.fits("registry.example:5000/istio-lab:older")
    assert "holds older" in refused.value.jupyterhub_message


def test_a_namespace_that_is_on_its_way_out_is_waited_for(monkeypatch):
    hook = Hook(monkeypatch, leaving=3)
    hook.before()
    assert [method for method, *_ in hook.asked[:5]] == ["GET", "GET", "GET", "GET", "PATCH"]


def test_the_namespace_goes_with_the_server(hook):
    hook.after()
    assert hook.asked == [("DELETE", "/api/v1/namespaces/lab-ada", None)]


# -- values and manifests -------------------------------------------------------------------------
def test_nothing_is_left_open_once_the_values_are_filled_in():
    filled = hub.values("registry.example/istio-lab")
    assert not re.search(r"\b(COURSE|ENGINE|IMAGE)\b", filled)
    values = yaml.safe_load(filled)
    assert values["custom"]["course"] == values["singleuser"]["image"]["tag"] == hub.version()
    for profile in values["singleuser"]["profileList"]:
        override = profile.get("kubespawner_override", {}).get("environment", {})
        environment = {**values["singleuser"]["extraEnv"], **override}  # as KubeSpawner puts them together
        read({name: value.format(username="ada") for name, value in environment.items()})  # raises for one that is none
        assert environment["LABKIT_COURSE"] == hub.version()


def test_what_the_hub_may_make_is_what_it_makes():
    documents = list(yaml.safe_load_all((hub.HUB / "participant.yaml").read_text()))
    [role] = [
        each
        for each in yaml.safe_load_all((hub.HUB / "cluster.yaml").read_text())
        if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", "istio-lab-hub")
    ]
    may = {(group, name) for rule in role["rules"] for group in rule["apiGroups"] for name in rule["resources"]}
    makes = {(each["apiVersion"].rpartition("/")[0], _plural(each["kind"])) for each in documents}
    assert may == makes | {("rbac.authorization.k8s.io", "clusterroles")}


def _plural(kind: str) -> str:
    return f"{kind.lower()}s".replace("ys", "ies")


def test_only_labs_that_there_are_go_on_recorded():
    assert {path.name[:2] for path in NOTEBOOKS.glob("[0-9]*.ipynb")} >= BEYOND_A_NAMESPACE


@pytest.mark.parametrize(
    ("notebook", "context"), [("/a/03-install-profiles.ipynb", ""), ("/a/05-deploy-bookinfo.ipynb", "hub"), ("", "hub")]
)
def test_a_lab_that_needs_more_than_a_namespace_goes_on_recorded(notebook, context):
    found = read({"LABKIT_VENUE": "context:hub", "LABKIT_NAMESPACE": "lab-ada", "JPY_SESSION_NAME": notebook})
    assert found.context == context
    assert found.venue == ("context:hub" if context else "recorded")


def test_it_says_so(monkeypatch):
    monkeypatch.setenv("LABKIT_VENUE", "context:hub")
    monkeypatch.setenv("JPY_SESSION_NAME", "/a/03-install-profiles.ipynb")
    said = choosing._recorded()[1].describe()
    assert said.startswith("Recorded mesh: ")
    assert said.endswith("This lab needs more than a namespace of context hub, so it goes on recorded")


# -- the image ------------------------------------------------------------------------------------
def started(folder: Path, built: str, hub_s: str | None) -> subprocess.CompletedProcess:
    (folder / hub.COURSE).write_text(f"{built}\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "REPO_DIR": str(folder)}
    environment |= {"LABKIT_COURSE": hub_s} if hub_s else {}
    command = ["bash", IMAGE / "start", "echo", "runs"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("of_the_hub", ["0123456789ab", None])
def test_an_image_of_the_same_course_begins(tmp_path, of_the_hub):
    assert started(tmp_path, "0123456789ab", of_the_hub).stdout == "runs\n"


def test_an_image_of_another_course_does_not_begin(tmp_path):
    told = started(tmp_path, "0123456789ab", "ba9876543210")
    assert told.returncode == 78
    assert "holds version 0123456789ab of the course, and its hub is set up for ba9876543210" in told.stderr
    assert "runs" not in told.stdout


def test_the_version_is_of_all_that_a_participant_gets(tmp_path, monkeypatch):
    for part in hub.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "a").write_text(part)
    monkeypatch.setattr(hub, "REPOSITORY", tmp_path)
    first = hub.version()
    (tmp_path / "labkit" / "__pycache__").mkdir()
    (tmp_path / "labkit" / "__pycache__" / "a.pyc").write_text("nothing of the course's")
    assert hub.version() == first
    (tmp_path / "notebooks" / "a").write_text("changed")
    assert hub.version() != first


# -- pages at 127.0.0.1:8080 ----------------------------------------------------------------------
def rewritten(path: str, body: str = "", port: int = 8080, **headers: str) -> SimpleNamespace:
    of = {"c": SimpleNamespace(ServerProxy=SimpleNamespace(), MappingKernelManager=SimpleNamespace())}
    source = IMAGE / "jupyter_server_config.py"
    exec(compile(source.read_text(), source, "exec"), of)  # noqa: S102
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    response = SimpleNamespace(headers=told, body=body.encode())
    of["c"].ServerProxy.non_service_rewrite_response(response=response, port=port, request=SimpleNamespace(path=path))
    return response


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('<img src="/static/a.png">', '<img src="/user/ada/proxy/8080/static/a.png">'),
        ("<a href='/productpage?u=x'>", "<a href='/user/ada/proxy/8080/productpage?u=x'>"),
        ('<a href="//elsewhere.example/">', '<a href="//elsewhere.example/">'),
        ('<a href="login">', '<a href="login">'),
    ],
)
def test_what_a_page_says_of_its_root_is_below_the_hub(was, becomes):
    assert rewritten("/user/ada/proxy/8080/productpage", was, Content_Type="text/html").body.decode() == becomes


def test_a_redirect_is_below_the_hub():
    found = rewritten("/user/ada/proxy/8080/login", Location="/productpage")
    assert found.headers["Location"] == "/user/ada/proxy/8080/productpage"


@pytest.mark.parametrize(("port", "kind"), [(8081, "text/html"), (8080, "image/png")])
def test_what_is_no_page_of_the_meshs_is_left_alone(port, kind):
    body = '<img src="/a">'
    assert rewritten("/user/ada/proxy/8080/a", body, port, Content_Type=kind).body.decode() == body


# -- rights ---------------------------------------------------------------------------------------
def test_a_participant_may_do_with_istios_kinds_what_a_reader_of_somebody_elses_cluster_may():
    def groups(path: Path) -> set[str]:
        rules = [rule for each in yaml.safe_load_all(path.read_text()) for rule in each.get("rules") or []]
        return {group for rule in rules if rule.get("resources") == ["*"] for group in rule["apiGroups"]}

    assert groups(hub.HUB.parent / "00-reader.yaml") - {"*"} <= groups(hub.HUB / "cluster.yaml")
