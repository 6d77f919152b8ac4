"""What the checks of lab 03 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import injection, istio, objects
from labkit.mesh.workloads import PROXY, deployments
from labkit.settings import ISTIO as VERSION

if TYPE_CHECKING:
    import pandas as pd

LESS = "64Mi"
ASKS = "sidecar.istio.io/inject=true"
OF_THE_EGRESS_GATEWAY = "operator.istio.io/component=EgressGateways"  # how istioctl labels what it installs


def istio_is_available() -> Seen:
    found = {name: d["status"].get("availableReplicas", 0) for name, d in deployments(istio.NAMESPACE).items()}
    wanted = (istio.CONTROL_PLANE, *istio.GATEWAYS)
    state = ", ".join(f"{name}: {found.get(name, 0)} available" for name in wanted)
    return Seen(all(found.get(name) for name in wanted), state)


def istiod_is_the_pinned_version() -> Seen:
    image = _istiod().get("image", "no istiod")
    return Seen(image.endswith(f":{VERSION}"), image)


def webhook_answers() -> Seen:
    ready = istio.injector_is_ready()
    return Seen(ready, "istiod answers the injection webhook" if ready else "nobody answers the injection webhook")


def egress_gateway_is_gone() -> Seen:
    found = deployments(istio.NAMESPACE)
    kept = istio.CONTROL_PLANE in found and istio.GATEWAYS[0] in found
    return Seen(kept and istio.GATEWAYS[1] not in found, f"deployments: {', '.join(sorted(found)) or 'none'}")


def nothing_of_the_egress_gateway_is_left() -> Seen:
    left = [
        f"{item['kind']} {item['metadata']['name']}"
        for kind in ("services", "serviceaccounts")
        for item in objects.list_(kind, istio.NAMESPACE, selector=OF_THE_EGRESS_GATEWAY)
    ]
    return Seen(not left, ", ".join(left) or "neither is there")


def profile_is_demo() -> Seen:
    """By what the notebook found in the profiles' difference: demo alone has each proxy write an access log."""
    found = objects.find("configmaps", "istio", istio.NAMESPACE)
    log = yaml.safe_load(found["data"]["mesh"]).get("accessLogFile") if found else None
    return Seen(log == "/dev/stdout", f"accessLogFile: {log or 'not set'}")


def istiod_asks_for_less_memory() -> Seen:
    request = _istiod().get("resources", {}).get("requests", {}).get("memory", "nothing")
    return Seen(request == LESS, f"istiod asks for {request}")


def _istiod() -> dict[str, Any]:
    """Its container, as its Deployment has it; empty where there is none."""
    deployment = objects.find("deployments", istio.CONTROL_PLANE, istio.NAMESPACE, group="apps")
    return deployment["spec"]["template"]["spec"]["containers"][0] if deployment else {}


def asks_for_more_cpu(profiles: pd.DataFrame) -> str:
    demo, default = (int(profiles.loc[name, "cpu request"].split()[0]) for name in ("demo", "default"))
    return "both the same" if demo == default else "demo" if demo > default else "default"


def pods_of(pods: pd.DataFrame) -> str:
    return nearest(len(pods), {"1": 1, "3": 3, "10": 10})


def external_address(said: str) -> str:
    return "none, it stays pending" if "<pending>" in said else "an address"


def pod_that_asks_is_injected() -> Seen:
    answer = injection.rehearse(labels=ASKS, output="jsonpath={.spec.initContainers[*].name}")
    return Seen(PROXY in answer.stdout, f"its init containers: {answer.stdout.strip() or 'none'}")


PREDICTIONS = (
    Prediction(
        question="demo has one gateway more than default. Which of the two asks the nodes for more CPU?",
        choices=("demo", "default", "both the same"),
        measured=asks_for_more_cpu,
        why="demo's values are made for one small machine, default's for load.",
    ),
    Prediction(
        question=(
            "istioctl install is about to make some forty objects. How many pods run in istio-system afterwards?"
        ),
        choices=("1", "3", "10"),
        measured=pods_of,
        why=(
            "One is the control plane, istiod; the other two are the gateways, Envoy proxies at the way "
            "in and at the way out."
        ),
    ),
    Prediction(
        question=(
            "Traffic from outside arrives at the ingress gateway's Service, which is of type "
            "LoadBalancer. Which external address does it get in this cluster?"
        ),
        choices=("127.0.0.1", "the node's address", "none, it stays pending"),
        measured=external_address,
        why="A Service of this type asks the cloud for a load balancer, and kind runs in no cloud.",
    ),
)

_NO_EGRESS_GATEWAY = Check(
    claim="istiod and the ingress gateway are there, the egress gateway is not", observe=egress_gateway_is_gone
)
_STILL_DEMO = Check(claim="the profile is still demo: each proxy logs each request", observe=profile_is_demo)

LAB = Lab(
    number="03",
    title="Install profiles",
    path="a day",
    exam=("installation: istioctl or Helm", "installation: customizing"),
    pages=("setup/install/istioctl/", "setup/additional-setup/config-profiles/"),
    start=(components.CLUSTER, components.RELEASE),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="istiod and both gateways are available",
            observe=istio_is_available,
            hint="`%kubectl get deployments --namespace istio-system` lists what a profile installed.",
            remedy=("%istioctl install --set profile=demo -y",),
        ),
        Check(
            claim="istiod is the release's own version",
            observe=istiod_is_the_pinned_version,
            hint="`%istioctl version` shows istioctl's version beside istiod's.",
            remedy=("%istioctl install --set profile=demo -y",),
        ),
        Check(
            claim="istiod answers the injection webhook",
            observe=webhook_answers,
            hint="A webhook is answered by a pod: `%kubectl get pods --namespace istio-system --selector app=istiod`.",
            remedy=("%istioctl install --set profile=demo -y",),
        ),
    ),
    exercises=(
        Exercise(
            task="Nothing here needs the egress gateway. Install the demo profile without it.",
            hints=(
                "A component is switched with `--set components.…`; the profile's own file shows its name.",
                "`egressGateways` is a list: its first entry is `components.egressGateways[0]`.",
                "Keep `--set profile=demo` beside it; what belongs to the component goes when it is switched off.",
            ),
            solution=("istioctl install --set profile=demo --set components.egressGateways[0].enabled=false -y",),
            checks=(
                _NO_EGRESS_GATEWAY,
                Check(
                    claim="no Service and no account of the egress gateway's is left",
                    observe=nothing_of_the_egress_gateway_is_left,
                ),
                _STILL_DEMO,
            ),
        ),
        Exercise(
            task="A pod that asks for a sidecar gets none. Find out why, and mend it.",
            hints=(
                "Injection is a webhook's work. Which ones are there? `%kubectl get mutatingwebhookconfigurations`",
                (
                    "Nothing of Istio's is among them, though `%kubectl get pods -n istio-system` "
                    "shows that istiod runs: the objects that call it are gone."
                ),
                "What `istioctl install` made it makes again: run it once more with the settings that are installed.",
            ),
            fault=(
                (
                    "kubectl delete mutatingwebhookconfigurations istio-sidecar-injector "
                    "istio-revision-tag-default --ignore-not-found"
                ),
            ),
            solution=("istioctl install --set profile=demo --set components.egressGateways[0].enabled=false -y",),
            checks=(
                Check(
                    claim="a pod that asks for a sidecar is given one",
                    observe=pod_that_asks_is_injected,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=f"Let istiod ask for {LESS} of memory, and keep everything else as it is: demo, no egress gateway.",
            hints=(
                "`%kubectl get deployment istiod -n istio-system -o jsonpath='{..resources}'` shows what it asks for.",
                "Istio's charts call istiod `pilot`: `--set values.pilot.resources.requests.memory=…`",
                "An installation is described in full each time. What is not said again goes back to the profile.",
            ),
            solution=(
                "istioctl install --set profile=demo --set components.egressGateways[0].enabled=false "
                f"--set values.pilot.resources.requests.memory={LESS} -y",
            ),
            checks=(
                Check(claim=f"istiod asks for {LESS} of memory", observe=istiod_asks_for_less_memory),
                _NO_EGRESS_GATEWAY,
                _STILL_DEMO,
            ),
        ),
    ),
)
