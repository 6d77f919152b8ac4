"""What the checks of lab 04 look at, and the lab."""

from __future__ import annotations

from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import injection, istio, traffic
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE


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
    asked_for = namespace_is_labelled()
    return Seen(
        PROXY not in containers and asked_for.passed,
        f"containers of httpbin: {', '.join(containers)}; {asked_for.measured}",
    )


LAB = Lab(
    "04",
    "Inject sidecars",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO),
    (
        Check(
            "the namespace default asks for sidecars",
            namespace_is_labelled,
            "run `%kubectl label namespace default istio-injection=enabled --overwrite`",
        ),
        Check(
            "the curl pod has a sidecar",
            client_has_a_sidecar,
            "restart it: `%kubectl rollout restart deployment/curl`",
        ),
        Check(
            "the curl pod's traffic is redirected through the sidecar",
            client_is_redirected,
            "restart it: `%kubectl rollout restart deployment/curl`",
        ),
    ),
    Exercise(
        "Deploy httpbin in `default`, labelled as it is, without a sidecar.",
        (
            "A pod's own label wins over its namespace's.",
            'The label is `sidecar.istio.io/inject: "false"`, in the Deployment\'s pod template.',
        ),
        (
            "kubectl apply -f samples/httpbin/httpbin.yaml",
            "kubectl patch deployment httpbin --patch "
            '\'{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}\'',
            "kubectl rollout status deployment/httpbin --timeout=120s",
        ),
        (
            Check(
                "httpbin runs without a sidecar in a namespace that asks for them",
                httpbin_opted_out,
                "label the pod template with sidecar.istio.io/inject=false",
            ),
        ),
    ),
)
