"""A class on a real hub: JupyterHub and KubeSpawner in the group's own cluster, from the values in manifests/hub.

Two participants sign in with a browser each, work side by side in one mesh, and try to read, change and reach what is
the other's. What the chart makes around a hub is in tests/hub.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import nbformat
import pytest
import yaml
from browsing import chromium, needs_browser
from hub import images
from playwright.sync_api import Browser, Page

from labkit import backend, session
from labkit.cluster import kind
from labkit.cluster.packages import tools
from labkit.maintain import hub as course
from labkit.mesh import istio
from labkit.mesh.objects import read
from labkit.settings import NOTEBOOKS, REPOSITORY, settings

_UNMET = tools.obstacle()
pytestmark = [
    pytest.mark.live,
    pytest.mark.long,
    needs_browser,
    pytest.mark.skipif(bool(_UNMET), reason=f"{_UNMET.what} (fix: {_UNMET.fix})" if _UNMET else ""),
    pytest.mark.usefixtures("bookinfo_in_the_mesh"),
]

HUB = REPOSITORY / "manifests" / "hub"
TESTS = REPOSITORY / "tests" / "hub"
ADA, BEN = "ada", "ben"
LABS = ("05", "10")
PASSWORD = "a-password-for-the-class"  # noqa: S105
PATIENCE = 90_000  # milliseconds
LONGEST = 600_000  # milliseconds for a notebook, two at once on two cores


def kubectl(*words: str, stdin: str = "", check: bool = True) -> str:
    completed = backend.run(["kubectl", *words], stdin=stdin or None, check=check)
    return completed.stdout if check else completed.stdout + completed.stderr


def values(image: str) -> dict[str, Any]:
    """manifests/hub/values.yaml as a trainer fills it in; and a profile whose image is of another course."""
    name, _, _ = image.rpartition(":")
    filled = yaml.safe_load(course.values(name))
    filled["hub"]["config"]["Authenticator"]["allowed_users"] = [ADA, BEN, "cleo"]
    filled["singleuser"]["cmd"] = ["jupyterhub-singleuser", "--LabApp.expose_app_in_browser=True"]
    older = {"slug": "older", "display_name": "An older image", "kubespawner_override": {"image": f"{name}:0123"}}
    filled["singleuser"]["profileList"].append(older)
    return filled


@dataclass
class Hub:
    """Where it is, and who is signed in: a page each."""

    url: str
    browser: Browser
    pages: dict[str, Page]

    def sign_in(self, name: str, profile: str) -> Page:
        page = self.browser.new_context(viewport={"width": 1200, "height": 960}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.url}/hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", PASSWORD)
        page.click("#login_submit")
        page.wait_for_selector("input[name=profile]")
        page.locator(f"input[name=profile][value={profile}], #profile-item-{profile} input").first.check(force=True)
        page.locator("#spawn_form [type=submit]").click()
        self.pages[name] = page
        return page

    def open(self, name: str, path: str) -> Page:
        page = self.pages[name]
        page.goto(f"{self.url}/user/{name}/lab/tree/notebooks/{path}?reset")
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
        return page


@pytest.fixture(scope="module")
def hub(bookinfo_in_the_mesh) -> Iterator[Hub]:
    node = kind.node().name
    wanted = [images.participants(lambda line: None)]
    with_policies = "kindnet" in kubectl("get", "daemonsets", "--namespace", "kube-system", "--output", "name")
    if not with_policies:
        wanted.append(images.firewall(lambda line: None))
    images.bring(wanted, node)
    kubectl("delete", "--ignore-not-found", "-f", "-", stdin=_bookinfos())
    try:
        istioctl = settings().release_folder / "bin" / "istioctl"
        backend.run([istioctl, "install", "-y", "-f", HUB / "istio.yaml"])  # and the gateways of the profile demo go
        if not with_policies:
            kubectl("apply", "-f", str(TESTS / "kube-router.yaml"))
        kubectl("apply", "-f", str(HUB / "cluster.yaml"))
        _install(values(wanted[0]), wanted[0])
        if not with_policies:
            kubectl("rollout", "status", "daemonset/kube-router", "--namespace", "kube-system", "--timeout=120s")
        kubectl("rollout", "status", "deployment/hub", "--namespace", "hub", "--timeout=180s")
        with chromium() as browser:
            yield Hub(session.gateway(), browser, {})
    finally:
        kubectl("delete", "namespace", "--selector", "istio-lab/participant", "--ignore-not-found", "--wait")
        kubectl("delete", "-f", str(HUB / "cluster.yaml"), "--ignore-not-found", "--wait")
        if not with_policies:
            cleanup = ["kube-router", "--cleanup-config"]
            kubectl("exec", "--namespace", "kube-system", "daemonset/kube-router", "--", *cleanup, check=False)
            kubectl("delete", "-f", str(TESTS / "kube-router.yaml"), "--ignore-not-found", "--wait")
        istio.install()


def _install(filled: dict[str, Any], image: str) -> None:
    """What `helm upgrade --install` does with the chart."""
    config = {"values.yaml": yaml.safe_dump(filled)}
    config |= {name: (TESTS / name).read_text() for name in ("z2jh.py", "jupyterhub_config.py")}
    files = {name: (HUB / name).read_text() for name in ("participants.py", "participant.yaml")}
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "hub"}, "data": data}
        for name, data in (("hub", config), ("hub-files", files))
    ]
    around = list(yaml.safe_load_all((TESTS / "hub.yaml").read_text().replace("IMAGE", image)))
    [policy] = [each for each in around if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "singleuser"]
    policy["spec"]["egress"] += filled["singleuser"]["networkPolicy"]["egress"]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([*maps, *around]))


@pytest.fixture(scope="module")
def together(hub: Hub) -> Hub:
    """Both have run the labs, at the same time."""
    for name in (ADA, BEN):
        hub.sign_in(name, "shared")
    for name in (ADA, BEN):
        hub.pages[name].wait_for_url(f"**/user/{name}/lab/**", timeout=LONGEST)
    for lab in LABS:
        [path] = NOTEBOOKS.glob(f"{lab}-*.ipynb")
        for name in (ADA, BEN):
            _run_all(hub.open(name, path.name))
        for name in (ADA, BEN):
            _ran(hub.pages[name], nbformat.read(path, as_version=4))
    return hub


_BEGIN = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
  jupyterapp.commands.execute('notebook:run-all-cells').catch(() => {});
  window.idle = 0;  // seconds
  setInterval(() => { window.idle = panel.sessionContext.session.kernel.status == 'idle' ? window.idle + 1 : 0 }, 1000);
}"""
# each cell ran; or none does any more, since one failed
_OVER = """() => {
  const cells = jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type == 'code');
  return window.idle > 20 || (window.idle > 1 && cells.every(cell => cell.model.executionCount !== null));
}"""


def _run_all(page: Page) -> None:
    page.evaluate(_BEGIN)


def _ran(page: Page, notebook: nbformat.NotebookNode) -> None:
    """Every cell ran; those failed that are to fail, and no others; and every check that passes in the course did."""
    page.wait_for_function(_OVER, timeout=LONGEST)
    cells = page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
    for was, cell in zip(notebook.cells, cells, strict=True):
        if cell["cell_type"] != "code":
            continue
        failed = [output for output in cell["outputs"] if output["output_type"] == "error"]
        is_to_fail = "raises-exception" in was.metadata.get("tags", [])
        assert bool(failed) == is_to_fail, (cell["source"], failed and failed[0]["evalue"])
        source = "".join(cell["source"])
        if source.startswith("check("):
            assert _verdict(cell["outputs"]) == _verdict(was.outputs), (cell["source"], cell["outputs"])


def _verdict(outputs: list[Any]) -> str:
    text = json.dumps(outputs)
    return ", ".join(re.findall(r"\d/\d passed", text)[:1])


# -- side by side ---------------------------------------------------------------------------------
def test_both_worked_in_the_shared_mesh(together):
    for name in (ADA, BEN):
        pods = kubectl("get", "pods", "--namespace", f"lab-{name}", "--selector", "app=reviews", "--output", "name")
        assert len(pods.split()) >= 3


def test_a_page_at_the_gateway_is_reached_through_the_hub(together):
    page = together.pages[ADA]
    link = page.locator("a[href^='http://127.0.0.1:8080/productpage']").first
    link.scroll_into_view_if_needed()
    with page.context.expect_page() as opened:
        link.click()
    shown = opened.value
    shown.wait_for_load_state()
    assert shown.url.endswith(f"/user/{ADA}/proxy/8080/productpage")
    assert "Simple Bookstore App" in shown.title()
    own = {pod.removeprefix("pod/") for pod in _pods(ADA)}
    served = set(re.findall(r"reviews-v\d-[a-z0-9]+-[a-z0-9]+", shown.content()))
    assert served <= own
    for image in shown.locator("img").all():
        assert image.get_attribute("src").startswith(f"/user/{ADA}/proxy/8080/")


def test_a_lab_that_needs_more_than_a_namespace_says_so_and_goes_on_recorded(together):
    page = together.open(ADA, next(NOTEBOOKS.glob("03-*.ipynb")).name)
    cells = page.evaluate(
        """async () => {
          const notebook = jupyterapp.shell.currentWidget.content;
          const cells = notebook.widgets.filter(cell => cell.model.type == 'code').slice(0, 2);
          for (const cell of cells) {
            notebook.activeCellIndex = notebook.widgets.indexOf(cell);
            await jupyterapp.commands.execute('notebook:run-cell');
          }
          return cells.map(cell => cell.model.toJSON().outputs);
        }"""
    )
    assert "needs more than a namespace of context hub, so it goes on recorded" in json.dumps(cells[0])
    assert "Lab 03" in json.dumps(cells[1])


# -- what is the other's --------------------------------------------------------------------------
def inside(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a participant's server, as they themselves have it in a terminal: past the course's own relay."""
    as_there = 'PATH="$HOME/.local/share/istio-lab/bin:$PATH" exec "$0" "$@"'
    words = ["kubectl", "exec", "--namespace", "hub", f"jupyter-{name}", "--", "sh", "-c", as_there, *command]
    completed = backend.run(words, check=False, timeout=60)
    return subprocess.CompletedProcess(words, completed.returncode, completed.stdout, completed.stderr)


def _pods(name: str) -> list[str]:
    return kubectl("get", "pods", "--namespace", f"lab-{name}", "--output", "name").split()


READS = ("pods", "secrets", "configmaps", "services", "virtualservices", "networkpolicies", "rolebindings")


@pytest.mark.parametrize("resource", READS[:-1])
def test_what_is_ones_own_can_be_read(together, resource):
    assert inside(ADA, "kubectl", "get", resource, "--namespace", f"lab-{ADA}").returncode == 0


@pytest.mark.parametrize("place", [f"--namespace=lab-{BEN}", "--namespace=hub", "--all-namespaces"])
@pytest.mark.parametrize("resource", READS)
def test_what_is_the_others_cannot_be_read(together, place, resource):
    told = inside(ADA, "kubectl", "get", resource, place)
    assert "Forbidden" in told.stderr, told


OTHERS, OWN = f"--namespace=lab-{BEN}", f"--namespace=lab-{ADA}"
CHANGES = {
    "a pod of the other's": f"kubectl delete pod --all {OTHERS}",
    "a shell in it": f"kubectl exec {OTHERS} deploy/curl -- true",
    "a port of it": f"kubectl port-forward {OTHERS} deploy/curl 9999:80",
    "a rule": f"kubectl apply {OTHERS} -f manifests/10-canary.yaml",
    "a namespace": "kubectl create namespace lab-other",
    "the other's namespace": f"kubectl delete namespace lab-{BEN}",
    "one's own quota": f"kubectl delete resourcequota istio-lab {OWN}",
    "one's own policy": f"kubectl delete networkpolicy istio-lab {OWN}",
    "one's own rights": f"kubectl create rolebinding more --clusterrole=admin --user=x {OWN}",
    "everybody's rights": "kubectl create clusterrolebinding all --clusterrole=cluster-admin --user=x",
    "istiod": "kubectl delete pods --namespace=istio-system --all",
    "what istiod knows": "kubectl port-forward --namespace=istio-system deploy/istiod 9999:15014",
    "the hub": "kubectl delete pods --namespace=hub --selector=component=hub",
    "a token of the other's": f"kubectl create token lab-{BEN} --namespace=hub",
    "the other, impersonated": f"kubectl get pods {OTHERS} --as=system:serviceaccount:hub:lab-{BEN}",
    "the nodes": "kubectl get nodes",
    "the other by the API server": f"kubectl get --raw /api/v1/namespaces/lab-{BEN}/services/productpage:9080/proxy/",
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_ones_own_cannot_be_changed(together, what):
    told = inside(ADA, "timeout", "20", *CHANGES[what].split())
    assert told.returncode != 0
    assert re.search(r"[Ff]orbidden", told.stderr), told


CONTAINER = {"name": "a", "image": "curlimages/curl:8.16.0", "command": ["true"]}


def pod(security: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    whole = {"containers": [{**CONTAINER, "securityContext": security or {}}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "planted"}, "spec": whole}


PODS = {
    "hostNetwork": pod(hostNetwork=True),
    "hostPID": pod(hostPID=True),
    "hostPath": pod(volumes=[{"name": "node", "hostPath": {"path": "/"}}]),
    "privileged": pod({"privileged": True}),
    "privileged in the beginning": pod(
        initContainers=[{**CONTAINER, "name": "b", "securityContext": {"privileged": True}}]
    ),
    "capabilities": pod({"capabilities": {"add": ["SYS_ADMIN"]}}),
}


def planted(name: str, document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    text = json.dumps(document)
    return inside(name, "sh", "-c", f"echo '{text}' | kubectl apply --namespace lab-{name} -f -")


@pytest.mark.parametrize("what", PODS)
def test_a_pod_that_reaches_into_its_node_is_refused(together, what):
    told = planted(ADA, PODS[what])
    assert "denied request" in told.stderr, told
    assert what.split()[0] in told.stderr


def service(**spec: Any) -> dict[str, Any]:
    whole = {"ports": [{"port": 80}], "selector": {"app": "curl"}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "planted"}, "spec": whole}


@pytest.mark.parametrize(
    "spec", [{"externalIPs": ["192.0.2.1"]}, {"type": "NodePort"}, {"type": "LoadBalancer"}], ids=["ip", "port", "lb"]
)
def test_a_service_of_the_whole_clusters_is_refused(together, spec):
    told = planted(ADA, service(**spec))
    assert re.search("denied request|exceeded quota", told.stderr), told


def test_more_than_a_share_is_refused(together):
    greedy = {**CONTAINER, "resources": {"requests": {"memory": "3Gi"}, "limits": {"memory": "3Gi"}}}
    assert "exceeded quota" in planted(ADA, pod(containers=[greedy])).stderr


# -- network --------------------------------------------------------------------------------------
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('reached')"


def reaches(name: str, host: str, port: int) -> bool:
    """From a participant's server."""
    return "reached" in inside(name, "python3", "-c", REACH, host, str(port)).stdout


def address(namespace: str, selector: str) -> str:
    path = "jsonpath={.items[0].status.podIP}"
    return kubectl("get", "pods", "--namespace", namespace, "--selector", selector, "--output", path)


PLACES = {
    "a pod": ("lab-{}", "app=productpage", 9080),
    "its proxy's counters": ("lab-{}", "app=productpage", 15020),
    "the gateway": ("lab-{}", "istio=ingressgateway", 8080),
}


@pytest.mark.parametrize("what", PLACES)
def test_a_server_reaches_its_own_namespace_and_not_the_others(together, what):
    namespace, selector, port = PLACES[what]
    assert reaches(BEN, address(namespace.format(BEN), selector), port)  # else nothing would be proved
    assert not reaches(ADA, address(namespace.format(BEN), selector), port)


@pytest.mark.parametrize(
    ("selector", "port"),
    [("hub.jupyter.org/username=ben", 8888), ("component=hub", 8001)],
    ids=["server", "proxy's API"],
)
def test_a_server_reaches_no_other_server(together, selector, port):
    assert reaches(ADA, "hub.hub", 8081)
    assert not reaches(ADA, address("hub", selector), port)


def test_a_pod_of_the_mesh_reaches_its_own_and_not_the_others(together):
    def status(name: str, whose: str) -> str:
        url = f"http://productpage.lab-{whose}:9080/productpage"
        command = ["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}", url]
        return inside(name, "kubectl", "exec", "-n", f"lab-{name}", "deploy/curl", "-c", "curl", "--", *command).stdout

    assert status(BEN, BEN) == status(ADA, ADA) == "200"
    assert status(ADA, BEN) in ("503", "000", "502")
    # past the proxy, by the address of a pod
    plain = ["curl", "-sf", "-o", "/dev/null", "-m", "5", f"{address(f'lab-{BEN}', 'app=details')}:9080/details/0"]
    told = inside(ADA, "kubectl", "exec", "-n", f"lab-{ADA}", "deploy/ratings-v1", "-c", "ratings", "--", *plain)
    assert told.returncode != 0


# -- mesh -----------------------------------------------------------------------------------------
def theft(**spec: Any) -> dict[str, Any]:
    """A rule of Ada's for Ben's reviews: all to the first version."""
    host = f"reviews.lab-{BEN}.svc.cluster.local"
    fault = {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}
    whole = {"hosts": [host], "http": [{"fault": fault, "route": [{"destination": {"host": host}}]}], **spec}
    meta = {"name": "theft"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": whole}


def test_a_rule_for_the_others_service_is_refused_or_without_effect(together):
    assert "exportTo" in planted(ADA, theft(exportTo=["*"])).stderr
    assert planted(ADA, theft()).returncode == 0
    try:
        for _ in range(10):
            command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://reviews:9080/reviews/0"]
            exec_ = ["kubectl", "exec", "-n", f"lab-{BEN}", "deploy/curl", "-c", "curl", "--", *command]
            assert inside(BEN, *exec_).stdout == "200"
            time.sleep(0.3)
    finally:
        inside(ADA, "kubectl", "delete", "virtualservice", "theft", "--namespace", f"lab-{ADA}")


@pytest.mark.parametrize("deployment", ["productpage-v1", "istio-ingressgateway"])
def test_a_proxy_knows_nothing_of_the_others(together, deployment):
    dump = ["pilot-agent", "request", "GET", "config_dump?include_eds"]
    for name, other in ((ADA, BEN), (BEN, ADA)):
        told = kubectl("exec", "-n", f"lab-{name}", f"deploy/{deployment}", "-c", "istio-proxy", "--", *dump)
        assert f"lab-{name}" in told
        assert f"lab-{other}" not in told


# -- hub ------------------------------------------------------------------------------------------
def test_the_others_server_is_not_shown(together):
    page = together.pages[ADA].context.new_page()
    answer = page.goto(f"{together.url}/user/{BEN}/lab")
    assert answer.status in (403, 404), page.url
    page.close()


def test_the_others_server_is_not_told_of_by_the_hub(together):
    ask = (
        "import os, urllib.request as r, sys; "
        "r.urlopen(r.Request(os.environ['JUPYTERHUB_API_URL'] + '/users/' + sys.argv[1], "
        "headers={'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']})); print('told')"
    )
    assert "told" in inside(ADA, "python3", "-c", ask, ADA).stdout
    assert re.search("40[34]", inside(ADA, "python3", "-c", ask, BEN).stderr)


def test_who_does_not_know_the_password_is_not_let_in(together):
    with httpx.Client(base_url=together.url, follow_redirects=True) as client:
        form = client.get("/hub/login")
        [token] = re.findall(r'name="_xsrf" value="([^"]+)"', form.text)
        fields = {"username": BEN, "password": "something-else", "_xsrf": token}
        assert client.post("/hub/login", data=fields).status_code in (401, 403)


def test_an_image_of_another_course_is_refused(hub):
    page = hub.sign_in("cleo", "older")
    page.wait_for_selector("text=This hub is set up for version")
    assert f"{images.IMAGE}:0123 holds 0123" in page.content()


def test_an_image_that_is_tagged_as_another_course_does_not_start(hub):
    image = f"{images.IMAGE}:{course.version()}"
    command = ["docker", "run", "--rm", "--env", "LABKIT_COURSE=0123", image, "true"]
    told = backend.run(command, check=False)
    assert told.returncode == 78
    assert f"holds version {course.version()} of the course, and its hub is set up for 0123" in told.stderr


# -- numbers, and the end -------------------------------------------------------------------------
def test_what_a_participant_costs_is_what_the_trainers_page_says(together):
    node = kind.node().name
    summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    used: dict[str, float] = {}
    for pod in summary["pods"]:
        space, name = pod["podRef"]["namespace"], pod["podRef"]["name"]
        what = name if space == "hub" else space
        used[what] = used.get(what, 0) + pod.get("memory", {}).get("workingSetBytes", 0) / 2**20
    print({what: round(mebibytes) for what, mebibytes in sorted(used.items())})
    assert used[f"lab-{ADA}"] < 1500
    assert used[f"jupyter-{ADA}"] < 1000


def test_a_server_that_stops_leaves_nothing(together):
    """The same that culling does."""
    page = together.pages[BEN]
    page.goto(f"{together.url}/hub/home")
    page.click("#stop")
    page.wait_for_selector("#stop", state="hidden")
    kubectl("wait", "--for=delete", f"namespace/lab-{BEN}", "--timeout=120s")
    kubectl("wait", "--for=delete", f"pod/jupyter-{BEN}", "--namespace=hub", "--timeout=60s")
    assert _pods(ADA)


def _bookinfos() -> str:
    from labkit.mesh import bookinfo

    return yaml.safe_dump_all([*read(bookinfo.manifest()), *read(bookinfo.gateway_manifest())])
