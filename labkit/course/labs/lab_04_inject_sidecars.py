"""What the checks of lab 04 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import injection, istio, traffic
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

APART = "apart"  # a namespace that the last exercise makes


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


def httpbin_opted_in() -> Seen:
    containers = running_containers(injection.pod("httpbin", APART))
    labelled = istio.injection_is_enabled(APART)
    asks = "asks" if labelled else "does not ask"
    measured = f"containers of httpbin: {', '.join(containers)}; {APART} {asks} for sidecars"
    return Seen(PROXY in containers and not labelled, measured)


def after_the_label(pods: pd.DataFrame) -> str:
    return "it gets a sidecar" if pods.sidecar.all() else "nothing"


def changes_in_the_application(difference: pd.DataFrame) -> str:
    changed = difference.field.str.startswith("spec.containers[").sum()
    return "none" if changed == 0 else "a few" if changed < 10 else "most"


def injected_by_hand(pods: pd.DataFrame) -> str:
    return "yes" if pods.sidecar.all() else "no"


PREDICTIONS = (
    Prediction(
        question=(
            "A label on the namespace asks for sidecars, and the curl pod runs in it already. What happens to that pod?"
        ),
        choices=("it gets a sidecar", "it is made anew, with a sidecar", "nothing"),
        measured=after_the_label,
        why="A pod's containers are fixed when it is made, so the label decides about new pods only.",
    ),
    Prediction(
        question=(
            "Injection changes dozens of fields of the pod. How many of them belong to the application's own container?"
        ),
        choices=("none", "a few", "most"),
        measured=changes_in_the_application,
        why="Injection adds containers and volumes beside the application; its image, command and variables stay.",
    ),
    Prediction(
        question=(
            "A namespace without the label gets a manifest that went through istioctl kube-inject. Does "
            "its pod have a sidecar?"
        ),
        choices=("yes", "no"),
        measured=injected_by_hand,
        why="The sidecar stands in the manifest itself, so no webhook is needed, and no label.",
    ),
)


LAB = Lab(
    number="04",
    title="Inject sidecars",
    path="two hours",
    exam=("installation: customizing",),
    pages=("setup/additional-setup/sidecar-injection/",),
    start=(components.CLUSTER, components.RELEASE, components.ISTIO),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the namespace default asks for sidecars",
            observe=namespace_is_labelled,
            hint="The webhook looks at the namespace's labels: `%kubectl get namespace default --show-labels`.",
            remedy=("%kubectl label namespace default istio-injection=enabled --overwrite",),
        ),
        Check(
            claim="the curl pod has a sidecar",
            observe=client_has_a_sidecar,
            hint="A pod is injected as it is created. When was this one? `%kubectl get pods --selector app=curl`",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml",
                "%kubectl rollout restart deployment/curl",
            ),
        ),
        Check(
            claim="the curl pod's traffic is redirected through the sidecar",
            observe=client_is_redirected,
            hint="An init container redirects a pod's traffic as the pod starts: is this pod younger than the label?",
            remedy=("%kubectl rollout status deployment/curl --timeout=120s",),
        ),
    ),
    exercises=(
        Exercise(
            task="Deploy httpbin in `default`, labelled as it is, without a sidecar.",
            hints=(
                "A pod's own label wins over its namespace's.",
                'The label is `sidecar.istio.io/inject: "false"`, in the Deployment\'s pod template.',
            ),
            solution=(
                "kubectl apply -f samples/httpbin/httpbin.yaml",
                "kubectl patch deployment httpbin --patch "
                '\'{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}\'',
                "kubectl rollout status deployment/httpbin --timeout=120s",
            ),
            checks=(
                Check(
                    claim="httpbin runs without a sidecar in a namespace that asks for them",
                    observe=httpbin_opted_out,
                ),
            ),
        ),
        Exercise(
            task=(
                "The curl pod has lost its sidecar, and a restart does not bring it back. Find out why, and mend it."
            ),
            hints=(
                (
                    "Whether a pod is injected, its namespace's labels decide: `%kubectl get "
                    "namespace default --show-labels`"
                ),
                (
                    "`istio.io/rev` asks for a revision of Istio by its name. `%kubectl get "
                    "mutatingwebhookconfigurations` shows whether a webhook answers to it."
                ),
                "Give the namespace the label that it had, take the other one off, and restart the Deployment.",
            ),
            fault=(
                "kubectl label namespace default istio-injection- istio.io/rev=canary --overwrite",
                "kubectl rollout restart deployment/curl",
                "kubectl rollout status deployment/curl --timeout=120s",
            ),
            solution=(
                "kubectl label namespace default istio.io/rev- istio-injection=enabled --overwrite",
                "kubectl rollout restart deployment/curl",
                "kubectl rollout status deployment/curl --timeout=120s",
            ),
            checks=(
                Check(
                    claim="the curl pod has a sidecar",
                    observe=client_has_a_sidecar,
                ),
            ),
        ),
        Exercise(
            task=f"The other way round: in a new namespace `{APART}` without a label, run httpbin with a sidecar.",
            hints=(
                "What a pod's own label took away in the first exercise, it can give as well.",
                'It is a label of the pod, in the Deployment\'s template: `sidecar.istio.io/inject: "true"`.',
            ),
            solution=(
                f"kubectl delete namespace {APART} --ignore-not-found",
                f"kubectl create namespace {APART}",
                f"kubectl apply --namespace {APART} -f samples/httpbin/httpbin.yaml",
                f"kubectl patch deployment httpbin --namespace {APART} --patch "
                '\'{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}}}}\'',
                f"kubectl rollout status deployment/httpbin --namespace {APART} --timeout=120s",
            ),
            checks=(
                Check(
                    claim="httpbin has a sidecar in a namespace that does not ask for them", observe=httpbin_opted_in
                ),
            ),
        ),
    ),
)
