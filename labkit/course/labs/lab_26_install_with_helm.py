"""What the checks of lab 26 look at, and the lab."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import tally
from labkit.course.predictions import Prediction
from labkit.mesh import helm, istio, objects

REVISION = "helm"
CONTROL_PLANE = f"{istio.CONTROL_PLANE}-{REVISION}"  # the release, and the Deployment that it makes
SHOP = "shop"
GATEWAY = "shop-gateway"
TAG = "stable"
ENOUGH = 300  # requests


def control_plane_is_a_release() -> Seen:
    found = helm.release(CONTROL_PLANE)
    deployment = objects.find("deployments", CONTROL_PLANE, istio.NAMESPACE, group="apps")
    available = deployment["status"].get("availableReplicas", 0) if deployment else 0
    told = f"{found.status}, revision {found.number}" if found else "none"
    return Seen(
        bool(found and found.status == "deployed" and available), f"release: {told}; pods available: {available}"
    )


def shop_is_served_by_it() -> Seen:
    """By the control planes that injected its pods, the gateway's among them."""
    seen = {pod["metadata"]["labels"].get("app", "?"): istio.revision(pod) or "none" for pod in _living()}
    told = ", ".join(f"{app} by {revision}" for app, revision in sorted(seen.items())) or "no pod"
    return Seen(seen.keys() >= {"shelf", GATEWAY} and set(seen.values()) == {REVISION}, told)


def was_upgraded_and_hardly_a_request_lost() -> Seen:
    """One in a hundred may be: a machine that halts for a while is no fault of Helm's."""
    found = helm.release(CONTROL_PLANE)
    statuses = Counter(backend.run(_ASKED.split(), check=False).stdout.split())
    lost = statuses.total() - statuses["200"]
    told = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items())) or "no visitor"
    number = found.number if found else 0
    enough = number > 1 and statuses.total() >= ENOUGH
    return Seen(enough and lost <= statuses.total() / 100, f"revision {number}; {told}")


def gateway_has_two_pods() -> Seen:
    deployment = objects.find("deployments", GATEWAY, SHOP, group="apps")
    available = deployment["status"].get("availableReplicas", 0) if deployment else 0
    asked = helm.values(GATEWAY, SHOP).get("replicaCount", 1)
    return Seen(available == asked == 2, f"pods available: {available}; by Helm's values: {asked}")


def gateway_keeps_its_values() -> Seen:
    service, scaler = (
        objects.find(kind, GATEWAY, SHOP, group=group)
        for kind, group in (("services", ""), ("horizontalpodautoscalers", "autoscaling"))
    )
    type_ = service["spec"]["type"] if service else "none"
    return Seen(
        type_ == "ClusterIP" and not scaler, f"Service: {type_}; {'an autoscaler' if scaler else 'no autoscaler'}"
    )


def helm_keeps_the_tag() -> Seen:
    name = f"istio-revision-tag-{TAG}"
    found = objects.find("mutatingwebhookconfigurations", name, group="admissionregistration.k8s.io")
    leads_to = found["metadata"]["labels"].get(istio.REVISION_LABEL, "") if found else ""
    kept = helm.values(CONTROL_PLANE, istio.NAMESPACE).get("revisionTags") or []
    told = f"{TAG} leads to {leads_to or 'nothing'}; {CONTROL_PLANE} keeps {', '.join(kept) or 'no tag'}"
    return Seen(leads_to == REVISION and TAG in kept, told)


def shop_names_the_tag() -> Seen:
    label = (objects.find("namespaces", SHOP) or {"metadata": {}})["metadata"].get("labels", {})
    named = label.get(istio.REVISION_LABEL, "no revision")
    shelf = {istio.revision(pod) or "none" for pod in _living("app=shelf")}
    told = f"{SHOP} names {named}; shelf: {', '.join(sorted(shelf)) or 'no pod'}"
    return Seen(named == TAG and shelf == {REVISION}, told)


def visitor_is_answered() -> Seen:
    """Its last requests: three seconds of them."""
    seen = Counter(backend.run([*_ASKED.split()[:-1], "30"], check=False).stdout.split())
    told = ", ".join(f"{number} {status}" for status, number in sorted(seen.items())) or "no visitor"
    return Seen(seen.keys() == {"200"}, f"the last requests: {told}")


def cluster_has_what_helm_has() -> Seen:
    found = helm.release(GATEWAY, SHOP)
    selector = (objects.find("services", GATEWAY, SHOP) or {"spec": {}})["spec"].get("selector", {})
    chosen = ", ".join(f"{label}={value}" for label, value in sorted(selector.items())) or "nothing"
    status = found.status if found else "none"
    right = selector == {"app": GATEWAY, "istio": GATEWAY} and status == "deployed"
    return Seen(right, f"the Service selects {chosen}; release: {status}")


def _living(selector: str = "") -> list[dict[str, Any]]:
    """The shop's pods, without those that are on their way out."""
    pods = objects.list_("pods", SHOP, selector=selector)
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def what_helm_did(said: str) -> str:
    if "cannot be imported" in said or "FAILED" in said:
        return "it refuses"
    return "it overwrites them" if "STATUS: deployed" in said else "it leaves them, and goes on"


def how_many_were_lost(said: str) -> str:
    """said: lines of `NUMBER STATUS`, as `sort | uniq -c` prints them."""
    statuses = tally(said)
    share = (statuses.total() - statuses["200"]) / statuses.total()
    return "one in a hundred or fewer" if share <= 0.01 else "about one in ten" if share <= 0.3 else "most of them"


def deployed_now(said: str) -> str:
    """said: what `helm history` prints."""
    [number] = re.findall(r"^(\d+) .*\bdeployed\b", said, re.MULTILINE)
    return str(number)


def who_minds(said: str) -> str:
    """said: a line for each, `NAME: taken` or `NAME: refused`."""
    minded = {name for name, verdict in re.findall(r"^(\w+)\b.*: (taken|refused)", said, re.MULTILINE)
              if verdict == "refused"}  # fmt: skip
    return {0: "neither", 2: "both"}.get(len(minded), f"{min(minded, default='')} alone")


PREDICTIONS = (
    Prediction(
        question="The cluster has all objects of the chart `base` already. What does `helm install` do with them?",
        choices=("it overwrites them", "it leaves them, and goes on", "it refuses"),
        measured=what_helm_did,
        why="Helm touches only what bears its mark: the release that an object belongs to stands on the object.",
    ),
    Prediction(
        question="Helm upgrades istiod and then the gateway, while a visitor asks. How many requests are lost?",
        choices=("one in a hundred or fewer", "about one in ten", "most of them"),
        measured=how_many_were_lost,
        why="A proxy needs no istiod to answer, and a gateway's pod ends only when the next one is ready.",
    ),
    Prediction(
        question="The first try failed. Forced, the rollback to revision 1 succeeds. Which revision is deployed then?",
        choices=("1", "2", "4"),
        measured=deployed_now,
        why="A rollback is an upgrade to old values. Nothing is struck from the history.",
    ),
    Prediction(
        question="A value has a typing error, `pilot.replicas` for `pilot.replicaCount`. Who refuses it?",
        choices=("helm alone", "istioctl alone", "both", "neither"),
        measured=who_minds,
        why="istioctl knows each field of the charts' values. Helm knows them only if a chart brings a schema.",
    ),
)

_CHARTS = "manifests/charts"
_ISTIOD = f"{CONTROL_PLANE} {_CHARTS}/istio-control/istio-discovery --namespace {istio.NAMESPACE}"
_GATEWAY = f"{GATEWAY} {_CHARTS}/gateway --namespace {SHOP}"
_ASKED = "kubectl logs --namespace outside deployment/visitor --tail -1"
_RESTART = (
    f"kubectl rollout restart deployment/shelf -n {SHOP}",
    f"kubectl rollout status deployment/shelf -n {SHOP} --timeout=120s",
)
# until the old pod is gone, too
_GONE = f"until [ $(kubectl get pods -n {SHOP} -l app=shelf --no-headers | wc -l) -eq 1 ]; do sleep 1; done"

LAB = Lab(
    number="26",
    title="Install with Helm",
    path="everything",
    exam=("installation: istioctl or Helm", "installation: upgrading", "installation: customizing"),
    pages=("setup/install/helm/", "setup/upgrade/helm/", "setup/additional-setup/gateway/"),
    start=components.UP,
    programs=(components.HELM,),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="a second control plane runs, and is a release of Helm's",
            observe=control_plane_is_a_release,
            hint="`%helm list -n istio-system` shows Helm's releases; the chart of istiod is `istio-discovery`.",
            remedy=(f'%helm upgrade --install {_ISTIOD} -f "$LABKIT_MANIFESTS/26-istiod.yaml" --wait',),
        ),
        Check(
            claim="it serves the whole shop: shelf, and a gateway by Helm's chart",
            observe=shop_is_served_by_it,
            hint="`%kubectl get namespace shop --show-labels` says who injects; pods that run stay as they are.",
            remedy=(
                "%%shell",
                'kubectl apply -f "$LABKIT_MANIFESTS/26-shop.yaml"',
                f"kubectl label namespace {SHOP} istio-injection- istio.io/rev={REVISION} --overwrite",
                f'helm upgrade --install {_GATEWAY} -f "$LABKIT_MANIFESTS/26-gateway.yaml" --wait',
                *_RESTART,
                _GONE,
            ),
        ),
        Check(
            claim=f"it was upgraded; a visitor asked {ENOUGH} times, and lost at most one request in a hundred",
            observe=was_upgraded_and_hardly_a_request_lost,
            hint="`%helm history istiod-helm -n istio-system`; `%kubectl logs -n outside deploy/visitor --tail=5`",
            remedy=(
                "%%shell",
                'kubectl apply -f "$LABKIT_MANIFESTS/26-visitor.yaml"',
                "kubectl rollout restart deployment/visitor -n outside",
                "kubectl rollout status deployment/visitor -n outside --timeout=120s",
                f'helm upgrade {_ISTIOD} -f "$LABKIT_MANIFESTS/26-istiod.yaml" --wait',
            ),
        ),
    ),
    exercises=(
        Exercise(
            task=f"Give `{GATEWAY}` a second pod by Helm, and leave everything else about it as it is.",
            hints=(
                f"How many pods it has is a value: `%helm show values {_CHARTS}/gateway`",
                "A new `--set` takes the place of all values of before. Which were those? `%helm get values`",
                "Name the file of values once more beside the new one, or let `--reuse-values` take up the old ones.",
            ),
            solution=(f"helm upgrade {_GATEWAY} -f $LABKIT_MANIFESTS/26-gateway.yaml --set replicaCount=2 --wait",),
            checks=(
                Check(claim="the gateway has two pods", observe=gateway_has_two_pods),
                Check(claim="its Service is as it was, and nothing scales it", observe=gateway_keeps_its_values),
            ),
        ),
        Exercise(
            task=f"A revision tag `{TAG}` that the release `{CONTROL_PLANE}` makes and keeps: the shop names it.",
            hints=(
                f"`%helm show values {_CHARTS}/istio-control/istio-discovery` has a list of tags.",
                "A list on the command line: `--set 'revisionTags={a,b}'`. Name the file of values beside it.",
                f"A namespace names a tag as it names a revision. Where `{TAG}` is another's, Helm refuses.",
            ),
            solution=(
                # what helm warns of, and what it tells, in the order in which they came
                f"bash -c \"helm upgrade {_ISTIOD} -f $LABKIT_MANIFESTS/26-istiod.yaml --set 'revisionTags={{{TAG}}}' "
                '--take-ownership --force-conflicts --wait 2>&1"',
                f"kubectl label namespace {SHOP} istio-injection- istio.io/rev={TAG} --overwrite",
                *_RESTART,
            ),
            checks=(
                Check(claim=f"Helm's release keeps the tag `{TAG}`, which leads to it", observe=helm_keeps_the_tag),
                Check(
                    claim="the shop names the tag, and its revision injected shelf",
                    observe=shop_names_the_tag,
                    within=5,
                ),
            ),
        ),
        Exercise(
            task="The visitor gets no answers any more, and Helm says that all is deployed. Find out why, and mend it.",
            hints=(
                "Helm tells what it did, not what became of it. `helm get manifest` prints what it had applied.",
                f"`helm get manifest {GATEWAY} -n {SHOP} | kubectl diff -f -` compares that with the cluster.",
                "Somebody changed the Service past Helm. Its next upgrade finds a conflict, unless you force it.",
            ),
            fault=(
                f"kubectl patch service {GATEWAY} -n {SHOP} "
                f"""--patch '{{"spec": {{"selector": {{"istio": "gateway"}}}}}}'""",
            ),
            solution=(f"helm upgrade {_GATEWAY} --reuse-values --force-conflicts --wait",),
            checks=(
                Check(
                    claim="the Service selects the pods that the chart says, and the release is deployed",
                    observe=cluster_has_what_helm_has,
                ),
                Check(claim="the visitor is answered", observe=visitor_is_answered, within=10),
            ),
        ),
    ),
)
