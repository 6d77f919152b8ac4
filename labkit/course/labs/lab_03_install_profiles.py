"""What the checks of lab 03 look at, and the lab."""

from __future__ import annotations

import yaml

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import istio, objects
from labkit.mesh.workloads import deployments
from labkit.settings import ISTIO as VERSION

OF_THE_EGRESS_GATEWAY = "operator.istio.io/component=EgressGateways"  # how istioctl labels what it installs


def istio_is_available() -> Seen:
    found = {name: d["status"].get("availableReplicas", 0) for name, d in deployments(istio.NAMESPACE).items()}
    wanted = (istio.CONTROL_PLANE, *istio.GATEWAYS)
    state = ", ".join(f"{name}: {found.get(name, 0)} available" for name in wanted)
    return Seen(all(found.get(name) for name in wanted), state)


def istiod_is_the_pinned_version() -> Seen:
    deployment = objects.find("deployments", istio.CONTROL_PLANE, istio.NAMESPACE, group="apps")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"] if deployment else "no istiod"
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


LAB = Lab(
    "03",
    "Install profiles",
    (parts.CLUSTER, parts.RELEASE),
    (
        Check(
            "istiod and both gateways are available",
            istio_is_available,
            "run `%istioctl install --set profile=demo -y`",
        ),
        Check(
            "istiod is the release's own version",
            istiod_is_the_pinned_version,
            "run `%istioctl install --set profile=demo -y` with the istioctl of notebook 02",
        ),
        Check("istiod answers the injection webhook", webhook_answers, "run the install cell again"),
    ),
    Exercise(
        "Nothing here needs the egress gateway. Install the demo profile without it.",
        (
            "A component is switched with `--set components.…`; the profile's own file shows its name.",
            "`egressGateways` is a list: its first entry is `components.egressGateways[0]`.",
        ),
        ("istioctl install --set profile=demo --set components.egressGateways[0].enabled=false -y",),
        (
            Check(
                "istiod and the ingress gateway are there, the egress gateway is not",
                egress_gateway_is_gone,
                "install with `--set components.egressGateways[0].enabled=false`",
            ),
            Check(
                "no Service and no account of the egress gateway's is left",
                nothing_of_the_egress_gateway_is_left,
                "switch the component off with `%istioctl install`: it removes all that belongs to it",
            ),
            Check(
                "the profile is still demo: each proxy logs each request",
                profile_is_demo,
                "keep `--set profile=demo` beside the other setting",
            ),
        ),
    ),
)
