"""What the checks of lab 21 look at, and the lab."""

from __future__ import annotations

from collections import Counter

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import tally
from labkit.course.predictions import Prediction
from labkit.mesh import bookinfo, injection, istio, objects
from labkit.settings import NAMESPACE

CANARY = "canary"
TAG = "prod"
MOVED_BY_TAG = "next"  # the namespace of exercise 21.1
ENOUGH = 500  # pages


def second_control_plane_runs() -> Seen:
    found = objects.find("deployments", f"{istio.CONTROL_PLANE}-{CANARY}", istio.NAMESPACE, group="apps")
    available = found["status"].get("availableReplicas", 0) if found else 0
    return Seen(available > 0, f"istiod-{CANARY}: {available} pods available")


def canary_serves_bookinfo() -> Seen:
    return _served_by(CANARY)


def default_serves_bookinfo() -> Seen:
    return _served_by(istio.DEFAULT)


def hardly_a_page_was_lost() -> Seen:
    """One in a thousand may be: a machine that halts for a while is no fault of the upgrade's."""
    pages = Counter(backend.run(_LOGS.split(), check=False).stdout.split())
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(pages.items())) or "no visitor"
    lost = pages.total() - pages["complete"]
    return Seen(pages.total() >= ENOUGH and lost <= pages.total() / 1000, told)


def curl_follows_the_tag() -> Seen:
    label = _label(MOVED_BY_TAG)
    revisions = {istio.revision(pod) for pod in objects.list_("pods", MOVED_BY_TAG, selector="app=curl")}
    told = ", ".join(sorted(each or "no sidecar" for each in revisions)) or "no pod"
    return Seen(label == TAG and revisions == {CANARY}, f"{MOVED_BY_TAG} names {label or 'no revision'}; curl: {told}")


def namespace_still_names_the_tag() -> Seen:
    label = _label(NAMESPACE)
    return Seen(label == TAG, f"{NAMESPACE} names {label or 'no revision'}")


def _served_by(revision: str) -> Seen:
    """The control planes that injected Bookinfo's living pods."""
    pods = [injection.pod(name) for name in bookinfo.deployments()]
    seen = Counter(istio.revision(pod) or "none" for pod in pods)
    return Seen(set(seen) == {revision}, ", ".join(f"{number} by {name}" for name, number in sorted(seen.items())))


def _label(namespace: str) -> str:
    found = objects.find("namespaces", namespace) or {"metadata": {}}
    return str(found["metadata"].get("labels", {}).get(istio.REVISION_LABEL, ""))


def who_serves_now(said: str) -> str:
    return "the old one" if CANARY not in said else "the new one"


def how_many_were_lost(said: str) -> str:
    """said: lines of `NUMBER OUTCOME`, as `sort | uniq -c` prints them."""
    pages = tally(said)
    share = (pages.total() - pages["complete"]) / pages.total()
    return "one in a hundred or fewer" if share <= 0.01 else "about one in ten" if share <= 0.3 else "most of them"


def who_wins(said: str) -> str:
    return "the new one" if CANARY in said else "the old one" if istio.DEFAULT in said else "no one: it gets no sidecar"


PREDICTIONS = (
    Prediction(
        question="The namespace names the new control plane. Which one serves the pods that run in it?",
        choices=("the old one", "the new one", "both"),
        measured=who_serves_now,
        why="A pod's sidecar is given its control plane as the pod is made, and keeps it as long as the pod lives.",
    ),
    Prediction(
        question="Six Deployments are restarted, one by one, while three visitors open pages. How many pages are lost?",
        choices=("one in a hundred or fewer", "about one in ten", "most of them"),
        measured=how_many_were_lost,
        why="An old pod goes only when the new one answers, and it answers on until the proxies know of the new one.",
    ),
    Prediction(
        question="A namespace says both istio-injection=enabled and istio.io/rev=prod. Who injects its pods?",
        choices=("the old one", "the new one", "no one: it gets no sidecar"),
        measured=who_wins,
        why="The webhooks of revisions leave out each namespace that has the label istio-injection.",
    ),
)

_LOGS = "kubectl logs --namespace outside --selector app=visitor --tail -1"
_RESTART = tuple(
    command
    for name in bookinfo.DEPLOYMENTS
    for command in (
        f"kubectl rollout restart deployment/{name}",
        f"kubectl rollout status deployment/{name} --timeout=120s",
    )
)
_INSTALL = (
    f"istioctl install --revision {CANARY} --set profile={istio.PROFILE} "
    "--set components.ingressGateways[0].enabled=false --set components.egressGateways[0].enabled=false -y"
)
_MOVE = (
    f"istioctl tag set {TAG} --revision {CANARY} --overwrite",
    f"kubectl label namespace {NAMESPACE} istio-injection- istio.io/rev={TAG} --overwrite",
    f"for each in {' '.join(bookinfo.DEPLOYMENTS)}; do",
    '    sed "s/NAME/${each%-*}/" "$LABKIT_MANIFESTS/21-ready.yaml" |',
    '        kubectl patch deployment "$each" --patch-file /dev/stdin; done',
    *_RESTART,
)

LAB = Lab(
    number="21",
    title="Upgrade Istio",
    path="everything",
    exam=("installation: upgrading",),
    pages=("setup/upgrade/canary/", "setup/upgrade/in-place/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="a second control plane runs beside the first",
            observe=second_control_plane_runs,
            hint="`%istioctl install --help`: a control plane with a name of its own is a `--revision`.",
            remedy=(f"%{_INSTALL}",),
        ),
        Check(
            claim="it serves all of Bookinfo's pods",
            observe=canary_serves_bookinfo,
            hint="`%kubectl get namespace default --show-labels` says who injects; pods that run stay as they are.",
            remedy=("%%shell", *_MOVE),
        ),
        Check(
            claim=f"visitors had at least {ENOUGH} pages, and lost at most one in a thousand",
            observe=hardly_a_page_was_lost,
            hint="`%kubectl logs -n outside -l app=visitor --tail 5` shows what the visitors write down.",
            remedy=(
                "%kubectl apply -f $LABKIT_MANIFESTS/21-visitors.yaml",
                "%kubectl rollout restart deployment/visitor -n outside",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task=f"A namespace `{MOVED_BY_TAG}` whose pods the new control plane serves, by the tag: curl runs in it.",
            hints=(
                "A namespace names a tag as it names a revision: by the label `istio.io/rev`.",
                f"`%istioctl tag list` shows which revision each tag points to: `{TAG}` points to `{CANARY}`.",
            ),
            solution=(
                f"kubectl create namespace {MOVED_BY_TAG}",
                f"kubectl label namespace {MOVED_BY_TAG} istio-injection- istio.io/rev={TAG} --overwrite",
                f"kubectl delete deployment curl -n {MOVED_BY_TAG} --ignore-not-found",
                f"kubectl apply -n {MOVED_BY_TAG} -f samples/curl/curl.yaml",
                f"kubectl rollout status deployment/curl -n {MOVED_BY_TAG} --timeout=120s",
            ),
            checks=(
                Check(
                    claim=f"{MOVED_BY_TAG} names the tag, and the canary injected curl",
                    observe=curl_follows_the_tag,
                ),
            ),
        ),
        Exercise(
            task="Back to the old control plane, all of Bookinfo, without touching the namespace's label.",
            hints=(
                "The label names a tag. A tag can point to another revision: `%istioctl tag set --help`",
                "The revision of the old control plane is called `default`. Which pods notice that a tag has moved?",
            ),
            solution=(f"istioctl tag set {TAG} --revision {istio.DEFAULT} --overwrite", *_RESTART),
            checks=(
                Check(claim="default names the tag", observe=namespace_still_names_the_tag),
                Check(claim="the old control plane serves all of Bookinfo", observe=default_serves_bookinfo),
            ),
        ),
        Exercise(
            task="default was moved to the new control plane, and its pods were restarted. The old one serves them.",
            hints=(
                "Which labels has the namespace? `%kubectl get namespace default --show-labels`",
                "It says two things at once, and only one of them is heard. Take the other one away, and restart.",
            ),
            fault=(
                f"kubectl label namespace default istio-injection=enabled istio.io/rev={CANARY} --overwrite",
                *_RESTART,
            ),
            solution=("kubectl label namespace default istio-injection-", *_RESTART),
            checks=(
                Check(claim="the new control plane serves all of Bookinfo's pods", observe=canary_serves_bookinfo),
            ),
        ),
    ),
)
