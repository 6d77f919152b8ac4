"""Certificates: what each proxy holds, what it shows on the wire, and the mesh's root that both lead to.

A proxy's agent makes its key pair inside the pod, and istiod signs the public half. Only certificates are read here.
https://istio.io/latest/docs/concepts/security/#pki
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import injection, objects
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.mesh.proxy.pods import with_proxy
from labkit.mesh.traffic import CLIENT
from labkit.mesh.workloads import PROXY, running_containers, workload
from labkit.mesh.x509 import decoded, is_ca, issue, serial
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd
    from cryptography import x509
    from cryptography.x509 import verification

CHAIN = ["spiffe_id", "subject", "issuer", "serial", "key", "not_before", "not_after", "is_ca", "pem"]
IDENTITIES = ["pod", "workload", "spiffe_id", "key", "serial", "not_before", "signed", "not_after"]
# istiod lets a certificate begin before it is signed, for clocks that differ:
# https://github.com/istio/istio/blob/master/security/pkg/pki/util/generate_cert.go
BACKDATED = timedelta(minutes=2)
SERIALS = ["time", "pod", "workload", "serial", "not_before", "not_after"]
ROOT = "istio-ca-root-cert"  # the ConfigMap that istiod keeps in every namespace
LAB_CA = "Istio lab CA"
PROXY_CONFIG = "proxy.istio.io/config"
SECRET_TTL = "SECRET_TTL"  # noqa: S105  the agent's name for the lifetime that it asks for, no secret itself
SHORTEST, LONGEST = timedelta(seconds=10), timedelta(days=90)  # the longest is what istiod signs unless told otherwise

# The mask keeps the private key, which Envoy would show as "[redacted]", out of the answer altogether.
_SECRETS = "config_dump?resource=dynamic_active_secrets&mask=name,secret.tls_certificate.certificate_chain"
_TRUSTED = "config_dump?resource=dynamic_active_secrets&mask=name,secret.validation_context.trusted_ca"
_OWN = "default"  # the name under which a proxy keeps the certificate of its workload
_ROOTS = "ROOTCA"  # and that under which it keeps those whose signature it trusts
# openssl prints a session's secrets, too: only certificates leave the pod.
_HANDSHAKE = (
    'timeout 10 openssl s_client -alpn istio -showcerts -connect "$1" '
    "| sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'"
)
_EXEC_TIMEOUT = 90  # seconds; kubectl itself waits 60 for a pod that is about to run


class PodGone(LabError):
    """The pod, or its proxy's container, is not there, or not there any more."""


def chain(pod: str, namespace: str = NAMESPACE) -> pd.DataFrame:
    """The certificates that a pod's proxy holds for its workload, leaf first.

    `pod` is what `kubectl exec` takes: a pod's name, or `deploy/NAME`. Columns: spiffe_id, subject ("" where it has
    none), issuer (RFC 4514), serial (hexadecimal, as istioctl shows it), key (algorithm and bits: "RSA 2048"),
    not_before, not_after (UTC timestamps), is_ca (bool), pem (text).

    Read from Envoy's own dump: https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--config_dump
    Raises PodGone; LabError where the pod has no proxy, or its proxy no certificate yet, or reading is not allowed.
    """
    return parse(_held(pod, namespace, _SECRETS, _OWN, ("tls_certificate", "certificate_chain")))


def trusted(pod: str, namespace: str = NAMESPACE) -> pd.DataFrame:
    """The roots that a pod's proxy trusts when another proxy shows it a certificate; arguments and columns as `chain`.

    They come with the proxy's own certificate, and change when it is renewed: `root` may be ahead of them.
    Raises as `chain` does.
    """
    return parse(_held(pod, namespace, _TRUSTED, _ROOTS, ("validation_context", "trusted_ca")))


def from_the_wire(address: str, client: str = f"deploy/{CLIENT}", namespace: str = NAMESPACE) -> pd.DataFrame:
    """The chain that a server in the mesh shows in a TLS handshake; columns as `chain`.

    `address` is HOST:PORT (`details:9080`) as the pod `client` sees it. The handshake starts in that pod's proxy
    container, whose own connections Istio does not redirect, and asks for `istio` by ALPN: under PERMISSIVE that tells
    mutual TLS from an application's own. The client shows no certificate, so all ends once the server has shown its.

    As in https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/#verifying-the-certificates
    Raises as `chain` does, and LabError where the server shows no certificate.
    """
    completed = _in_proxy(client, namespace, "sh", "-c", _HANDSHAKE, "handshake", address)
    if not completed.stdout:
        raise LabError(
            f"{address} showed no certificate.",
            _why_no_handshake(completed),
            "`%kubectl get services` has names and ports, `mesh.pods()` tells which pods have a sidecar",
        )
    return parse(completed.stdout)


def wait_until_renewed(
    pods: Iterable[str], namespace: str = NAMESPACE, report: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until each of some pods' proxies holds another certificate than now, and with it the roots of today.

    pods: as for `chain`. For proxies whose certificates are short-lived; others are restarted. Raises LabError where
    one is not renewed within two minutes, and as `chain` does.
    """
    before = {pod: chain(pod, namespace).serial[0] for pod in pods}
    backend.wait(
        "A new certificate in each proxy",
        observe=lambda: [pod for pod, serial in before.items() if chain(pod, namespace).serial[0] == serial],
        done=lambda waiting: not waiting,
        state=lambda waiting: f"not yet renewed: {', '.join(waiting)}" if waiting else "all are renewed",
        timeout=120,
        every=1,
        report=report,
    )


def root(namespace: str = NAMESPACE) -> pd.DataFrame:
    """The mesh's root, from the ConfigMap that istiod keeps in every namespace; columns as `chain`.

    More than one row means that the root is being replaced. Raises LabError where there is no such ConfigMap.
    """
    found = objects.find("configmaps", ROOT, namespace)
    if found is None:
        raise LabError(
            f"Namespace {namespace} has no ConfigMap {ROOT}.",
            "istiod writes it into every namespace: Istio is not installed, or istiod has not run since",
            "`%kubectl get pods --namespace istio-system` shows istiod; `goto('08')` installs Istio",
        )
    return parse(found["data"]["root-cert.pem"])


def parse(text: str) -> pd.DataFrame:
    """The certificates in a text, in their order; columns as `chain`. Anything but certificates is passed over.

    PEM is https://www.rfc-editor.org/rfc/rfc7468, what a workload's certificate says of it is
    https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md. Raises LabError.
    """
    import pandas as pd
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        rows = [_row(certificate) for certificate in x509.load_pem_x509_certificates(text.encode())]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LabError(
            "The certificates could not be read.",
            f"this is not PEM as a proxy or istiod writes it: {error}",
            "run the cell again; where it stays, `%istioctl proxy-config secret` shows what the proxy was given",
        ) from error
    return pd.DataFrame(rows, columns=CHAIN)


def verify(chain: pd.DataFrame, root: pd.DataFrame) -> pd.DataFrame:
    """The path from a chain's leaf to the mesh's root, its signatures, dates and uses verified as for a TLS client.

    Columns: certificate (its SPIFFE ID, or its subject), serial, signed_by, valid_until (UTC timestamp); the last row
    is the root. Rules: https://cryptography.io/en/latest/x509/verification/
    Raises LabError where a certificate is not valid now, or no path leads to the root.
    """
    import pandas as pd
    from cryptography.x509 import verification

    now = datetime.fromtimestamp(backend.unix_time(), UTC)
    leaf, *others = _certificates(chain)
    builder = verification.PolicyBuilder().store(verification.Store(_certificates(root))).time(now)
    leafs = verification.ExtensionPolicy.webpki_defaults_ee()
    policy = builder.extension_policies(ca_policy=_of_a_ca(), ee_policy=leafs)
    try:
        path = policy.build_client_verifier().verify(leaf, others).chain
    except verification.VerificationError as error:
        _require_valid(pd.concat([chain, root]), now)
        if _are_signed(_certificates(chain), _certificates(root)):
            raise LabError(
                f"{_name(chain.iloc[0])} is signed by the mesh's root, and yet not as the web's rules want it.",
                f"{error}; Istio's own proxies ask for less",
                "the mesh works as it is; a CA with RSA or EC keys and the usual extensions passes here too: "
                "https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/",
            ) from error
        raise LabError(
            f"{_name(chain.iloc[0])} does not lead to the mesh's root.",
            f"its chain ends at {_last(chain)}, the mesh's root is {_last(root)}: {error}",
            "where Istio was installed anew, pods made before hold the old root's certificates until "
            "`%kubectl rollout restart deployment`",
        ) from error
    rows = [_link(_row(certificate)) for certificate in path]
    return pd.DataFrame(rows, columns=["certificate", "serial", "signed_by", "valid_until"])


def identities(namespace: str = NAMESPACE, workloads: Iterable[str] = ()) -> pd.DataFrame:
    """The leaf that each ready proxy holds now, one a row: pod, workload, then spiffe_id … not_after as in `chain`.

    `signed` (UTC timestamp) is when istiod signed it: two minutes after `not_before`.

    Of those workloads only, if any are named. A pod that vanishes meanwhile has no row.
    """
    import pandas as pd

    wanted = set(workloads)
    ready = [pod for pod in with_proxy(namespace) if objects.is_ready(pod)]
    chosen = [pod for pod in ready if not wanted or workload(pod) in wanted]
    with backend.threads(8) as pool:
        rows = [row for found in pool.map(_identity, chosen) for row in found]
    return pd.DataFrame(rows, columns=IDENTITIES).sort_values("pod", ignore_index=True)


def serials(
    workloads: Iterable[str],
    seconds: float,
    every: float = 2.0,
    namespace: str = NAMESPACE,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Watch the certificates of some workloads' pods for so many seconds, looking every so many.

    One row a look and pod: time (UTC timestamp), pod, workload, serial, not_before, not_after. `not_before` lies two
    minutes before istiod signed, for clocks that differ. A pod that is made meanwhile is seen, too.
    Raises LabError where a workload has no pod, or none of their pods a proxy.
    """
    import pandas as pd

    names = list(workloads)
    for name in names:
        _require_proxy(injection.pod(name, namespace))
    date, began = pd.Timestamp(backend.unix_time(), unit="s", tz="UTC").round("ms"), backend.now()
    looks: list[pd.DataFrame] = []
    while not looks or backend.now() < began + seconds:
        if looks:
            backend.sleep(every)
        # counted from the first look, so that a clock that is set meanwhile turns no order round
        time = date + pd.Timedelta(milliseconds=round((backend.now() - began) * 1000))
        looks.append(identities(namespace, names).assign(time=time))
        seen = pd.concat(looks)
        report(f"{seen.serial.nunique()} serials on {seen.pod.nunique()} pods")
    return seen[SERIALS].reset_index(drop=True)


def rotate(
    workload: str,
    ttl_seconds: int | None = 60,
    namespace: str = NAMESPACE,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Let a Deployment's proxies ask for certificates that live so long, and renew each at half of its life.

    `None` gives the mesh's own lifetime (24 h) back. Either way its pods are made anew, and this waits for them; after
    that, certificates change without a restart. The lifetime is the agent's SECRET_TTL:
    https://istio.io/latest/docs/reference/commands/pilot-agent/#envvars, set for one workload by the annotation of
    https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig

    Raises LabError for a lifetime below 10 s or above the 90 days that istiod signs, and where there is no proxy.
    """
    if ttl_seconds is not None and not SHORTEST <= timedelta(seconds=ttl_seconds) <= LONGEST:
        raise LabError(
            f"No certificate can live for {ttl_seconds} s.",
            "below 10 s a busy machine could not renew it in time, and istiod signs none for more than 90 days",
            "60 shows a new serial about every 30 s",
        )
    _require_proxy(injection.pod(workload, namespace))
    template = objects.get("deployments", workload, namespace, group="apps")["spec"]["template"]
    annotations = template["metadata"].get("annotations", {})
    config = _with_ttl(annotations.get(PROXY_CONFIG, ""), ttl_seconds)
    patch = {"spec": {"template": {"metadata": {"annotations": {PROXY_CONFIG: config}}}}}
    scope = ["--namespace", namespace]
    backend.run(["kubectl", "patch", "deployment", workload, *scope, "--type=merge", "--patch", json.dumps(patch)])
    backend.run(["kubectl", "rollout", "status", f"deployment/{workload}", *scope, "--timeout=180s"], on_line=report)


def for_gateway(host: str, secret: str, namespace: str = ISTIO) -> pd.DataFrame:
    """Make a CA and a certificate for a server of this name, and give it to the gateways as a TLS Secret.

    Returns what was made, the server's certificate first, the CA's second; columns as `chain`. The Secret stands where
    the gateways are, so that a Gateway's `credentialName` finds it, with the CA's certificate as its `ca.crt`; what it
    held before is replaced. The private key goes from memory into the Secret, and nowhere else. Valid for a day.

    https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/ Raises backend.CommandFailed.
    """
    now = datetime.fromtimestamp(backend.unix_time(), UTC)
    issued = issue(host, LAB_CA, now, timedelta(days=1))
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": secret, "namespace": namespace, "labels": dict([objects.OURS])},
        "stringData": {"tls.crt": issued.certificate, "tls.key": issued.private_key, "ca.crt": issued.ca},
    }
    # server-side, which leaves no copy of the object in an annotation
    argv = ["kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-"]
    backend.run(argv, stdin=json.dumps(document))
    return parse(issued.certificate + issued.ca)


# -- what a proxy holds, and what it answers -----------------------------------------------------
def _held(pod: str, namespace: str, question: str, wanted: str, where: tuple[str, str]) -> str:
    """The PEM text of one of a proxy's secrets, and of nothing else that stands in its dump."""
    completed = _in_proxy(pod, namespace, "pilot-agent", "request", "GET", question)
    if completed.returncode:
        raise backend.CommandFailed(completed, f"`%kubectl describe pod` says how {pod} fares")
    kind, part = where
    for secret in _secrets(completed.stdout, pod):
        held = ((secret.get("secret") or {}).get(kind) or {}).get(part) or {}
        if secret.get("name") == wanted and "inline_bytes" in held:
            return decoded(held["inline_bytes"])
    raise LabError(
        f"The proxy of {pod} has no certificate yet.",
        "istiod has not signed one for it: istiod is down, or refuses",
        f"`%kubectl get pods --namespace istio-system` shows istiod, `%kubectl logs {pod} --container {PROXY}` why",
    )


def _secrets(dump: str, pod: str) -> list[dict[str, Any]]:
    try:
        return json.loads(dump).get("configs") or []
    except (ValueError, AttributeError) as error:
        raise LabError(
            f"The proxy of {pod} gave an answer that breaks off.", str(error), "run the cell again"
        ) from error


def _identity(pod: dict[str, Any]) -> list[dict[str, Any]]:
    name = pod["metadata"]["name"]
    with suppress(PodGone):
        leaf = chain(name, pod["metadata"]["namespace"]).iloc[0]
        signed = leaf.not_before + BACKDATED
        return [{**leaf, "pod": name, "workload": workload(pod), "signed": signed}]
    return []


def _require_proxy(pod: dict[str, Any]) -> None:
    if PROXY not in running_containers(pod):
        raise _no_proxy(pod["metadata"]["name"])


def _in_proxy(pod: str, namespace: str, *command: str) -> backend.Completed:
    """Run a command in the proxy's container. It may fail; that it cannot be run at all raises."""
    argv = ["kubectl", "exec", "--namespace", namespace, pod, "--container", PROXY, "--", *command]
    completed = backend.run(argv, check=False, timeout=_EXEC_TIMEOUT)
    said = completed.stderr.strip() if completed.returncode else ""
    if "is not valid for pod" in said:
        raise _no_proxy(pod)
    if _GONE.search(said):
        raise PodGone(
            f"{pod} is not there, or its proxy does not run.",
            said,
            f"`%kubectl get pods --namespace {namespace}` lists what is there",
        )
    if "(Forbidden)" in said:
        raise LabError(
            f"The proxy of {pod} may not be asked.",
            said,
            "reading a proxy takes the permission to create pods/exec; ask for it, or use the course's own cluster",
        )
    return completed


def _no_proxy(pod: str) -> LabError:
    return LabError(
        f"{pod} has no proxy.",
        f"no container of it is called {PROXY}, so it is not in the mesh and has no identity there",
        "label its namespace with istio-injection=enabled, then `%kubectl rollout restart deployment`",
    )


# How kubectl, the kubelet and the container runtime say that nothing runs there, or not any more.
_GONE = re.compile(
    r"\(NotFound\)|timed out waiting for the condition|completed pod|does not have a host assigned"
    r"|container not found|cannot exec in a|not created or running|exit code 137"
)
_HANDSHAKE_FAILURES = (
    (
        r"executable file not found|No such file or directory",
        "the client's proxy image has no openssl: a distroless one",
    ),
    (r"wrong version number", "it answers in plain text: it has no proxy, or one that takes nothing else"),
    (r"alert no application protocol", "it speaks TLS of its own, and not Istio's mutual TLS"),
    (r"Name or service not known|Temporary failure in name resolution", "no service has that name"),
    (r"Connection refused|errno=111", "nothing listens on that port"),
    (r"errno=104|Connection reset", "the connection was cut: it expects no mutual TLS on that port"),
)


def _why_no_handshake(completed: backend.Completed) -> str:
    known = (why for pattern, why in _HANDSHAKE_FAILURES if re.search(pattern, completed.stderr))
    return next(known, completed.stderr.strip() or "there was no answer within 10 s")


# -- what a certificate says ---------------------------------------------------------------------
def _row(certificate: x509.Certificate) -> dict[str, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding

    return {
        "spiffe_id": next((uri for uri in _uris(certificate) if uri.startswith("spiffe://")), ""),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": serial(certificate),
        "key": _key(certificate.public_key()),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "is_ca": is_ca(certificate),
        "pem": certificate.public_bytes(Encoding.PEM).decode(),
    }


def _uris(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _key(key: Any) -> str:
    """`RSA 2048`, `EC 256`; the name alone for what has but one size (`Ed25519`)."""
    algorithm = type(key).__name__.removesuffix("PublicKey")
    return f"{algorithm} {getattr(key, 'key_size', '')}".strip()


# -- what verification says ----------------------------------------------------------------------
def _certificates(chain: pd.DataFrame) -> list[x509.Certificate]:
    from cryptography import x509

    return x509.load_pem_x509_certificates("".join(chain.pem).encode())


def _of_a_ca() -> verification.ExtensionPolicy:
    """As the web's rules, but that a root need not say what its key is for: those of Istio's own samples do not."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    def is_one(policy: Any, certificate: Any, constraints: x509.BasicConstraints) -> None:
        if not constraints.ca:
            raise ValueError("it is no authority's certificate")

    def signs(policy: Any, certificate: Any, usage: x509.KeyUsage | None) -> None:
        if usage and not usage.key_cert_sign:
            raise ValueError("its key is not for signing certificates")

    needed = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_one)
    return needed.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, signs)


def _are_signed(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Whether each certificate is signed by the next, an authority's, and the last by a root."""
    from cryptography.exceptions import InvalidSignature

    for root in roots:
        with suppress(ValueError, TypeError, InvalidSignature):
            for certificate, issuer in pairwise([*(each for each in chain if each != root), root]):
                certificate.verify_directly_issued_by(issuer)
                if not is_ca(issuer):
                    return False
            return True
    return False


def _require_valid(certificates: pd.DataFrame, now: datetime) -> None:
    for _, row in certificates.iterrows():
        if now > row.not_after:
            raise LabError(
                f"{_name(row)} is not valid any more.",
                f"it was until {row.not_after:%Y-%m-%d %H:%M:%S} UTC, and now is {now:%Y-%m-%d %H:%M:%S} UTC",
                "read the chain anew; where it stays, istiod did not renew it: "
                "`%kubectl get pods --namespace istio-system`",
            )
        if now < row.not_before:
            raise LabError(
                f"{_name(row)} is not valid yet.",
                f"it is from {row.not_before:%Y-%m-%d %H:%M:%S} UTC, and now is {now:%Y-%m-%d %H:%M:%S} UTC",
                "this machine's clock and the cluster's differ: set them right, or restart the container engine",
            )


def _name(row: Any) -> str:
    return row["spiffe_id"] or row["subject"]


def _last(chain: pd.DataFrame) -> str:
    last = chain.iloc[-1]
    return f"{_name(last)} (serial {last.serial})"


def _link(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "certificate": _name(row),
        "serial": row["serial"],
        "signed_by": row["issuer"],
        "valid_until": row["not_after"],
    }


# -- what a workload asks for --------------------------------------------------------------------
def _with_ttl(annotation: str, ttl_seconds: int | None) -> str | None:
    """The annotation with another lifetime in it and all else kept; None where nothing is left to say."""
    config = yaml.safe_load(annotation) or {}
    metadata = {name: value for name, value in config.pop("proxyMetadata", {}).items() if name != SECRET_TTL}
    if ttl_seconds is not None:
        metadata[SECRET_TTL] = f"{ttl_seconds}s"
    if metadata:
        config["proxyMetadata"] = metadata
    return yaml.safe_dump(config, sort_keys=False) if config else None
