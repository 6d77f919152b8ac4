"""What the checks of lab 25 look at, and the lab."""

from __future__ import annotations

import re

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import objects, traffic
from labkit.mesh.proxy.pods import GATEWAY_API
from labkit.settings import NAMESPACE

BOOKS = "books.example.com/productpage"
API = "api.example.com/details/0"
STOCK = "api.example.com/debug"
STOCK_TO_PARTNERS = "api.example.com:8443/debug"
STOCK_ITSELF = "stock.example.com/debug"
REVIEWS = "api.example.com:8443/reviews/0"
PING = "ping.example.com"
FILES = "/etc/curl/tls"  # where Istio's sample mounts the Secret `curl-secret`
PARTNER = ("--cert", f"{FILES}/tls.crt", "--key", f"{FILES}/tls.key")
NO_ANSWER = "no answer"
ENDED = "X-Request-Id"  # what a gateway adds to a request that it can read


def gateway_is_accepted() -> Seen:
    gateway = objects.find("gateways", "edge", NAMESPACE, group=GATEWAY_API)
    conditions = gateway.get("status", {}).get("conditions", []) if gateway else []
    state = {condition["type"]: condition["status"] for condition in conditions}.get("Accepted", "not there")
    return Seen(state == "True", f"Gateway edge: Accepted {state}")


def both_names_answer() -> Seen:
    page, data = _status(BOOKS), _status(API)
    return Seen((page, data) == ("200", "200"), f"books.example.com: {page}; api.example.com: {data}")


def partners_answer_partners_alone() -> Seen:
    nobody, partner = _status(REVIEWS), _status(REVIEWS, *PARTNER)
    refused = nobody.startswith(NO_ANSWER)  # that somebody is there, the partner's answer shows
    return Seen(refused and partner == "200", f"without a certificate: {nobody}; a partner: {partner}")


def stock_ends_its_own_tls() -> Seen:
    answer = _curl(STOCK_ITSELF)
    if answer.returncode:
        return Seen(False, f"stock.example.com: {NO_ANSWER} (exit status {answer.returncode})")
    read = ENDED in answer.stdout
    return Seen(not read, f"stock got the request {'from a gateway that read it' if read else 'as it was sent'}")


def books_may_ask_the_api() -> Seen:
    books, others = _allowed("books.example.com"), _allowed("elsewhere.example.com")
    told = f"preflights: books' origin {books or 'not allowed'}; another one {others or 'not allowed'}"
    return Seen(books == _origin("books.example.com") and not others, told)


def ping_alone_is_routed() -> Seen:
    ping = _grpc("fgrpc.PingServer/Ping", "--data-binary", "@-", stdin="\0" * 5)  # an empty message
    # without one: who is refused while curl still sends, may not hear of it
    health = _grpc("grpc.health.v1.Health/Check", "--request", "POST")
    return Seen((ping, health) == ("0", "12"), f"grpc-status of Ping: {ping or 'none'}; of Check: {health or 'none'}")


def shop_may_put() -> Seen:
    answer = _preflight("shop.example.com", "PUT")
    told = {name: answer.get(f"access-control-allow-{name}", "") for name in ("origin", "methods", "headers")}
    may = _has(told["methods"], "PUT") and _has(told["headers"], "x-page")
    return Seen(may and told["origin"] == _origin("shop.example.com"), f"a preflight of the shop's: {_listed(told)}")


def stock_answers_partners() -> Seen:
    nobody, partner = _status(STOCK_TO_PARTNERS), _status(STOCK_TO_PARTNERS, *PARTNER)
    refused = nobody.startswith(NO_ANSWER)
    return Seen(refused and partner == "200", f"on port 8443 without a certificate: {nobody}; a partner: {partner}")


def stock_answers_nobody_else() -> Seen:
    status = _status(STOCK)
    return Seen(status == "404", f"anybody on port 443: {status}")


def gateway_speaks_tls_to_stock() -> Seen:
    """By either route: the second exercise moves it from one port to the other."""
    anybody, partner = _status(STOCK), _status(STOCK_TO_PARTNERS, *PARTNER)
    return Seen("200" in (anybody, partner), f"api.example.com/debug: {anybody} on port 443, {partner} on port 8443")


def _allowed(host: str) -> str:
    """Which origin the answer to a preflight of a page of this host allows; empty for none."""
    return _preflight(host, "GET").get("access-control-allow-origin", "")


def _preflight(host: str, method: str) -> dict[str, str]:
    asked = (
        f"Origin: {_origin(host)}",
        f"Access-Control-Request-Method: {method}",
        "Access-Control-Request-Headers: x-page",
    )
    return _headers(API, "--request", "OPTIONS", *(word for header in asked for word in ("--header", header)))


def _origin(host: str) -> str:
    return f"https://{host}"


def _has(listed: str, name: str) -> bool:
    return bool({each.strip() for each in listed.split(",")} & {name, "*"})


def _listed(told: dict[str, str]) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in told.items())


def _grpc(method: str, *body: str, stdin: str | None = None) -> str:
    """The gRPC status of a call, in a header or in a trailer; empty where there is none."""
    asked = ("--header", "content-type: application/grpc", "--header", "te: trailers")
    return _headers(f"{PING}/{method}", *asked, *body, stdin=stdin).get("grpc-status", "")


def _status(where: str, *options: str) -> str:
    """The status of an answer, or with which exit status curl said that there was none."""
    answer = _curl(where, "--output", "/dev/null", "--write-out", "%{http_code}", *options)
    return f"{NO_ANSWER} (exit status {answer.returncode})" if answer.returncode else answer.stdout


def _headers(where: str, *options: str, stdin: str | None = None) -> dict[str, str]:
    answer = _curl(where, "--output", "/dev/null", "--dump-header", "-", *options, stdin=stdin).stdout
    return {name.lower(): value for name, value in re.findall(r"^([\w-]+): *(.*?)\s*$", answer, re.MULTILINE)}


def _curl(where: str, *options: str, stdin: str | None = None) -> backend.Completed:
    """Ask the Gateway over TLS, by whichever name, and verify its certificate; where: HOST[:PORT]/PATH."""
    interactive = ["--stdin"] if stdin is not None else []
    argv = ["kubectl", "exec", *interactive, "--namespace", NAMESPACE, f"deploy/{traffic.CLIENT}", "--container",
            traffic.CLIENT, "--", "curl", "--silent", "--show-error", "--max-time", "5", "--cacert", f"{FILES}/ca.crt",
            "--connect-to", "::edge-istio:", *options, f"https://{where}"]  # fmt: skip
    return backend.run(argv, stdin=stdin, check=False)


def what_is_shown(said: str) -> str:
    if "no peer certificate" in said:
        return "no certificate"
    return "books' certificate" if "books" in said else "api's certificate"


def what_comes_back(said: str) -> str:
    """said: what curl printed of three clients, the first of them without a certificate."""
    status = said.split()[0]
    return "no HTTP answer" if status == "000" else status


def last_status(said: str) -> str:
    return said.split()[-1]


def first_status(said: str) -> str:
    found = re.search(r"HTTP/\S+ (\d{3})", said)
    return found[1] if found else "none"


PREDICTIONS = (
    Prediction(
        question="Listeners: books and api. A client wants `shop.example.com`, which neither has. What is it shown?",
        choices=("books' certificate", "api's certificate", "no certificate"),
        measured=what_is_shown,
        why="No filter chain fits the name, so Envoy closes the connection before it would show a certificate.",
    ),
    Prediction(
        question="A client without a certificate asks on port 8443, where partners show one. What does it get?",
        choices=("401", "403", "no HTTP answer"),
        measured=what_comes_back,
        why="The handshake fails, so no request is read: the refusal is an alert of TLS, and has no status.",
    ),
    Prediction(
        question="stock takes TLS and nothing else, and no rule tells the gateway so. What does a client get?",
        choices=("200", "400", "503"),
        measured=last_status,
        why="The gateway sends the request in plain text, and stock itself answers that it expects TLS.",
    ),
    Prediction(
        question="A page of another origin sends GET. No rule allows that origin. Which status does the answer have?",
        choices=("200", "403", "none"),
        measured=first_status,
        why="The server answers as always; what is missing is the header that would let a browser hand it on.",
    ),
    Prediction(
        question="A gRPC client calls a method that no rule matches. Which HTTP status does it get?",
        choices=("200", "404", "503"),
        measured=first_status,
        why="gRPC has a status of its own, in `grpc-status`; Envoy answers 12, unimplemented, as a gRPC server would.",
    ),
)

_APPLY = "kubectl apply -f $LABKIT_MANIFESTS/25-"
_NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
_SIGNED = ("books:books", "api:books", "ping:books", "stock:books", "stranger:books", "partner:partners")

LAB = Lab(
    number="25",
    title="TLS and routes at the edge",
    path="everything",
    exam=("security: TLS at the edge", "traffic: ingress and egress", "traffic: routing"),
    pages=(
        "tasks/traffic-management/ingress/secure-ingress/",
        "tasks/traffic-management/ingress/ingress-sni-passthrough/",
        "tasks/traffic-management/ingress/gateway-api/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="istiod has accepted the Gateway `edge`",
            observe=gateway_is_accepted,
            hint="`%kubectl describe gtw edge` has its conditions; `gtw` is short for the Gateway API's kind.",
            remedy=(
                "%kubectl apply --server-side -f {release.gateway_api()}",
                "%kubectl wait --for=create gatewayclass/istio --timeout=60s",
                f"%{_APPLY}edge-all.yaml",
                "%kubectl wait --for=condition=accepted gtw/edge --timeout=60s",
            ),
            within=5,
        ),
        Check(
            claim="books and api answer on port 443, each with a certificate that can be verified",
            observe=both_names_answer,
            hint="Does each listener have its certificate? `%kubectl describe gtw edge`",
            remedy=(
                "%%shell",
                "umask 077; rm -rf edge; mkdir edge; cd edge",
                "for name in books partners; do",
                f'openssl req -x509 {_NEW_KEY} -days 1 -subj "/CN=Authority of $name" -keyout ca-$name.key '
                "-out ca-$name.crt 2>/dev/null; done",
                f"for pair in {' '.join(_SIGNED)}; do name=${{pair%:*}} ca=ca-${{pair#*:}}",
                f'openssl req {_NEW_KEY} -subj "/CN=$name.example.com" -keyout $name.key -out $name.csr 2>/dev/null',
                "openssl x509 -req -in $name.csr -CA $ca.crt -CAkey $ca.key -CAcreateserial -days 1 -out $name.crt "
                '-extfile <(echo "subjectAltName=DNS:$name.example.com"); done; cd ..',
                "for name in books api ping stock; do kubectl delete secret $name-certificate --ignore-not-found",
                "kubectl create secret tls $name-certificate --cert=edge/$name.crt --key=edge/$name.key; done",
                "for name in books partners; do kubectl delete configmap $name-authority --ignore-not-found",
                "kubectl create configmap $name-authority --from-file=ca.crt=edge/ca-$name.crt; done",
                "kubectl delete secret curl-secret --ignore-not-found",
                "kubectl create secret generic curl-secret --from-file=ca.crt=edge/ca-books.crt "
                "--from-file=tls.crt=edge/partner.crt --from-file=tls.key=edge/partner.key "
                "--from-file=edge/stranger.crt --from-file=edge/stranger.key",
                "kubectl apply -f samples/curl/curl.yaml",
                "rm -rf edge",
                "kubectl rollout restart deployment/curl",
                "kubectl rollout status deployment/curl --timeout=120s",
                f"{_APPLY}names.yaml",
            ),
            within=5,
        ),
        Check(
            claim="on port 8443 a partner is answered, and nobody else",
            observe=partners_answer_partners_alone,
            hint="`%kubectl explain gtw.spec.tls.frontend.perPort` says what a port can ask for.",
            remedy=(f"%{_APPLY}partners.yaml", f"%{_APPLY}edge-all.yaml"),
            within=5,
        ),
        Check(
            claim="the gateway speaks TLS to stock",
            observe=gateway_speaks_tls_to_stock,
            hint="`%kubectl get backendtlspolicies -o yaml` has the policy's conditions at its end.",
            remedy=(
                f"%{_APPLY}stock.yaml -f $LABKIT_MANIFESTS/25-backend-tls.yaml",
                "%kubectl rollout status deployment/stock --timeout=120s",
            ),
            within=5,
        ),
        Check(
            claim="stock ends TLS itself for who asks for it by its own name",
            observe=stock_ends_its_own_tls,
            hint="A listener whose TLS mode is Passthrough, and a TLSRoute that names it.",
            remedy=(f"%{_APPLY}through.yaml",),
            within=5,
        ),
        Check(
            claim="a script of books may ask the api, one of another origin may not",
            observe=books_may_ask_the_api,
            hint="`%kubectl explain httproute.spec.rules.filters.cors`",
            remedy=(f"%{_APPLY}cors.yaml",),
            within=5,
        ),
        Check(
            claim="of ping's methods Ping is routed, and no other",
            observe=ping_alone_is_routed,
            hint="`%kubectl explain grpcroute.spec.rules.matches.method`",
            remedy=(f"%{_APPLY}ping.yaml", "%kubectl rollout status deployment/ping --timeout=120s"),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task=(
                "Scripts of shop.example.com may ask the api, too; they send PUT, with the header x-page. "
                "Scripts of books may do what they did before, and those of other origins nothing."
            ),
            hints=(
                "The filter stands in the HTTPRoute api: `%kubectl get httproute api -o yaml`",
                "`allowOrigins` and `allowMethods` are lists. An origin is scheme, host and port, as browsers send it.",
            ),
            solution=(f"{_APPLY}cors-shop.yaml",),
            checks=(
                Check(claim="a script of the shop may send PUT with x-page", observe=shop_may_put, within=3),
                Check(
                    claim="a script of books may ask the api, one of another origin may not",
                    observe=books_may_ask_the_api,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task="What stock tells under /debug is for partners alone: on port 8443, and not on port 443 any more.",
            hints=(
                "The HTTPRoute stock names the listener that it belongs to, as all routes here do.",
                "`sectionName` is that name. A route without one belongs to each listener that has its host name.",
            ),
            solution=(f"{_APPLY}stock-partners.yaml",),
            checks=(
                Check(
                    claim="on port 8443 a partner gets stock's answer, and nobody else",
                    observe=stock_answers_partners,
                    within=3,
                ),
                Check(claim="on port 443 there is no such path", observe=stock_answers_nobody_else, within=3),
            ),
        ),
        Exercise(
            task=(
                "Somebody made a policy shorter. Since then nobody reaches stock.example.com, while the gateway's own "
                "requests to stock are answered as before. Find out why, and mend it."
            ),
            hints=(
                "Who speaks TLS to port 8443 of stock? In `istioctl proxy-config clusters deploy/edge-istio "
                "--fqdn stock.default.svc.cluster.local --port 8443 -o json`, look for stock's own name.",
                "There the gateway should only pass bytes on, and has TLS of its own. Who told it so?",
                "A BackendTLSPolicy holds for all ports of a Service, unless `sectionName` names one of them.",
            ),
            fault=(f"{_APPLY}fault.yaml",),
            solution=(f"{_APPLY}backend-tls.yaml",),
            checks=(
                Check(claim="stock answers by its own name", observe=stock_ends_its_own_tls, within=3),
                Check(claim="the gateway speaks TLS to stock", observe=gateway_speaks_tls_to_stock, within=3),
            ),
        ),
    ),
)
