"""What the checks of lab 24 look at, and the lab."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import page_has_its_reviews, tally
from labkit.course.predictions import Prediction, nearest
from labkit.errors import LabError
from labkit.mesh import authority, bookinfo, certificates, istio, objects
from labkit.mesh.proxy.pods import with_proxy
from labkit.settings import NAMESPACE

ASKER, VAULT = "deploy/asker", "vault:8080"
SECOND = "L=second"  # as Istio's Makefile calls an authority whose files are in the folder `second`
RENEWED = 15  # seconds: a certificate that lives for 60 is renewed after 12
ENOUGH = 50  # answers


def vault_leads_to_another_root() -> Seen:
    path = _path_of_vault()
    return Seen(authority.OWN not in path[-1], " ← ".join(path))


def asker_trusts_that_root_alone() -> Seen:
    trusted, roots = (list(held.subject) for held in (certificates.trusted(ASKER), certificates.root()))
    return Seen(trusted == roots and authority.OWN not in trusted, f"asker trusts {' and '.join(trusted)}")


def hardly_a_request_was_lost() -> Seen:
    """One in a hundred may be: a machine that halts for long lets certificates of a minute run out."""
    logs = ["kubectl", "logs", ASKER, "--namespace", NAMESPACE, "--container", "curl", "--tail=-1"]
    statuses = Counter(backend.run(logs, check=False).stdout.split())
    told = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items())) or "asker asks nothing"
    lost = statuses.total() - statuses["200"]
    return Seen(statuses.total() >= ENOUGH and lost <= statuses.total() / 100, told)


def second_signs_vault() -> Seen:
    path = _path_of_vault()
    return Seen(len(path) > 1 and SECOND in path[1] and authority.OWN not in path[-1], " ← ".join(path))


def istiod_has_started_with_it() -> Seen:
    """One pod, ready, and younger than the Secret: an older one goes on with what it read when it started."""
    pods = objects.list_("pods", istio.NAMESPACE, selector=f"app={istio.CONTROL_PLANE}")
    secrets = objects.list_("secrets", istio.NAMESPACE)
    since = [each["metadata"]["creationTimestamp"] for each in secrets if each["metadata"]["name"] == authority.SECRET]
    started = [pod for pod in pods if since and pod["metadata"]["creationTimestamp"] >= since[0]]
    ready = sum(map(objects.is_ready, started))
    told = f"{len(pods)} pods of istiod, {len(started)} started since there is the Secret, {ready} of these ready"
    return Seen(len(pods) == ready == 1, told)


def everybody_leads_to_the_root() -> Seen:
    pods = [pod for namespace in (NAMESPACE, istio.NAMESPACE) for pod in with_proxy(namespace)]
    with backend.threads() as pool:
        ends = list(pool.map(partial(_end_of_its_path, certificates.root()), pods))
    left = sorted(pod["metadata"]["name"] for pod, end in zip(pods, ends, strict=True) if end in ("", authority.OWN))
    return Seen(bool(pods) and not left, f"of {len(pods)} proxies {len(left)} do not: {', '.join(left) or 'none'}")


def _path_of_vault() -> list[str]:
    """Who signed what vault shows on the wire, from its own name to the root."""
    return list(certificates.verify(certificates.from_the_wire(VAULT, ASKER), certificates.root()).certificate)


def _end_of_its_path(root: Any, pod: dict[str, Any]) -> str:
    """The root that a proxy's certificate leads to; "" where it leads to none."""
    try:
        held = certificates.chain(pod["metadata"]["name"], pod["metadata"]["namespace"])
        return str(certificates.verify(held, root).certificate.iloc[-1])
    except certificates.PodGone:
        return "nobody is left"
    except LabError:
        return ""


def where_the_key_is(said: str) -> str:
    return "in a Secret" if "ca-key.pem" in said else "in istiod's memory alone"


def how_many_failed(said: str) -> str:
    """said: lines of `NUMBER STATUS`, as `sort | uniq -c` prints them."""
    counts = tally(said)
    failed = 1 - counts["200"] / counts.total()
    return nearest(failed, {"none": 0, "one in ten": 0.1, "most of them": 0.9})


def what_comes_back(said: str) -> str:
    return said.split()[-1]


PREDICTIONS = (
    Prediction(
        question="istiod signs for the whole mesh. Where is the private key that it signs with?",
        choices=("in istiod's memory alone", "in a Secret", "in every proxy"),
        measured=where_the_key_is,
        why="An istiod that starts anew must go on with the same authority, so it keeps the key in the cluster.",
    ),
    Prediction(
        question="The root is rotated in three steps, while asker goes on asking. How many of its requests fail?",
        choices=("none", "one in ten", "most of them"),
        measured=how_many_failed,
        why="At each step, both ends trust whoever signed the other's certificate.",
    ),
    Prediction(
        question="archive was not restarted; its certificate is from before, and lives for a day. What does asker get?",
        choices=("200", "403", "503"),
        measured=what_comes_back,
        why="asker does not trust the old root any more, so the handshake fails, and its proxy answers 503.",
    ),
)

_VAULT = "kubectl apply -f $LABKIT_MANIFESTS/24-vault.yaml"
_MAKE = "make --no-print-directory -C authority -f ../tools/certs/Makefile.selfsigned.mk"
_AGAIN = "kubectl rollout restart deployment/istiod -n istio-system"
_DONE = "kubectl rollout status deployment/istiod -n istio-system --timeout=120s"
_NO_SECRET = "kubectl delete secret cacerts -n istio-system --ignore-not-found"  # noqa: S105
_LABEL = "kubectl label secret cacerts -n istio-system app.kubernetes.io/part-of=istio-lab"


def _secret(folder: str, *files: str) -> str:
    each = " ".join(f"--from-file=authority/{folder}/{name}.pem" for name in files)
    return f"kubectl create secret generic cacerts -n istio-system {each}"


_ALL = ("ca-cert", "ca-key", "cert-chain", "root-cert")
# a pod that is made before would not trust istiod
_UNTIL_TOLD = (
    'until kubectl get configmap istio-ca-root-cert -o yaml | grep -qF "$(sed -n 2p authority/root-cert.pem)"; '
    "do sleep 1; done"
)
_MESH = (_NO_SECRET, _secret("mesh", *_ALL), _LABEL, _AGAIN, _DONE)

LAB = Lab(
    number="24",
    title="An authority of your own",
    path="everything",
    exam=("security: authentication",),
    pages=("tasks/security/cert-management/plugin-ca-cert/",),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="what vault shows on the wire leads to a root of your own",
            observe=vault_leads_to_another_root,
            hint="`%kubectl get secret cacerts -n istio-system`: istiod reads it as it starts.",
            remedy=(
                "%%shell",
                _VAULT,
                "kubectl wait --for=condition=available deployment/vault deployment/asker --timeout=120s",
                "mkdir -p authority",
                f"{_MAKE} ROOTCA_ORG=Books root-ca",
                f"{_MAKE} INTERMEDIATE_ORG=Books INTERMEDIATE_CN=Books INTERMEDIATE_DAYS=730 mesh-cacerts",
                *_MESH,
                _UNTIL_TOLD,
                "kubectl rollout restart deployment/vault deployment/asker",
                "kubectl rollout status deployment/vault --timeout=120s",
                "kubectl rollout status deployment/asker --timeout=120s",
            ),
            within=RENEWED,
        ),
        Check(
            claim="asker trusts that root, and no other",
            observe=asker_trusts_that_root_alone,
            hint="Which certificates are in `root-cert.pem` of the Secret, and has asker renewed its own since?",
            remedy=("%%shell", *_MESH),
            within=RENEWED,
        ),
        Check(
            claim=f"since it started, asker had {ENOUGH} answers or more, and lost at most one in a hundred",
            observe=hardly_a_request_was_lost,
            hint="`%kubectl logs deploy/asker -c curl --tail 5` shows what asker writes down.",
            remedy=("%kubectl rollout restart deployment/asker", "%kubectl rollout status deployment/asker"),
            within=15,
        ),
    ),
    exercises=(
        Exercise(
            task=(
                "Make a second intermediate, `second`, under the same root, and let istiod sign with it. Restart "
                "nobody but istiod."
            ),
            hints=(
                "The Makefile that made `mesh` makes `second` likewise: `second-cacerts`.",
                "istiod wants four files in one Secret, and knows the Secret by its name.",
                "Delete the Secret `cacerts`, create it from `authority/second`, and restart istiod.",
            ),
            solution=(
                f"{_MAKE} INTERMEDIATE_ORG=Books INTERMEDIATE_CN=Books INTERMEDIATE_DAYS=730 second-cacerts",
                _NO_SECRET,
                _secret("second", *_ALL),
                _LABEL,
                _AGAIN,
                _DONE,
            ),
            checks=(
                Check(
                    claim="what vault shows is signed by `second`, and leads to your root",
                    observe=second_signs_vault,
                    within=RENEWED,
                ),
            ),
        ),
        Exercise(
            task=(
                "Somebody tidied up in istio-system. Requests are answered as before, but since then a restart of "
                "istiod never completes. Find out why, and mend it, before certificates run out."
            ),
            hints=(
                "Which pods of istiod are there, and what does the new one say? `%kubectl logs` takes its name.",
                "It found a part of an authority. `%kubectl describe secret cacerts -n istio-system` lists its files.",
                "A file is missing. All four are in `authority/mesh`.",
            ),
            fault=(_NO_SECRET, _secret("mesh", "ca-cert", "ca-key", "root-cert"), _LABEL, _AGAIN),
            solution=_MESH,
            checks=(
                Check(claim="istiod has started with the Secret", observe=istiod_has_started_with_it, within=5),
                Check(
                    claim="what vault shows on the wire leads to a root of your own",
                    observe=vault_leads_to_another_root,
                    within=RENEWED,
                ),
            ),
        ),
        Exercise(
            task="Bookinfo and the gateways were left behind, too. Bring them along, so that the page opens.",
            hints=(
                "A workload that restarts gets a new certificate, and the new root with it. archive showed it.",
                "Deployments are restarted with `kubectl rollout restart`. The gateways' are in istio-system.",
            ),
            solution=(
                f"kubectl rollout restart {' '.join(f'deployment/{name}' for name in bookinfo.DEPLOYMENTS)}",
                f"kubectl rollout restart {' '.join(f'deployment/{name}' for name in istio.GATEWAYS)} -n istio-system",
                *(f"kubectl rollout status deployment/{name} --timeout=180s" for name in bookinfo.DEPLOYMENTS),
                *(
                    f"kubectl rollout status deployment/{name} -n istio-system --timeout=180s"
                    for name in istio.GATEWAYS
                ),
            ),
            checks=(
                Check(claim="every proxy's certificate leads to your root", observe=everybody_leads_to_the_root),
                Check(claim="the page has its reviews", observe=page_has_its_reviews, within=20),
            ),
        ),
    ),
)
