"""What the checks look at: the live objects, real requests, the proxies' own counters."""

from __future__ import annotations

from collections import Counter

from labkit import venue
from labkit.course.checks import Seen
from labkit.mesh import bookinfo, injection, istio, objects, traffic
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import ISTIO, NAMESPACE, settings

WITHOUT_MESH = "without-mesh"
PROPAGATION = 5.0  # seconds that a route may take to reach the gateway


# -- 00 -----------------------------------------------------------------------------------------
def api_server_is_ready() -> Seen:
    answer = venue.kubernetes("GET", "/readyz")
    return Seen(answer == "ok", f"/readyz answers {answer}")


def node_is_ready() -> Seen:
    nodes = objects.list_("nodes")
    ready = [node["metadata"]["name"] for node in nodes if objects.is_ready(node)]
    return Seen(len(ready) == 1 == len(nodes), f"ready nodes: {', '.join(ready) or 'none'}")


def kubeconfig_is_the_courses() -> Seen:
    contexts = venue.run(["kubectl", "config", "get-contexts", "--output", "name"]).stdout.split()
    return Seen(contexts == [f"kind-{settings().cluster}"], f"contexts: {', '.join(contexts) or 'none'}")


def namespace_exists(name: str) -> Seen:
    phase = (objects.find("namespaces", name) or {"status": {"phase": "absent"}})["status"]["phase"]
    return Seen(phase == "Active", f"namespace {name}: {phase}")


# -- 01 -----------------------------------------------------------------------------------------
def no_sidecars(namespace: str = WITHOUT_MESH) -> Seen:
    pods = objects.list_("pods", namespace)
    with_proxy = [pod["metadata"]["name"] for pod in pods if PROXY in running_containers(pod)]
    return Seen(bool(pods) and not with_proxy, f"{len(pods)} pods, {len(with_proxy)} with a proxy")


def one_connection_reaches_one_pod() -> Seen:
    return _spread(WITHOUT_MESH, lambda pods: len(pods) == 1)


def stranger_is_served() -> Seen:
    answers = traffic.requests(f"http://ratings.{WITHOUT_MESH}:9080/ratings/0", namespace=WITHOUT_MESH)
    return Seen(
        bool((answers.status == 200).all()), f"ratings answered {_statuses(answers)} to a caller with no identity"
    )


def nobody_counts() -> Seen:
    answers = traffic.requests(f"http://reviews.{WITHOUT_MESH}:9080/metrics", namespace=WITHOUT_MESH)
    return Seen(not (answers.status == 200).any(), f"GET reviews:9080/metrics: {_statuses(answers)}")


def stranger_reaches_details() -> Seen:
    pods = [pod for pod in objects.list_("pods", "stranger", selector="app=curl") if objects.is_ready(pod)]
    if not pods:
        return Seen(False, "no ready curl pod in namespace stranger")
    answers = traffic.requests(f"http://details.{WITHOUT_MESH}:9080/details/0", namespace="stranger")
    return Seen(bool((answers.status == 200).all()), f"details answered {_statuses(answers)} to namespace stranger")


# -- 02 -----------------------------------------------------------------------------------------
def release_is_unpacked() -> Seen:
    folder = settings().istio_folder
    wanted = ("bin/istioctl", "manifests/profiles", "samples/bookinfo")
    missing = [name for name in wanted if not (folder / name).exists()]
    return Seen(not missing, f"{folder.name}: " + (f"{', '.join(missing)} missing" if missing else "complete"))


def istioctl_is_on_the_path() -> Seen:
    path = venue.which("istioctl")
    installed = path == str(settings().bin / "istioctl")
    return Seen(installed, "istioctl: " + ("in $LABKIT_BIN" if installed else path or "nowhere"))


def istioctl_is_the_pinned_version() -> Seen:
    answer = venue.run(["istioctl", "version", "--remote=false", "--short"]).stdout.strip()
    return Seen(answer.endswith(ISTIO), answer)


def httpbin_answers() -> Seen:
    found = _deployments("samples").get("httpbin", {"status": {}})
    available = found["status"].get("availableReplicas", 0)
    return Seen(available > 0, f"httpbin: {available} available")


# -- 03 -----------------------------------------------------------------------------------------
def istio_is_available() -> Seen:
    found = {name: d["status"].get("availableReplicas", 0) for name, d in _deployments(istio.NAMESPACE).items()}
    wanted = (istio.CONTROL_PLANE, *istio.GATEWAYS)
    state = ", ".join(f"{name}: {found.get(name, 0)} available" for name in wanted)
    return Seen(all(found.get(name) for name in wanted), state)


def istiod_is_the_pinned_version() -> Seen:
    deployment = objects.find("deployments", istio.CONTROL_PLANE, istio.NAMESPACE, group="apps")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"] if deployment else "no istiod"
    return Seen(image.endswith(f":{ISTIO}"), image)


def webhook_answers() -> Seen:
    ready = istio.injector_is_ready()
    return Seen(ready, "istiod answers the injection webhook" if ready else "nobody answers the injection webhook")


def egress_gateway_is_gone() -> Seen:
    found = _deployments(istio.NAMESPACE)
    kept = istio.CONTROL_PLANE in found and istio.GATEWAYS[0] in found
    return Seen(kept and istio.GATEWAYS[1] not in found, f"deployments: {', '.join(sorted(found)) or 'none'}")


# -- 04 -----------------------------------------------------------------------------------------
def namespace_is_labelled() -> Seen:
    enabled = istio.injection_is_enabled(NAMESPACE)
    return Seen(enabled, f"{istio.INJECTION_LABEL} on {NAMESPACE}: {'enabled' if enabled else 'not set'}")


def client_has_a_sidecar() -> Seen:
    containers = running_containers(injection.pod(traffic.CLIENT))
    return Seen(PROXY in containers, f"containers of curl: {', '.join(containers)}")


def client_is_redirected() -> Seen:
    ports = set(injection.redirect_rules(injection.pod(traffic.CLIENT)).to_port)
    return Seen({"15001", "15006"} <= ports, f"redirected to ports {', '.join(sorted(filter(None, ports)))}")


def httpbin_opted_out() -> Seen:
    containers = running_containers(injection.pod("httpbin"))
    opted_out = PROXY not in containers and istio.injection_is_enabled(NAMESPACE)
    return Seen(opted_out, f"containers of httpbin: {', '.join(containers)}")


# -- 05 -----------------------------------------------------------------------------------------
def bookinfo_is_available() -> Seen:
    found = _deployments(NAMESPACE)
    missing = [
        name
        for name in bookinfo.deployments()
        if not found.get(name, {"status": {}})["status"].get("availableReplicas")
    ]
    return Seen(not missing, f"not available: {', '.join(missing)}" if missing else "all six are available")


def every_pod_has_a_sidecar() -> Seen:
    wanted = set(bookinfo.deployments())
    pods = [p for p in objects.list_("pods", NAMESPACE) if p["metadata"]["name"].rsplit("-", 2)[0] in wanted]
    with_proxy = [p for p in pods if PROXY in running_containers(p)]
    return Seen(len(pods) == len(with_proxy) >= len(wanted), f"{len(with_proxy)} of {len(pods)} pods have one")


def title_from_ratings() -> Seen:
    argv = ["kubectl", "exec", "--namespace", NAMESPACE, "deploy/ratings-v1", "--container", "ratings", "--",
            "curl", "-sS", "--max-time", "10", "productpage:9080/productpage"]  # fmt: skip
    page = venue.run(argv).stdout
    return Seen(f"<title>{bookinfo.TITLE}</title>" in page, f"{len(page):,} characters of HTML")


def two_ratings_behind_the_service() -> Seen:
    pods = [p for p in objects.list_("pods", NAMESPACE, selector="app=ratings") if objects.is_ready(p)]
    with_proxy = sum(PROXY in running_containers(p) for p in pods)
    return Seen(len(pods) == 2 == with_proxy, f"{len(pods)} ready pods, {with_proxy} with a sidecar")


# -- 06 -----------------------------------------------------------------------------------------
def page_from_outside() -> Seen:
    page = bookinfo.wait_for_page(timeout=PROPAGATION)
    return Seen(
        page.title == bookinfo.TITLE, f"{venue.gateway()}{bookinfo.PAGE}: {page.status}, {page.seconds * 1000:.0f} ms"
    )


def gateway_is_bound() -> Seen:
    service = objects.find("virtualservices", "bookinfo", NAMESPACE, group="networking.istio.io")
    gateways = service["spec"].get("gateways", []) if service else []
    found = [g for g in gateways if objects.find("gateways", g, NAMESPACE, group="networking.istio.io")]
    return Seen(bool(found), f"VirtualService bookinfo is bound to {', '.join(found) or 'no gateway that exists'}")


def nothing_to_complain() -> Seen:
    findings = istio.analyze(NAMESPACE)
    routed = objects.list_("virtualservices", NAMESPACE, group="networking.istio.io")
    measured = "; ".join(findings.code + " " + findings.origin) or f"no findings on {len(routed)} VirtualServices"
    return Seen(findings.empty and bool(routed), measured)


def ratings_from_outside() -> Seen:
    bookinfo.wait_for_page("/ratings/0", timeout=PROPAGATION)
    answer = venue.http("GET", f"{venue.gateway()}/ratings/0")
    return Seen(answer.status == 200 and '"ratings"' in answer.text, f"GET /ratings/0: {answer.status}")


def _deployments(namespace: str) -> dict[str, dict]:
    """By name; without those that are on their way out."""
    found = objects.list_("deployments", namespace, group="apps")
    return {d["metadata"]["name"]: d for d in found if not d["metadata"].get("deletionTimestamp")}


def _spread(namespace: str, holds) -> Seen:
    answers = traffic.requests(f"http://reviews.{namespace}:9080/reviews/0", times=30, namespace=namespace)
    pods = Counter(answers.pod)
    return Seen(holds(pods), ", ".join(f"{pod}: {count}" for pod, count in sorted(pods.items())))


def _statuses(answers) -> str:
    return ", ".join(str(status) for status in sorted(set(answers.status)))
