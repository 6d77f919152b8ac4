"""What the checks of lab 08 look at, and the lab."""

from __future__ import annotations

from datetime import timedelta

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import page_has_its_reviews
from labkit.course.predictions import Prediction
from labkit.mesh import certificates, traffic
from labkit.settings import NAMESPACE

STRANGER = "stranger"  # the namespace without a label, from 01
DETAILS, RATINGS = f"details.{NAMESPACE}:9080/details/0", f"ratings.{NAMESPACE}:9080/ratings/0"
REVIEWS = f"reviews.{NAMESPACE}:9080/reviews/0"
SHORT = timedelta(minutes=1)


def stranger_is_refused() -> Seen:
    seen = _statuses(STRANGER, [RATINGS])
    return Seen(seen == [0], f"{STRANGER} got {seen[0]} from ratings (0: the connection was cut)")


def mesh_is_served() -> Seen:
    seen = _statuses(NAMESPACE, [RATINGS])
    return Seen(seen == [200], f"the client in {NAMESPACE} got {seen[0]} from ratings")


def wire_leads_to_the_root() -> Seen:
    path = certificates.verify(certificates.from_the_wire("details:9080"), certificates.root()).certificate
    return Seen(path.iloc[0].endswith("/sa/bookinfo-details"), " ← ".join(path))


def certificates_are_short_lived() -> Seen:
    leaf = certificates.chain(f"deploy/{traffic.CLIENT}").iloc[0]
    life = leaf.not_after - leaf.not_before - certificates.BACKDATED
    return Seen(life <= SHORT, f"serial …{leaf.serial[-8:]} lives for {life.total_seconds():,.0f} s")


def details_alone_takes_plain_text() -> Seen:
    details, ratings = _statuses(STRANGER, [DETAILS, RATINGS])
    return Seen((details, ratings) == (200, 0), f"{STRANGER} got {details} from details, {ratings} from ratings")


def ratings_alone_refuse_plain_text() -> Seen:
    seen = _statuses(STRANGER, [DETAILS, REVIEWS, RATINGS])
    told = ", ".join(
        f"{status} from {name}" for name, status in zip(("details", "reviews", "ratings"), seen, strict=True)
    )
    return Seen(seen == [200, 200, 0], f"{STRANGER} got {told} (0: the connection was cut)")


def _statuses(namespace: str, urls: list[str]) -> list[int]:
    """What the services answer to a namespace's client; 0 is no answer."""
    return [int(traffic.requests(f"http://{url}", namespace=namespace).status[0]) for url in urls]


def what_envoy_tells_of_its_key(said: str) -> str:
    return "a placeholder" if "redacted" in said else "the key" if "PRIVATE KEY" in said else "an error"


def services_that_answered(statuses: object) -> str:
    served = str(statuses).split().count("200")
    return {0: "none", 4: "all four"}.get(served, "some")


def how_a_stranger_is_refused(statuses: object) -> str:
    seen = {"401", "403"} & set(str(statuses).split())
    return f"HTTP {seen.pop()}" if seen else "no HTTP answer at all"


def reviews_refuse_plain_text() -> Seen:
    [seen] = _statuses(STRANGER, [REVIEWS])
    return Seen(seen == 0, f"{STRANGER} got {seen} from reviews (0: the connection was cut)")


PREDICTIONS = (
    Prediction(
        question=(
            "You are the cluster's administrator, and ask the Envoy of details for its private key. What do you get?"
        ),
        choices=("the key", "a placeholder", "an error"),
        measured=what_envoy_tells_of_its_key,
        why="Envoy's administration interface redacts private keys, whoever asks.",
    ),
    Prediction(
        question=(
            "Bookinfo is in the mesh, with certificates in every proxy. A stranger without one asks all "
            "four services. How many answer?"
        ),
        choices=("none", "some", "all four"),
        measured=services_that_answered,
        why="Unless told otherwise, a sidecar is permissive: it takes mutual TLS, and plain text too.",
    ),
    Prediction(
        question="With STRICT, details accepts nothing but mutual TLS. What does the stranger see?",
        choices=("HTTP 401", "HTTP 403", "no HTTP answer at all"),
        measured=how_a_stranger_is_refused,
        why="The listener accepts only TLS, so the connection ends before any HTTP is spoken.",
    ),
)


LAB = Lab(
    number="08",
    title="mTLS certificates",
    path="two hours",
    exam=("security: authentication",),
    pages=("concepts/security/", "tasks/security/authentication/mtls-migration/"),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="a caller without a certificate is refused",
            observe=stranger_is_refused,
            hint=(
                "A mode that takes plain text too serves it. Who calls, and what does `%kubectl get "
                "peerauthentications` say?"
            ),
            remedy=(
                "%kubectl create namespace stranger",
                "mesh.traffic.deploy_client('stranger')",
                "%kubectl apply -f $LABKIT_MANIFESTS/08-strict.yaml",
            ),
            within=2,
        ),
        Check(
            claim="a caller of the mesh is served",
            observe=mesh_is_served,
            hint="A caller of the mesh has a sidecar: `%kubectl get pods --selector app=curl`.",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml",
                "%kubectl rollout status deployment/curl --timeout=120s",
            ),
            within=2,
        ),
        Check(
            claim="the certificate that details shows leads to the mesh's root",
            observe=wire_leads_to_the_root,
            hint="A client asks for it: is there one, and does it have a sidecar?",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml",
                "%kubectl rollout status deployment/curl --timeout=120s",
            ),
            within=2,
        ),
        Check(
            claim="the client's certificate lives for a minute at most",
            observe=certificates_are_short_lived,
            hint="The agent beside Envoy decides how long its certificates are asked for: `SECRET_TTL`.",
            remedy=("mesh.certificates.rotate('curl', 12)",),
        ),
    ),
    exercises=(
        Exercise(
            task="Let details, and details alone, take plain text again; everything else stays strict.",
            hints=(
                "A PeerAuthentication may have a `selector`. It is for those pods then, and wins over its namespace's.",
                "`selector.matchLabels` is `app: details`, `mtls.mode` is `PERMISSIVE`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/08-details-permissive.yaml",),
            checks=(
                Check(
                    claim="a caller without a certificate reaches details, and not ratings",
                    observe=details_alone_takes_plain_text,
                    within=2,
                ),
                Check(
                    claim="to callers of the mesh details still shows its certificate",
                    observe=wire_leads_to_the_root,
                    within=2,
                ),
            ),
        ),
        Exercise(
            task=(
                "The page has lost its reviews, though every pod runs. Find out why, and mend it; "
                "nobody may read along."
            ),
            hints=(
                (
                    "Both sides of a connection have a say in its TLS: the server by a "
                    "PeerAuthentication, the client by a DestinationRule. `%istioctl experimental "
                    "describe service reviews` shows both."
                ),
                "`%kubectl get destinationrules -o yaml`: one tells the clients of reviews not to use TLS.",
                "Without any rule, a client in the mesh chooses mutual TLS by itself. So delete the rule.",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/08-fault.yaml",),
            solution=(
                "kubectl delete destinationrule reviews --ignore-not-found",
                "kubectl delete peerauthentication reviews --ignore-not-found",
            ),
            checks=(
                Check(
                    claim="the page has its reviews",
                    observe=page_has_its_reviews,
                    within=3,
                ),
                Check(
                    claim="reviews refuse plain text",
                    observe=reviews_refuse_plain_text,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="Turn it round: the namespace takes plain text, and ratings alone refuse it.",
            hints=(
                "Two rules, one for the namespace and one for a few pods. You have seen one of each.",
                "The namespace's has no `selector`. The other one has one, for ratings, and wins.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/08-ratings-alone-strict.yaml",),
            checks=(
                Check(
                    claim="a caller without a certificate reaches details and reviews, and not ratings",
                    observe=ratings_alone_refuse_plain_text,
                    within=3,
                ),
                Check(claim="callers of the mesh reach ratings", observe=mesh_is_served, within=3),
            ),
        ),
    ),
)
