"""What the checks of lab 27 look at, and the lab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import access_log, objects, telemetry, traffic
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

HTTPBIN = "http://httpbin:8000"
SERVER, CLIENT = "deploy/httpbin", "deploy/curl"
STATUSES = (200, 404, 503)
MARK = "?check"
DRAINED = 46  # seconds, one more than Envoy lets a connection live whose listener has changed
QUIET = ("ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3")


def httpbin_logs_what_failed() -> Seen:
    lines = _logged_by_httpbin()
    logged = [str(status) for status in STATUSES if any(f"/status/{status}{MARK}" in line for line in lines)]
    return Seen(logged == ["503"], f"of the answers 200, 404 and 503 it logged {', '.join(logged) or 'none'}")


def httpbin_logs_json() -> Seen:
    lines = _logged_by_httpbin()
    if not lines:
        return Seen(False, "it logged nothing")
    return Seen(all(map(_is_json, lines)), f"its line begins {lines[-1][:30]}")


def _logged_by_httpbin() -> list[str]:
    def ask() -> None:
        for status in STATUSES:
            traffic.requests(f"{HTTPBIN}/status/{status}{MARK}")

    return access_log.since(ask, SERVER, mark=MARK)


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def curl_counts_by_kind() -> Seen:
    """Of the series that grew: those of rules that held before may still be there."""
    kinds = _kinds(CLIENT, "source")
    return Seen(kinds == {"status", "other"}, f"what grew has {_told(kinds)}")


def httpbin_counts_by_kind() -> Seen:
    kinds = _kinds(SERVER, "destination")
    return Seen(kinds == {"status", "other"}, f"what grew has {_told(kinds)}")


def httpbin_counts_no_callers() -> Seen:
    named = {labels.get("source_principal", "") for labels in _grown(SERVER, "destination")}
    told = ", ".join(sorted(named - {""})) or "none"
    return Seen(named == {""}, f"source_principal: {told}")


def _kinds(pod: str, reporter: str) -> set[str]:
    return {labels.get("request_kind", "") for labels in _grown(pod, reporter)}


def _told(kinds: set[str]) -> str:
    return "request_kind " + ", ".join(sorted(kinds - {""})) if kinds - {""} else "no request_kind"


def _grown(pod: str, reporter: str) -> list[dict[str, str]]:
    """The labels of the series with which a proxy counts what the check asks of httpbin."""

    def ask() -> None:
        for path in ("status/200", "anything/1", "anything/2", "anything/3"):
            traffic.requests(f"{HTTPBIN}/{path}")

    before = _counted(pod, reporter)
    ask()
    return [dict(labels) for labels, value in _counted(pod, reporter).items() if value > before.get(labels, 0)]


def _counted(pod: str, reporter: str) -> dict[tuple[tuple[str, str], ...], float]:
    counters = telemetry.labels(pod).fillna("").to_dict("records")
    return {
        tuple((str(name), str(value)) for name, value in labels.items() if name != "value" and value): labels["value"]
        for labels in counters
        if labels["reporter"] == reporter and "httpbin" in labels.get("destination_service", "")
    }


def details_logs_who_asks_for_it() -> Seen:
    """Whoever bears the header, and nobody else, be it answered or refused."""
    asked: dict[str, Callable[[], object]] = {
        "with x-debug": lambda: _of_details("27001", {"x-debug": "1"}),
        "without it": lambda: _of_details("27002"),
        "without it, and refused": lambda: _of_details("27003-no-number"),
    }

    def ask() -> None:
        for each in asked.values():
            each()

    lines = access_log.since(ask, "deploy/details-v1", mark="/details/2700")
    paths = ("27001", "27002", "27003")
    logged = [who for who, path in zip(asked, paths, strict=True) if any(f"/details/{path}" in line for line in lines)]
    return Seen(logged == ["with x-debug"], f"logged: {'; '.join(logged) or 'nothing'}")


def _of_details(page: str, headers: dict[str, str] | None = None) -> None:
    traffic.requests(f"http://details.{NAMESPACE}:9080/details/{page}", headers=headers)


def namespace_is_quiet() -> Seen:
    def ask() -> None:
        for _ in range(3):
            traffic.requests(f"http://reviews.{NAMESPACE}:9080/reviews/27")
        traffic.requests(f"http://ratings.{NAMESPACE}:9080/ratings/27")

    backend.sleep(DRAINED)  # an open connection keeps the rules under which it was opened
    lines = access_log.since(ask, *(f"deploy/{name}" for name in QUIET), mark="s/27 ")
    logged = [name for name in ("reviews", "ratings") if any(f"/{name}/27 " in line for line in lines)]
    return Seen(not lines, f"requests that were logged: to {' and '.join(logged) or 'nobody'}")


def rule_is_there() -> Seen:
    found = objects.find("telemetries", "logs", NAMESPACE, group="telemetry.istio.io")
    logging = found["spec"].get("accessLogging", []) if found else []
    off = any(each.get("disabled") for each in logging)
    return Seen(off, "it switches logs off" if off else "it does not" if found else "there is no such rule")


def what_was_logged(said: str) -> str:
    """said: a line for each request, as the access log has it: `"GET … HTTP/1.1" STATUS`."""
    return " and ".join(sorted(set(re.findall(r'HTTP/1\.1" (\d{3})', said)))) or "none"


def how_many_lines(said: str) -> str:
    """said: `NUMBER lines with a path, …`, the last of them after the requests."""
    return nearest(int(re.findall(r"(\d+) lines with a path", said)[-1]), {"200": 200, "400": 400, "4600": 4600})


def what_is_stored(kept: pd.DataFrame) -> str:
    return "200 or more" if kept.value.sum() >= 200 else "none"


PREDICTIONS = (
    Prediction(
        question="The mesh logs from 400 on, the namespace nothing, httpbin from 500 on. Which statuses does it log?",
        choices=("none", "503", "404 and 503"),
        measured=what_was_logged,
        why="The rule that is nearest to the pod counts. It replaces the others' filters, and limits none of them.",
    ),
    Prediction(
        question="200 requests, each for another path, and the path is a label of both metrics. How many lines more?",
        choices=("200", "400", "4600"),
        measured=how_many_lines,
        why="A counter is one line for each path, a histogram 22: twenty buckets, a sum and a count.",
    ),
    Prediction(
        question="No proxy has a series with a path any more. How many of them does Prometheus keep?",
        choices=("none", "200 or more"),
        measured=what_is_stored,
        why="Prometheus keeps what it was told for as long as it is set to, and each series costs memory for hours.",
    ),
)

_APPLY = "kubectl apply -f $LABKIT_MANIFESTS/27-"
_SHELL_APPLY = 'kubectl apply -f "$LABKIT_MANIFESTS/27-'

LAB = Lab(
    number="27",
    title="Metrics and logs, your way",
    path="everything",
    exam=("troubleshooting: data plane", "installation: customizing"),
    pages=(
        "tasks/observability/metrics/telemetry-api/",
        "tasks/observability/logs/telemetry-api/",
        "reference/config/telemetry/",
    ),
    start=(*components.UP, components.PROMETHEUS),
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="httpbin's proxy logs what is answered with 500 or more, and nothing else",
            observe=httpbin_logs_what_failed,
            hint="`%kubectl get telemetry -A`: the rule that is nearest to the pod counts.",
            remedy=(
                "%%shell",
                "kubectl apply -f samples/curl/curl.yaml -f samples/httpbin/httpbin.yaml",
                "kubectl wait --for=condition=available deployment/curl deployment/httpbin --timeout=120s",
                f'{_SHELL_APPLY}fresh.yaml" -f "$LABKIT_MANIFESTS/27-httpbin.yaml"',
            ),
            within=3,
        ),
        Check(
            claim="each of these lines is JSON",
            observe=httpbin_logs_json,
            hint="A provider says how a line is written; istiod knows it from the ConfigMap `istio`.",
            remedy=(
                "%%shell",
                "kubectl get configmap istio -n istio-system -o yaml | sed "
                "-e '/^    - name: json$/,/^            caller:/d' "
                '-e "/^    extensionProviders:/r $LABKIT_MANIFESTS/27-provider.yaml" | kubectl replace -f -',
                f'{_SHELL_APPLY}httpbin-json.yaml"',
            ),
            within=3,
        ),
        Check(
            claim="curl's proxy counts two kinds of requests to httpbin, however many paths there are",
            observe=curl_counts_by_kind,
            hint="`tagOverrides` of `REQUEST_COUNT` has a CEL expression for each label: which values can it have?",
            remedy=(f'%{_SHELL_APPLY}kind.yaml"',),
            within=3,
        ),
    ),
    exercises=(
        Exercise(
            task="Let details' proxy log the requests that bear `x-debug: 1`, whatever becomes of them, and no others.",
            hints=(
                "A rule for some pods has a `selector`, and stands in their namespace. These bear `app: details`.",
                "In CEL, a request's headers are `request.headers['name']`, with the name in lower case.",
                "A filter belongs to the providers that stand beside it. Are there any in your rule?",
            ),
            solution=(f"{_APPLY}details.yaml",),
            checks=(
                Check(
                    claim="of three requests to details, the one with the header is logged",
                    observe=details_logs_who_asks_for_it,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=(
                "Let httpbin's proxy count what it takes by `request_kind`: `status` for paths that begin with "
                "/status/, else `other`. The label `source_principal` goes, and httpbin's log stays."
            ),
            hints=(
                "The caller's rule has such an expression already. At which end of a call does httpbin count?",
                "`mode: SERVER` is the end that takes a request. `operation: REMOVE` takes a label away.",
                "httpbin has a rule: write metrics beside its logs, so that one rule says all about these pods.",
            ),
            solution=(f"{_APPLY}httpbin-kind.yaml",),
            checks=(
                Check(claim="httpbin counts by two kinds", observe=httpbin_counts_by_kind, within=3),
                Check(claim="httpbin does not count by caller", observe=httpbin_counts_no_callers, within=3),
                Check(claim="httpbin logs what failed", observe=httpbin_logs_what_failed, within=3),
            ),
        ),
        Exercise(
            task=(
                "The rule `logs` keeps the namespace quiet, and yet reviews and ratings log each request. Find out "
                "why, and mend it."
            ),
            hints=(
                "Where a rule is right and nothing comes of it, another one is in its place: `%kubectl get telemetry`",
                "`%istioctl analyze` knows what there may be only one of in a namespace.",
                "Of two rules without a `selector`, the older one counts.",
            ),
            fault=(
                f"{_APPLY}mesh.yaml",
                "kubectl delete telemetry logs --ignore-not-found",
                f"{_APPLY}fault.yaml",
                f"{_APPLY}namespace.yaml",
            ),
            solution=("kubectl delete telemetry all-requests --ignore-not-found",),
            checks=(
                Check(claim="no request to reviews or ratings leaves a line", observe=namespace_is_quiet, within=3),
                Check(claim="the rule `logs` of the namespace switches logs off", observe=rule_is_there),
            ),
        ),
    ),
)
