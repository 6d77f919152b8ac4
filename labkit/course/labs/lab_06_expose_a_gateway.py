"""What the checks of lab 06 look at, and the lab."""

from __future__ import annotations

from labkit import backend, session
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import bookinfo, istio, objects
from labkit.settings import NAMESPACE

PROPAGATION = 5.0  # seconds that a route may take to reach the gateway


def page_from_outside() -> Seen:
    page = bookinfo.wait_for_page(timeout=PROPAGATION)
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
    bookinfo.wait_for_page("/ratings/0", timeout=PROPAGATION)
    answer = backend.http("GET", f"{session.gateway()}/ratings/0")
    return Seen(answer.status == 200 and '"ratings"' in answer.text, f"GET /ratings/0: {answer.status}")


LAB = Lab(
    "06",
    "Expose a gateway",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO),
    (
        Check(
            "the VirtualService is bound to a Gateway that exists",
            gateway_is_bound,
            "run `%kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml`",
        ),
        Check("the page opens from outside the cluster", page_from_outside, "run `%istioctl analyze`"),
        Check("istioctl analyze finds nothing", nothing_to_complain, "read what `%istioctl analyze` names"),
    ),
    Exercise(
        "Open `/ratings` to the outside as well, through the same Gateway.",
        (
            "A second VirtualService may be bound to the same Gateway.",
            "It matches `uri.prefix: /ratings` and routes to `ratings`, port 9080.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/06-ratings-outside.yaml",),
        (
            Check(
                "ratings answer from outside the cluster",
                ratings_from_outside,
                "bind a VirtualService with a /ratings prefix to bookinfo-gateway",
            ),
        ),
    ),
)
