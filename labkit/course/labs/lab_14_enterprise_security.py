"""What the checks of lab 14 look at, and the lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import access, bookinfo, istio, objects, traffic, workloads
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

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
    """`ratings` is a caller that has no right at all."""
    return _as_intended(access.ask(["curl", "ratings"]), CURL_READS_DETAILS)


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


def page_from_outside(page: bookinfo.Page) -> str:
    return {200: "200, the page", 403: "403, forbidden"}.get(page.status, "no answer")


def without_a_token(presented: pd.DataFrame) -> str:
    return f"{presented.set_index('token').status['none']}"


def the_other_address(reached: dict[str, int]) -> str:
    return {200: "an answer", 0: "no answer, as before"}.get(reached["elsewhere"], "an error from a proxy")


def pages_have_their_stars() -> Seen:
    pages = [bookinfo.fetch() for _ in range(12)]
    if errors := [page.error for page in pages if page.error]:
        return Seen(False, f"some of {len(pages)} pages: {max(errors)}")
    starred = any(page.stars for page in pages)  # else nobody asks for ratings any more
    return Seen(starred, f"{len(pages)} pages, all there" if starred else f"no page of {len(pages)} has stars")


def ratings_refuse_curl() -> Seen:
    status = int(traffic.requests("http://ratings:9080/ratings/0").status[0])
    return Seen(status == 403, f"curl gets {status} from ratings")


def curl_reads_the_open_book() -> Seen:
    return _status_of_book(0, 200)


def the_other_book_is_closed() -> Seen:
    return _status_of_book(1, 403)


def _status_of_book(number: int, wanted: int) -> Seen:
    status = int(traffic.requests(f"http://details:9080/details/{number}").status[0])
    return Seen(status == wanted, f"curl gets {status} for book {number}")


PREDICTIONS = (
    Prediction(
        question=(
            "deny-all names no service and no caller, and has not one rule. What does the page answer to the outside?"
        ),
        choices=("200, the page", "403, forbidden", "no answer"),
        measured=page_from_outside,
        why="A policy that allows nothing denies everything, for every pod of its namespace.",
    ),
    Prediction(
        question=(
            "The gateway has the issuer's key and verifies tokens. What does a request get that has no token at all?"
        ),
        choices=("200", "401", "403"),
        measured=without_a_token,
        why="A RequestAuthentication checks the tokens that are there, and asks for none.",
    ),
    Prediction(
        question=(
            "Now a policy denies the API to requests without a verified token. What does the request "
            "without a token get?"
        ),
        choices=("200", "401", "403"),
        measured=without_a_token,
        why="Authorization refuses it: nobody said who it is, and nobody without a name has the right.",
    ),
    Prediction(
        question=(
            "The registry has the partner's address on port 8080, and nothing about elsewhere. What does "
            "a request to elsewhere on that port get?"
        ),
        choices=("an answer", "no answer, as before", "an error from a proxy"),
        measured=the_other_address,
        why="The caller's own proxy now expects HTTP on that port, so it can refuse in HTTP.",
    ),
)


LAB = Lab(
    number="14",
    title="Enterprise security",
    path="a day",
    exam=(
        "security: authorization",
        "security: authentication",
        "traffic: ingress and egress",
        "traffic: external workloads",
    ),
    pages=(
        "tasks/security/authorization/authz-http/",
        "tasks/security/authorization/authz-jwt/",
        "tasks/traffic-management/egress/egress-control/",
        "tasks/observability/logs/access-log/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="what no policy allows is denied",
            observe=denied_by_default,
            hint="A policy without a rule allows nothing: `%kubectl get authorizationpolicies`.",
            remedy=("%kubectl apply -f $LABKIT_MANIFESTS/14-deny-all.yaml",),
        ),
        Check(
            claim="each service answers the one caller that needs it, to GET, and nobody else",
            observe=least_privilege,
            hint="Each service needs a policy that allows its caller by principal, and a caller that can be asked.",
            remedy=(
                "%kubectl apply -f samples/curl/curl.yaml -f $LABKIT_MANIFESTS/14-callers.yaml",
                "%kubectl apply -f $LABKIT_MANIFESTS/14-least-privilege.yaml",
                "%kubectl wait --for=condition=available deployment --all --timeout=150s",
            ),
        ),
        Check(
            claim="the shop's API asks for a token, its page does not",
            observe=api_asks_for_a_token,
            hint=(
                "A RequestAuthentication says which tokens are valid, an AuthorizationPolicy that one is "
                "needed. Both stand at the gateway."
            ),
            remedy=(
                "import yaml",
                "rules = yaml.safe_load(open('../manifests/14-tokens.yaml'))",
                "issuer = mesh.tokens.Issuer('https://login.bookshop.example')",
                "rules['spec']['jwtRules'][0]['jwks'] = issuer.jwks",
                "mesh.proxy.propagate(rules)",
                "%kubectl apply -f $LABKIT_MANIFESTS/14-require-token.yaml",
            ),
        ),
        Check(
            claim="of the servers outside, only the partner can be reached",
            observe=one_way_out,
            hint=(
                "`REGISTRY_ONLY` lets a pod reach what the mesh knows; the partner is known by a ServiceEntry "
                "with its address."
            ),
            remedy=(
                "import yaml",
                "%kubectl apply -f $LABKIT_MANIFESTS/14-outside.yaml -f $LABKIT_MANIFESTS/14-registry-only.yaml",
                "%kubectl wait --for=condition=Ready pod --all --namespace outside --timeout=100s",
                "ip = mesh.pods('outside').set_index('pod').ip.partner",
                "entry = yaml.safe_load(open('../manifests/14-partner.yaml'))",
                "entry['spec'] |= {'addresses': [ip], 'endpoints': [{'address': ip}]}",
                "mesh.proxy.propagate(entry)",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task="Let the `curl` client read *details*, and do nothing else.",
            hints=(
                "Policies that ALLOW add up: a second one for *details* takes nothing away from the first.",
                "Its principal is `cluster.local/ns/default/sa/curl`, its method GET.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/14-curl-reads-details.yaml",),
            checks=(
                Check(
                    claim="curl may GET details and nothing else, and another caller may not even that",
                    observe=curl_alone_reads_details,
                    within=3,
                ),
                Check(
                    claim="the page still has the book's details",
                    observe=page_has_the_books_details,
                ),
            ),
        ),
        Exercise(
            task=(
                "Some pages have lost their stars. Find out why, and mend it without opening ratings to anybody else."
            ),
            hints=(
                (
                    "Who refuses whom? Denials stand in the called proxy's log: `%kubectl logs "
                    "deploy/ratings-v1 -c istio-proxy --tail=5`"
                ),
                (
                    "`rbac_access_denied_matched_policy[none]`: no policy allows the caller. Which "
                    "principal does it have, and which does the policy name?"
                ),
                (
                    "`mesh.certificates.identities(workloads=['reviews-v2'])` has the first, "
                    "`%kubectl get authorizationpolicy ratings -o yaml` the second."
                ),
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/14-fault.yaml",),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/14-least-privilege.yaml",),
            checks=(
                Check(
                    claim="no page misses anything",
                    observe=pages_have_their_stars,
                    within=3,
                ),
                Check(
                    claim="ratings refuse curl",
                    observe=ratings_refuse_curl,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="Close book 1: `/details/1` is for nobody, whoever may read *details*. The rest stays as it is.",
            hints=(
                "Policies that ALLOW add up, so none of them takes anything away.",
                "A policy with the action DENY is asked first. It may name `paths`, and no caller at all.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/14-closed-book.yaml",),
            checks=(
                Check(claim="curl may read book 0", observe=curl_reads_the_open_book, within=3),
                Check(claim="book 1 is closed to curl", observe=the_other_book_is_closed, within=3),
                Check(claim="the page still has the book's details", observe=page_has_the_books_details),
            ),
        ),
    ),
)
