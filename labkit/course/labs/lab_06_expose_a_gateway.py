"""What the checks of lab 06 look at, and the lab."""

from __future__ import annotations

from labkit import backend, session
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import bookinfo, istio, objects
from labkit.settings import NAMESPACE


def page_from_outside() -> Seen:
    page = bookinfo.fetch()
    return Seen(
        page.title == bookinfo.TITLE, f"{session.gateway()}{bookinfo.PAGE}: {page.status}, {page.seconds * 1000:.0f} ms"
    )


def gateway_is_bound() -> Seen:
    service = objects.find("virtualservices", "bookinfo", NAMESPACE, group="networking.istio.io")
    gateways = service["spec"].get("gateways", []) if service else []
    found = [g for g in gateways if objects.find("gateways", g, NAMESPACE, group="networking.istio.io")]
    return Seen(bool(found), f"VirtualService bookinfo is bound to {', '.join(found) or 'no gateway that exists'}")


def nothing_to_complain() -> Seen:
    findings = istio.analyze(NAMESPACE)
    routed = objects.list_("virtualservices", NAMESPACE, group="networking.istio.io")
    measured = "; ".join(findings.code + " " + findings.origin) or f"no findings on {len(routed)} VirtualServices"
    return Seen(findings.empty and bool(routed), measured)


def ratings_from_outside() -> Seen:
    answer = backend.http("GET", f"{session.gateway()}/ratings/0")
    return Seen(answer.status == 200 and '"ratings"' in answer.text, f"GET /ratings/0: {answer.status}")


def stars_at_their_new_address() -> Seen:
    answer = backend.http("GET", f"{session.gateway()}/api/stars/0")
    return Seen(answer.status == 200 and '"ratings"' in answer.text, f"GET /api/stars/0: {answer.status}")


def ratings_are_closed() -> Seen:
    status = backend.http("GET", f"{session.gateway()}/ratings/0").status
    return Seen(status == 404, f"GET /ratings/0: {status}")


def without_a_gateway(said: str) -> str:
    return "the connection is cut off" if "curl: (" in said else "404" if "404" in said else "the page"


def what_apply_says(said: str) -> str:
    return "it warns" if "Warning" in said else "nothing, it applies it" if "configured" in said else "it refuses"


def what_readers_get(page: bookinfo.Page) -> str:
    return {200: "the page, as before", 404: "404, not found"}.get(page.status, "503, unavailable")


PREDICTIONS = (
    Prediction(
        question="No Gateway exists yet. What does a request to the ingress gateway's port get?",
        choices=("404", "the connection is cut off", "the page"),
        measured=without_a_gateway,
        why=(
            "Envoy opens a port when a Gateway asks for it; until then nobody listens behind the Service's port. (It "
            "is cut off, not refused, because the container engine takes each connection before it passes it on.)"
        ),
    ),
    Prediction(
        question="The manifest names a Gateway that does not exist. What does kubectl apply say?",
        choices=("it refuses", "it warns", "nothing, it applies it"),
        measured=what_apply_says,
        why="Each object is valid by itself, and a Gateway of that name might come later.",
    ),
    Prediction(
        question="The VirtualService is bound to a Gateway that does not exist. What do readers get now?",
        choices=("the page, as before", "404, not found", "503, unavailable"),
        measured=what_readers_get,
        why="The gateway still listens, because its Gateway is fine, but no route is bound to it.",
    ),
)


LAB = Lab(
    number="06",
    title="Expose a gateway",
    path="two hours",
    exam=("traffic: ingress and egress", "traffic: routing"),
    pages=("tasks/traffic-management/ingress/ingress-control/", "ops/diagnostic-tools/istioctl-analyze/"),
    start=(components.CLUSTER, components.RELEASE, components.ISTIO, components.INJECTION, components.BOOKINFO),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="the VirtualService is bound to a Gateway that exists",
            observe=gateway_is_bound,
            hint="A VirtualService names its gateways: `%kubectl get gateways.networking.istio.io,virtualservices`.",
            remedy=("%kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml",),
        ),
        Check(
            claim="the page opens from outside the cluster",
            observe=page_from_outside,
            hint="`%istioctl analyze` says where a route leads nowhere.",
            remedy=("%kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml",),
        ),
        Check(
            claim="istioctl analyze finds nothing",
            observe=nothing_to_complain,
            hint="Read what `%istioctl analyze` names, word by word.",
            remedy=("%kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml",),
        ),
    ),
    exercises=(
        Exercise(
            task="Open `/ratings` to the outside as well, through the same Gateway.",
            hints=(
                "A second VirtualService may be bound to the same Gateway.",
                "It matches `uri.prefix: /ratings` and routes to `ratings`, port 9080.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/06-ratings-outside.yaml",),
            checks=(
                Check(
                    claim="ratings answer from outside the cluster",
                    observe=ratings_from_outside,
                    within=5,
                ),
            ),
        ),
        Exercise(
            task="Nobody outside can open the page any more. Find out why, and mend it.",
            hints=(
                (
                    "404 comes from a gateway that listens. For which domains does it have routes? "
                    "`%istioctl proxy-config routes deploy/istio-ingressgateway -n istio-system`"
                ),
                "A Gateway's server lists the `hosts` that it is for. `%istioctl analyze` says what does not fit.",
                "Readers ask for 127.0.0.1, not for a shop. The Gateway of Istio's sample takes any host: `*`.",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/06-fault.yaml",),
            solution=("kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml",),
            checks=(
                Check(
                    claim="the page opens from outside the cluster",
                    observe=page_from_outside,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="Give the ratings another address outside, `/api/stars/0`, and close `/ratings`.",
            hints=(
                "Match the new address as you did the old one. What does *ratings* itself know of it?",
                "`rewrite.uri` stands beside `match`: with a prefix, it takes the prefix's place.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/06-stars-outside.yaml",),
            checks=(
                Check(claim="/api/stars/0 has the ratings", observe=stars_at_their_new_address, within=3),
                Check(claim="/ratings/0 is closed", observe=ratings_are_closed, within=3),
                Check(claim="the page opens from outside the cluster", observe=page_from_outside),
            ),
        ),
    ),
)
