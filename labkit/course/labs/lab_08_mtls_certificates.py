"""What the checks of lab 08 look at, and the lab."""

from __future__ import annotations

from datetime import timedelta

from labkit import backend
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.errors import LabError
from labkit.mesh import certificates, traffic
from labkit.settings import NAMESPACE

STRANGER = "stranger"  # the namespace without a label, from 01
DETAILS, RATINGS = f"details.{NAMESPACE}:9080/details/0", f"ratings.{NAMESPACE}:9080/ratings/0"
PROPAGATION = 2.0  # seconds that a policy may take to reach the proxies
SHORT = timedelta(minutes=1)
BACKDATED = timedelta(minutes=2)  # istiod's allowance for clocks that differ


def stranger_is_refused() -> Seen:
    seen = _statuses(STRANGER, [RATINGS], wanted=[0])
    return Seen(seen == [0], f"{STRANGER} got {seen[0]} from ratings (0: the connection was cut)")


def mesh_is_served() -> Seen:
    seen = _statuses(NAMESPACE, [RATINGS], wanted=[200])
    return Seen(seen == [200], f"the client in {NAMESPACE} got {seen[0]} from ratings")


def wire_leads_to_the_root() -> Seen:
    path = certificates.verify(certificates.from_the_wire("details:9080"), certificates.root()).certificate
    return Seen(path.iloc[0].endswith("/sa/bookinfo-details"), " ← ".join(path))


def certificates_are_short_lived() -> Seen:
    leaf = certificates.chain(f"deploy/{traffic.CLIENT}").iloc[0]
    life = leaf.not_after - leaf.not_before - BACKDATED
    return Seen(life <= SHORT, f"serial …{leaf.serial[-8:]} lives for {life.total_seconds():,.0f} s")


def details_alone_takes_plain_text() -> Seen:
    details, ratings = _statuses(STRANGER, [DETAILS, RATINGS], wanted=[200, 0])
    return Seen((details, ratings) == (200, 0), f"{STRANGER} got {details} from details, {ratings} from ratings")


def details_still_shows_its_certificate() -> Seen:
    """Looked at until it is so, or for as long as a policy may take."""
    ends = backend.now() + PROPAGATION
    return backend.wait(
        "the certificate of details",
        observe=_on_the_wire,
        done=lambda seen: seen.passed or backend.now() > ends,
        timeout=PROPAGATION + 10,
    )


def _on_the_wire() -> Seen:
    try:
        return wire_leads_to_the_root()
    except LabError as error:
        return Seen(False, f"{error.what} {error.why}")


def _statuses(namespace: str, urls: list[str], wanted: list[int]) -> list[int]:
    """What the services answer to a namespace's client (0 is no answer), once it is as wanted or the time is up."""
    ends = backend.now() + PROPAGATION
    return backend.wait(
        "the answers",
        observe=lambda: [int(traffic.requests(f"http://{url}", namespace=namespace).status[0]) for url in urls],
        done=lambda seen: seen == wanted or backend.now() > ends,
        timeout=PROPAGATION * 2,
    )


LAB = Lab(
    "08",
    "mTLS certificates",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "a caller without a certificate is refused",
            stranger_is_refused,
            "make the stranger, and run `%kubectl apply -f` with manifests/08-strict.yaml",
        ),
        Check(
            "a caller of the mesh is served",
            mesh_is_served,
            "run `%kubectl apply -f samples/curl/curl.yaml`, in a namespace that asks for sidecars",
        ),
        Check(
            "the certificate that details shows leads to the mesh's root",
            wire_leads_to_the_root,
            "run `%kubectl apply -f samples/curl/curl.yaml`; where it stays, `%kubectl rollout restart deployment`",
        ),
        Check(
            "the client's certificate lives for a minute at most",
            certificates_are_short_lived,
            "run `mesh.certificates.rotate('curl', 12)`",
        ),
    ),
    Exercise(
        "Let details, and details alone, take plain text again; everything else stays strict.",
        (
            "A PeerAuthentication may have a `selector`. It is for those pods then, and wins over its namespace's.",
            "`selector.matchLabels` is `app: details`, `mtls.mode` is `PERMISSIVE`.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/08-details-permissive.yaml",),
        (
            Check(
                "a caller without a certificate reaches details, and not ratings",
                details_alone_takes_plain_text,
                "apply a PeerAuthentication that selects app=details, with mode PERMISSIVE",
            ),
            Check(
                "to callers of the mesh details still shows its certificate",
                details_still_shows_its_certificate,
                "choose the mode that takes both, plain text and mutual TLS",
            ),
        ),
    ),
)
