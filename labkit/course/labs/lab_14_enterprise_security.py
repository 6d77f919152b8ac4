"""What the checks of lab 14 look at, and the lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.course import parts
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.mesh import access, bookinfo, istio, objects, traffic, workloads
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

PROPAGATION = 3.0  # seconds that a policy may take to reach the proxies
API = "/api/v1/products"
OUTSIDE = "outside"
RIGHTS = {
    (access.GATEWAY, "GET", "productpage"),
    ("productpage", "GET", "details"),
    ("productpage", "GET", "reviews"),
    ("reviews", "GET", "ratings"),
}
CURL_READS_DETAILS = {("curl", "GET", "details")}
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}  # what only a private RSA key has: RFC 7518, section 6.3.2


def denied_by_default() -> Seen:
    policies = objects.list_("authorizationpolicies", NAMESPACE, group="security.istio.io")
    allow_nothing = [policy["metadata"]["name"] for policy in policies if not policy.get("spec")]
    return Seen(bool(allow_nothing), f"policies that allow nothing, to anybody: {', '.join(allow_nothing) or 'none'}")


def least_privilege() -> Seen:
    return _as_intended(access.ask(), RIGHTS)


def api_asks_for_a_token() -> Seen:
    nothing = _status(API, {})
    nonsense = _status(API, {"Authorization": "Bearer nonsense"})
    page = _status(bookinfo.PAGE, {})
    keys = [key for rule in _token_rules() for key in json.loads(rule.get("jwks") or '{"keys": []}')["keys"]]
    public = [key for key in keys if not _PRIVATE & key.keys()]
    measured = f"no token: {nothing}, nonsense: {nonsense}, the page: {page}; {len(public)} of {len(keys)} keys public"
    return Seen((nothing, nonsense, page) == (403, 401, 200) and 0 < len(public) == len(keys), measured)


def one_way_out() -> Seen:
    pods = workloads.pods(OUTSIDE)
    if pods.empty:
        return Seen(False, f"no pod in namespace {OUTSIDE}")
    seen = {pod.pod: int(traffic.requests(f"http://{pod.ip}:8080/get").status[0]) for pod in pods.itertuples()}
    served = [pod for pod, status in seen.items() if status == 200]
    return Seen(served == ["partner"] and len(seen) > 1, ", ".join(f"{pod}: {status}" for pod, status in seen.items()))


def curl_alone_reads_details() -> Seen:
    """Looked at until it is so, or for as long as a policy may take. `ratings` is a caller that has no right at all."""
    ends = backend.now() + PROPAGATION
    return backend.wait(
        "The policy",
        observe=lambda: _as_intended(access.ask(["curl", "ratings"]), CURL_READS_DETAILS),
        done=lambda seen: seen.passed or backend.now() > ends,
        timeout=PROPAGATION + 10,
    )


def page_has_the_books_details() -> Seen:
    page = backend.http("GET", session.gateway() + bookinfo.PAGE)
    whole = page.status == 200 and "Error fetching product details" not in page.text
    return Seen(whole, f"GET {bookinfo.PAGE}: {page.status}, {'with' if whole else 'without'} details")


def _as_intended(answers: pd.DataFrame, rights: set[tuple[str, str, str]]) -> Seen:
    wrong = [
        f"{answer.caller}: {answer.method} {answer.service} gets {answer.status}"
        for answer in answers.itertuples()
        if answer.observed is not ((answer.caller, answer.method, answer.service) in rights)
    ]
    return Seen(not wrong, "; ".join(wrong[:3]) or f"{len(answers)} of {len(answers)} requests as intended")


def _status(path: str, headers: dict[str, str]) -> int:
    return backend.http("GET", session.gateway() + path, headers=headers).status


def _token_rules() -> list[dict]:
    found = objects.list_("requestauthentications", istio.NAMESPACE, group="security.istio.io")
    return [rule for each in found for rule in each["spec"].get("jwtRules", [])]


LAB = Lab(
    "14",
    "Enterprise security",
    (parts.CLUSTER, parts.RELEASE, parts.ISTIO, parts.INJECTION, parts.BOOKINFO, parts.GATEWAY),
    (
        Check(
            "what no policy allows is denied",
            denied_by_default,
            "run the cell that applies 14-deny-all.yaml",
        ),
        Check(
            "each service answers the one caller that needs it, to GET, and nobody else",
            least_privilege,
            "run the cells that apply 14-callers.yaml and 14-least-privilege.yaml",
        ),
        Check(
            "the shop's API asks for a token, its page does not",
            api_asks_for_a_token,
            "run the cells that make an issuer and apply 14-tokens.yaml and 14-require-token.yaml",
        ),
        Check(
            "of the servers outside, only the partner can be reached",
            one_way_out,
            "run the cells that apply 14-outside.yaml, 14-registry-only.yaml and 14-partner.yaml",
        ),
    ),
    Exercise(
        "Let the `curl` client read *details*, and do nothing else.",
        (
            "Policies that ALLOW add up: a second one for *details* takes nothing away from the first.",
            "Its principal is `cluster.local/ns/default/sa/curl`, its method GET.",
        ),
        ("kubectl apply -f $LABKIT_MANIFESTS/14-curl-reads-details.yaml",),
        (
            Check(
                "curl may GET details and nothing else, and another caller may not even that",
                curl_alone_reads_details,
                "apply an AuthorizationPolicy for app: details with curl's principal and the method GET",
            ),
            Check(
                "the page still has the book's details",
                page_has_the_books_details,
                "leave the policy `details` as it is; add one of your own",
            ),
        ),
    ),
)
