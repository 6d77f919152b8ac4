"""What the checks of lab 31 look at, and the lab."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import pages_are_complete, pages_have_their_stars
from labkit.course.predictions import Prediction
from labkit.mesh import objects, traffic
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE

PATIENT = "http://patient:8080/"
CURL = "cluster.local/ns/default/sa/curl"


def patient_is_ready() -> Seen:
    pods = _staying("patient")
    ready = [pod for pod in pods if objects.is_serving(pod)]
    asked = all(map(_is_probed, pods))
    told = f"{len(ready)} of {len(pods)} pods of patient are ready" + ("" if asked else ", and no probe asks them")
    return Seen(bool(pods) and ready == pods and asked, told)


def _is_probed(pod: dict[str, Any]) -> bool:
    """Whether an application's container has a readiness probe: one without is ready as soon as it runs."""
    return any("readinessProbe" in each for each in pod["spec"]["containers"] if each["name"] != PROXY)


def plain_text_is_refused() -> Seen:
    """One rule is for the whole namespace, and none, be it for some pods or for a port, says anything but STRICT."""
    found = objects.list_("peerauthentications", NAMESPACE, group="security.istio.io")
    modes = {item["metadata"]["name"]: item["spec"].get("mtls", {}).get("mode", "UNSET") for item in found}
    at_ports = {
        f"{item['metadata']['name']} at port {port}": each.get("mode", "UNSET")
        for item in found
        for port, each in item["spec"].get("portLevelMtls", {}).items()
    }
    for_all = any("selector" not in item["spec"] for item in found)
    told = ", ".join(f"{name}: {mode}" for name, mode in sorted({**modes, **at_ports}.items())) or "none"
    strict = {*modes.values(), *at_ports.values()} == {"STRICT"}
    return Seen(for_all and strict, f"PeerAuthentications: {told}")


def patient_serves_curl() -> Seen:
    policy = objects.find("authorizationpolicies", "patient", NAMESPACE, group="security.istio.io")
    status = traffic.requests(PATIENT).status[0]
    return Seen(
        status == 200 and CURL in str(policy), f"curl got {status}; its policy {'' if policy else 'is not '}there"
    )


def ratings_refuse_curl() -> Seen:
    status = traffic.requests("http://ratings:9080/ratings/0").status[0]
    return Seen(status == 403, f"curl got {status} from ratings")


def patient_answers_at_its_address() -> Seen:
    addresses = [pod["status"].get("podIP") for pod in _staying("patient")]
    statuses = [int(traffic.requests(f"http://{address}:8080/").status[0]) for address in addresses if address]
    return Seen(bool(statuses) and set(statuses) == {200}, f"at its pod's address: {', '.join(map(str, statuses))}")


def productpage_has_its_sidecar() -> Seen:
    pods = _staying("productpage")
    having = [pod for pod in pods if PROXY in running_containers(pod)]
    return Seen(bool(pods) and having == pods, f"{len(having)} of {len(pods)} pods have a sidecar")


def _staying(app: str) -> list[dict[str, Any]]:
    """The pods of an application that are not on their way out."""
    pods = objects.list_("pods", NAMESPACE, selector=f"app={app}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def becomes_ready(said: str) -> str:
    return "yes" if " 2/2 " in said else "no, never"


def how_an_outsider_fares(said: str) -> str:
    return "it is cut off" if "curl: (" in said else "403" if "403" in said else "the answer"


def how_a_denial_is_logged(said: str) -> str:
    return "403, and no flag" if " 403 - " in said else "403, and the flag UAEX" if "UAEX" in said else "503, and UH"


PREDICTIONS = (
    Prediction(
        question=(
            "The kubelet probes a pod by plain HTTP, and has no certificate. With STRICT, does a pod with "
            "such a probe become ready?"
        ),
        choices=("yes", "no, never"),
        measured=becomes_ready,
        why="The injector rewrites the probe: it asks pilot-agent at port 15020, who asks the application.",
    ),
    Prediction(
        question="A pod without a sidecar calls patient, which takes nothing but mutual TLS. What does it get?",
        choices=("the answer", "403", "it is cut off"),
        measured=how_an_outsider_fares,
        why="Its plain text matches no filter chain of the server's listener, so there is no HTTP that could answer.",
    ),
    Prediction(
        question="An AuthorizationPolicy names another caller than curl. How does patient's proxy log curl's request?",
        choices=("403, and no flag", "403, and the flag UAEX", "503, and UH"),
        measured=how_a_denial_is_logged,
        why="A denial is no trouble of Envoy's; who reads flags alone does not see it. The details say rbac.",
    ),
)

_STRICT = "kubectl apply -f $LABKIT_MANIFESTS/08-strict.yaml"
_FRESH = "kubectl apply -f $LABKIT_MANIFESTS/14-fresh-connections.yaml"
_PATIENT = "kubectl apply -f $LABKIT_MANIFESTS/31-patient.yaml"
_PATIENT_IS_THERE = "kubectl rollout status deployment/patient --timeout=120s"
_ROLLED_OUT = "kubectl rollout status deployment/productpage-v1 --timeout=120s"


def _patched(deployment: str, kind: str, name: str, value: str | None) -> str:
    """The command that gives the pods of a Deployment a label or an annotation, or takes it from them."""
    patch = {"spec": {"template": {"metadata": {kind: {name: value}}}}}
    return f"kubectl patch deployment {deployment} --patch '{json.dumps(patch)}'"


def _productpage(inject: str | None) -> str:
    return _patched("productpage-v1", "labels", "sidecar.istio.io/inject", inject)


LAB = Lab(
    number="31",
    title="Troubleshooting workloads",
    path="a day",
    exam=("troubleshooting: data plane", "troubleshooting: control plane"),
    pages=(
        "ops/common-problems/injection/",
        "ops/common-problems/security-issues/",
        "ops/configuration/mesh/app-health-check/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="plain text is refused in the whole namespace",
            observe=plain_text_is_refused,
            hint="`%kubectl get peerauthentications` lists who takes what.",
            remedy=("%kubectl apply -f $LABKIT_MANIFESTS/08-strict.yaml",),
        ),
        Check(
            claim="patient is ready",
            observe=patient_is_ready,
            hint="`%kubectl get pods -l app=patient`, and `%kubectl describe pod` for one that is not.",
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/31-patient.yaml",
                "%kubectl rollout status deployment/patient --timeout=120s",
            ),
        ),
        Check(
            claim="patient serves curl, and a policy says so",
            observe=patient_serves_curl,
            hint="Under which name did curl come? Patient's proxy logs it at the level `rbac:debug`.",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml -f $LABKIT_MANIFESTS/31-curl-reads-patient.yaml",
                "%kubectl rollout status deployment/curl --timeout=120s",
            ),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task="The page has no details since this morning. Find out why, and mend it; plain text stays refused.",
            hints=(
                "Who called? `%kubectl logs deploy/productpage-v1 -c istio-proxy --tail=20` has the flag.",
                (
                    "The connection was made, and ended. Do both sides agree on TLS? `%istioctl x describe service "
                    "details` says what the server wants."
                ),
                "What does the caller do? A DestinationRule may tell it: `%kubectl get destinationrules -o yaml`",
            ),
            fault=(_STRICT, "kubectl apply -f $LABKIT_MANIFESTS/31-fault-tls.yaml"),
            solution=(
                "kubectl delete destinationrule details --ignore-not-found",
                "kubectl delete peerauthentication details --ignore-not-found",
            ),
            checks=(
                Check(claim="three pages are complete", observe=partial(pages_are_complete, 3), within=5),
                Check(claim="plain text is refused in the whole namespace", observe=plain_text_is_refused),
            ),
        ),
        Exercise(
            task=(
                "ratings should serve reviews alone, says a new policy. Since then it serves nobody, and the stars "
                "are gone. Find out why, and mend it."
            ),
            hints=(
                "What do the details of the response say? `%kubectl logs deploy/ratings-v1 -c istio-proxy --tail=3`",
                "Under which name does reviews come? `%kubectl get pods -l app=reviews -o yaml` has its account.",
                "Compare that with the principal in `%kubectl get authorizationpolicy ratings -o yaml`.",
            ),
            fault=(_STRICT, _FRESH, "kubectl apply -f $LABKIT_MANIFESTS/31-fault-principal.yaml"),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/31-ratings-from-reviews.yaml",),
            checks=(
                Check(claim="twelve pages have their stars", observe=partial(pages_have_their_stars, 12), within=5),
                Check(claim="ratings refuse curl", observe=ratings_refuse_curl, within=5),
            ),
        ),
        Exercise(
            task="The new version of patient never becomes ready. Find out why, and mend it; plain text stays refused.",
            hints=(
                "What does the kubelet say? `%kubectl describe pod -l app=patient` ends with its events.",
                (
                    "The probe goes to port 8080 itself, by plain HTTP. What did it look like before? "
                    "`%kubectl get pods -l app=patient -o yaml | grep -A 4 readinessProbe`"
                ),
                "An annotation keeps the injector from rewriting probes: `%kubectl get deployment patient -o yaml`",
            ),
            fault=(_STRICT, _PATIENT, "kubectl apply -f $LABKIT_MANIFESTS/31-fault-probe.yaml"),
            solution=(
                "kubectl delete peerauthentication patient --ignore-not-found",
                _patched("patient", "annotations", "sidecar.istio.io/rewriteAppHTTPProbers", None),
                _PATIENT_IS_THERE,
            ),
            checks=(
                Check(claim="patient is ready", observe=patient_is_ready),
                Check(claim="plain text is refused in the whole namespace", observe=plain_text_is_refused),
            ),
        ),
        Exercise(
            task=(
                "Patients look each other up by a headless Service, peers, and call each other by address, as "
                "databases do. Nobody is reached. Find out why, and mend it."
            ),
            hints=(
                "Call it yourself, from curl, and look at the line in the log of curl's proxy: which cluster was it?",
                (
                    "PassthroughCluster is where Envoy sends what it has no host for: as it is, in plain text. "
                    "Which host did the request name?"
                ),
                "For TCP no host is asked for, and Istio has a listener for each address. What makes the port TCP?",
            ),
            fault=(_STRICT, _PATIENT, _PATIENT_IS_THERE, "kubectl apply -f $LABKIT_MANIFESTS/31-fault-headless.yaml"),
            solution=(
                """kubectl patch service peers --patch '{"spec": {"ports": [{"port": 8080, "name": "tcp-peers"}]}}'""",
            ),
            checks=(
                Check(claim="patient answers at its pod's address", observe=patient_answers_at_its_address, within=5),
                Check(claim="plain text is refused in the whole namespace", observe=plain_text_is_refused),
            ),
        ),
        Exercise(
            task="Since the last rollout of productpage the page is nearly empty. Find out why, and mend it.",
            hints=(
                "How many containers has its pod? `%kubectl get pods -l app=productpage`",
                "`%istioctl x check-inject deploy/productpage-v1` says what the injector makes of it, and why.",
                "A label in the pod's template asks for no sidecar. A new pod without that label gets one.",
            ),
            fault=(_STRICT, _productpage("false"), _ROLLED_OUT),
            solution=(
                _STRICT,
                _productpage(None),
                _ROLLED_OUT,
                # without a sidecar nothing drains it: a request that still goes there hangs
                "kubectl wait --for=delete pod --selector app=productpage,sidecar.istio.io/inject=false --timeout=90s",
            ),
            checks=(
                Check(claim="three pages are complete", observe=partial(pages_are_complete, 3), within=5),
                Check(claim="productpage's pod has a sidecar", observe=productpage_has_its_sidecar, within=5),
                Check(claim="plain text is refused in the whole namespace", observe=plain_text_is_refused),
            ),
        ),
    ),
)
