"""What the checks of lab 28 look at, and the lab."""

from __future__ import annotations

import re

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction
from labkit.mesh import access, proxy
from labkit.mesh.proxy.describe import whole_service
from labkit.settings import NAMESPACE

HTTPBIN = "http://httpbin:8000"
ALLOW = {"x-ext-authz": "allow"}
NO_ANSWER = "000"  # what curl tells in place of a status
MARK = "x-shelf"


def authorizer_decides() -> Seen:
    with_it, without = _status("curl", "/headers", ALLOW), _status("curl", "/headers")
    return Seen((with_it, without) == ("200", "403"), f"x-ext-authz: allow: {with_it}; no such header: {without}")


def details_alone_is_marked() -> Seen:
    details, ratings = (
        _ask("curl", f"http://{name}:9080/{name}/0", "%{http_code}:%header{" + MARK + "}").partition(":")
        for name in ("details", "ratings")
    )
    told = "; ".join(
        f"{name}: {answer[0]}, {MARK} {answer[2] or 'none'}"
        for name, answer in (("details", details), ("ratings", ratings))
    )
    return Seen((details[0], ratings[0]) == ("200", "200") and bool(details[2]) and not ratings[2], told)


def key_is_asked_for() -> Seen:
    with_it, without = _status("curl", "/ip", {"x-key": "sesame"}), _status("curl", "/ip")
    return Seen((with_it, without) == ("200", "403"), f"x-key: sesame: {with_it}; no key: {without}")


def reviews_warm_up() -> Seen:
    whole = whole_service("reviews", NAMESPACE)
    clusters = proxy.snapshot("deploy/productpage-v1").sections["clusters"]
    windows = {window for name, cluster in clusters.items() if whole in name for window in _windows(cluster)}
    return Seen(bool(windows), f"to productpage's Envoy, pods of reviews are new for {', '.join(windows) or 'no time'}")


def _windows(cluster: dict) -> list[str]:
    """For how long an Envoy's cluster lets new endpoints warm up, with whichever kind of load balancing."""
    configs = (config for name, config in cluster.items() if name.endswith("_lb_config"))
    return [config["slow_start_config"]["slow_start_window"] for config in configs if "slow_start_config" in config]


def curl_is_let_in() -> Seen:
    status = _status("curl", "/headers")
    return Seen(status == "200", f"curl, no header: {status}")


def ratings_needs_the_header() -> Seen:
    with_it, without = _status("ratings", "/headers", ALLOW), _status("ratings", "/headers")
    told = f"ratings, x-ext-authz: allow: {with_it}; no header: {without}"
    return Seen((with_it, without) == ("200", "403"), told)


def ratings_gets_in_by_its_key() -> Seen:
    status = _status("ratings", "/headers", {"x-key": "sesame"})
    return Seen(status == "200", f"ratings, x-key: sesame: {status}")


def ratings_gets_in_by_nothing_else() -> Seen:
    other, none = _status("ratings", "/headers", {"x-key": "open"}), _status("ratings", "/headers")
    return Seen((other, none) == ("403", "403"), f"ratings, x-key: open: {other}; no key: {none}")


def nobody_without_the_key() -> Seen:
    other, none = _status("curl", "/ip", {"x-key": "open"}), _status("curl", "/ip")
    return Seen((other, none) == ("403", "403"), f"x-key: open: {other}; no key: {none}")


def key_in_any_case() -> Seen:
    small, large = (_status("curl", "/ip", {"x-key": key}) for key in ("sesame", "SESAME"))
    return Seen((small, large) == ("200", "200"), f"x-key: sesame: {small}; SESAME: {large}")


def _status(caller: str, path: str, headers: dict[str, str] | None = None) -> str:
    """The status of httpbin's answer, or of who answered in its place; NO_ANSWER where nobody did."""
    return _ask(caller, HTTPBIN + path, "%{http_code}", headers) or NO_ANSWER


def _ask(caller: str, url: str, told: str, headers: dict[str, str] | None = None) -> str:
    who = access.CALLERS[caller]
    options = [word for name, value in (headers or {}).items() for word in ("--header", f"{name}: {value}")]
    argv = ["kubectl", "exec", "--namespace", who.namespace, f"deploy/{who.deployment}", "--container", who.container,
            "--", "curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", told,
            *options, url]  # fmt: skip
    return backend.run(argv, check=False).stdout


def last_status(said: str) -> str:
    return said.split()[-1]


def whether_it_sees_the_user(said: str) -> str:
    return "yes" if "end-user" in said.lower() else "no"


def what_the_server_said(said: str) -> str:
    found = re.search(r"\[(allowed|denied)\]", said)
    return found[1] if found else "it was not asked"


def who_refuses(said: str) -> str:
    if "7b" in said:
        return "the proxy refuses it, and goes on as before"
    return "requests fail" if "trafficextension" in said else "the API server refuses it"


def how_many_at_first(said: str) -> str:
    """said: a line for each stretch of time, `0 s: 3 of 100`."""
    [first, *_] = re.findall(r": *(\d+) of 100", said)
    return "none" if first == "0" else "1 to 10" if int(first) <= 10 else "about 25"


PREDICTIONS = (
    Prediction(
        question="A policy says to ask a provider that nobody has defined. What does a request get?",
        choices=("200", "403", "503"),
        measured=last_status,
        why="Nobody can be asked, so nobody is let in: istiod makes a rule of it that refuses.",
    ),
    Prediction(
        question="A request has the headers x-ext-authz and end-user. Does the server that is asked see end-user?",
        choices=("yes", "no"),
        measured=whether_it_sees_the_user,
        why="Over HTTP the proxy hands on the headers that the provider lists, and this one lists another.",
    ),
    Prediction(
        question="The server would allow a request, and a policy denies its path. What did the server say?",
        choices=("it was not asked", "allowed", "denied"),
        measured=what_the_server_said,
        why="A proxy asks before it looks at DENY, and at ALLOW last; a request has to pass all three.",
    ),
    Prediction(
        question="The server is gone. What does a request get that it would have allowed?",
        choices=("200", "403", "503"),
        measured=last_status,
        why="Without an answer nobody is let in, unless the provider has failOpen; statusOnError names another status.",
    ),
    Prediction(
        question="A script lacks a bracket. What happens when you apply it?",
        choices=(
            "the API server refuses it",
            "the proxy refuses it, and goes on as before",
            "requests fail",
        ),
        measured=who_refuses,
        why="Only Envoy compiles the script. It refuses the whole listener, and keeps the one that it has.",
    ),
    Prediction(
        question="Pods of reviews warm up for 30 s. A fourth is ready: how many of the first 100 requests get there?",
        choices=("none", "1 to 10", "about 25"),
        measured=how_many_at_first,
        why="It begins with a tenth of the others' weight, so that it gets about one in thirty requests.",
    ),
)

_APPLY = "kubectl apply -f $LABKIT_MANIFESTS/28-"
_SERVER = "sed 's/imagePullPolicy: Always/imagePullPolicy: IfNotPresent/' samples/extauthz/ext-authz.yaml"
_CLIENT = "kubectl apply -f samples/curl/curl.yaml -f samples/httpbin/httpbin.yaml"
_THERE = "kubectl rollout status deployment/"

LAB = Lab(
    number="28",
    title="Authorizers and extensions",
    path="everything",
    exam=("security: authorization", "traffic: destination rules"),
    pages=(
        "tasks/security/authorization/authz-custom/",
        "reference/config/networking/destination-rule/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="a server decides who gets httpbin's /headers",
            observe=authorizer_decides,
            hint="The policy names a provider: does the mesh's configuration have it, and does its server run?",
            remedy=(
                "%%shell",
                f"{_CLIENT} -f $LABKIT_MANIFESTS/14-fresh-connections.yaml",
                f"{_SERVER} | kubectl apply -f -",
                "mesh=$(kubectl get configmap istio -n istio-system -o jsonpath='{.data.mesh}' |",
                "sed -e '/^# lab 28/,/^# end of lab 28/d' "
                '-e "/^extensionProviders:/r $LABKIT_MANIFESTS/28-providers.yaml")',
                'kubectl create configmap istio -n istio-system --from-literal=mesh="$mesh" --dry-run=client -o yaml |',
                "kubectl apply --server-side --force-conflicts -f -",
                f"{_APPLY}ask.yaml",
                *(f"{_THERE}{name} --timeout=120s" for name in ("curl", "httpbin", "ext-authz")),
            ),
            within=10,
        ),
        Check(
            claim="the answers of details bear a mark, those of ratings none",
            observe=details_alone_is_marked,
            hint="`%kubectl get trafficextensions -o yaml`: what does the script do, and for which pods?",
            remedy=(f"%{_APPLY}mark.yaml",),
            within=5,
        ),
        Check(
            claim="httpbin's /ip is for those who have the key",
            observe=key_is_asked_for,
            hint="`envoy_on_request` can answer in httpbin's place, by `request:respond`.",
            remedy=(f"%{_APPLY}guard.yaml",),
            within=5,
        ),
        Check(
            claim="new pods of reviews warm up",
            observe=reviews_warm_up,
            hint="`%kubectl explain destinationrule.spec.trafficPolicy.loadBalancer.warmup`",
            remedy=(f"%{_APPLY}warmup.yaml",),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task="Requests of the service account curl need no header any more, those of all others do.",
            hints=(
                "The server decides: `%kubectl exec deploy/ext-authz -- extauthz -help` says what it can be told.",
                "It can know an account only where the proxy tells it. Which of the two ways to ask does?",
                "Two steps: the server's `args`, and the policy's provider.",
            ),
            solution=(
                "kubectl patch deployment ext-authz --type=json --patch "
                """'[{"op": "add", "path": "/spec/template/spec/containers/0/args", """
                """"value": ["-allow_service_account=curl"]}]'""",
                f"{_THERE}ext-authz --timeout=120s",
                f"{_APPLY}ask-grpc.yaml",
            ),
            checks=(
                Check(claim="curl is let in without a header", observe=curl_is_let_in, within=5),
                Check(
                    claim="ratings is let in with the header, not without", observe=ratings_needs_the_header, within=5
                ),
            ),
        ),
        Exercise(
            task=(
                "A program in the pod of ratings sends `x-key: sesame`, and the server that is asked knows nothing of "
                "keys. Change neither: let this key, and no other, open httpbin's /headers to ratings."
            ),
            hints=(
                "A script can set a header, too: `request:headers():replace(name, value)`.",
                "In httpbin's proxy the server is asked before any script runs, whatever its phase.",
                "A request passes two proxies. `match` has a `mode`: CLIENT is for requests that a pod sends.",
            ),
            solution=(f"{_APPLY}translate.yaml",),
            checks=(
                Check(claim="ratings gets in by its key", observe=ratings_gets_in_by_its_key, within=5),
                Check(claim="and by nothing else", observe=ratings_gets_in_by_nothing_else, within=5),
            ),
        ),
        Exercise(
            task=(
                "Somebody changed the script guard, so that a key may have capitals. Since then httpbin's /ip is open "
                "to whoever sends no key at all. Find out why, and mend it; capitals stay welcome."
            ),
            hints=(
                "A wrong key is still refused. What is different about a request that has none?",
                "Envoy says it: `%kubectl logs deploy/httpbin -c istio-proxy --tail 20`.",
                "A header that is not there is nil in Lua. `or` can put something in its place.",
            ),
            fault=(f"{_APPLY}fault.yaml",),
            solution=(f"{_APPLY}guard-any-case.yaml",),
            checks=(
                Check(claim="without the key nobody gets httpbin's /ip", observe=nobody_without_the_key, within=5),
                Check(claim="the key may have capitals", observe=key_in_any_case, within=5),
            ),
        ),
    ),
)
