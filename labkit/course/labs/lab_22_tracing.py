"""What the checks of lab 22 look at, and the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import tracing, traffic

if TYPE_CHECKING:
    import pandas as pd

SERVICES = {"productpage", "details", "reviews", "ratings"}
FRESH = 2000  # milliseconds
TWO_LOOKS = 13  # seconds: a look waits 6 for spans, and what proxies send while the store comes back is lost
PAGES = 40


def jaeger_answers() -> Seen:
    names = tracing.services()
    return Seen(True, f"it knows {len(names)} services")


def page_is_one_trace() -> Seen:
    """With six pages it is all but certain that one asks ratings."""
    spans = tracing.follow(times=6)
    missing = ", ".join(sorted(SERVICES - set(spans.service[spans.side == "server"])))
    return Seen(not missing, f"{len(spans)} spans" + (f", none of {missing}" if missing else ""))


def traces_are_fresh() -> Seen:
    fresh = tracing.freshness(10) <= FRESH
    return Seen(fresh.sum() >= 9, f"{fresh.sum()} of 10 traces were whole 2 s after their page")


def half_of_the_pages_are_kept() -> Seen:
    kept = tracing.kept(PAGES)
    seen = traffic.share(kept, PAGES, CERTAIN)
    return Seen(0.5 in seen, f"{kept} of {PAGES} pages have a trace: between {seen.low:.0%} and {seen.high:.0%}")


def gateway_names_the_tenant() -> Seen:
    of_red, of_nobody = (_tenant(headers) for headers in ({"x-tenant": "red"}, None))
    return Seen(
        (of_red, of_nobody) == ("red", "none"), f"red's page: {of_red or 'no tag'}; another: {of_nobody or 'no tag'}"
    )


def _tenant(headers: dict[str, str] | None) -> str:
    trace = tracing.follow(headers=headers).trace.iloc[0]
    return tracing.tags(trace, "istio-ingressgateway").get("tenant", "")


def productpage_tells_its_part() -> Seen:
    """What it took is told later, as open connections keep what held when they were opened."""
    spans = tracing.follow()
    told = spans[(spans.service == "productpage") & (spans.side == "client")]
    return Seen(len(told) > 0, f"{len(spans)} spans, {len(told)} of calls from productpage")


def how_many_spans(spans: pd.DataFrame) -> str:
    return nearest(len(spans), {"4": 4, "5": 5, "9": 9})


def how_soon(milliseconds: pd.Series) -> str:
    return nearest(milliseconds.max(), {"a tenth of a second": 100, "5 seconds": 5000, "a minute": 60000})


def how_many_traces(found: pd.DataFrame) -> str:
    return nearest(len(found), {"none": 0, "one": 1, "three": 3})


def how_many_of_each(found: pd.DataFrame) -> str:
    return nearest(found.spans.median(), {"a tenth of them": 0.7, "all of them": 7})


PREDICTIONS = (
    Prediction(
        question="Gateway, productpage, details, reviews, ratings: of how many spans is the trace of one page?",
        choices=("4", "5", "9"),
        measured=how_many_spans,
        why="Five proxies tell of the request that they took, and of the four calls those tell, too, who sent them.",
    ),
    Prediction(
        question="Three pages are answered. After how long is the slowest of their traces whole in the store?",
        choices=("a tenth of a second", "5 seconds", "a minute"),
        measured=how_soon,
        why="A proxy sends its spans when it has five of them, or when five seconds are over.",
    ),
    Prediction(
        question="A shelf hands on no traceparent. You ask it once, and it asks details and reviews: how many traces?",
        choices=("none", "one", "three"),
        measured=how_many_traces,
        why="Its proxy cannot know which call belongs to which request, so each call begins a trace.",
    ),
    Prediction(
        question="Of a hundred pages ten are kept. How many of the spans of such a page are there?",
        choices=("a tenth of them", "all of them"),
        measured=how_many_of_each,
        why="The first proxy draws the lot, and the request carries its answer on to all others.",
    ),
)

_TRACING = "kubectl apply -f $LABKIT_MANIFESTS/22-tracing.yaml"

LAB = Lab(
    number="22",
    title="Tracing",
    path="everything",
    exam=("troubleshooting: data plane",),
    pages=(
        "tasks/observability/distributed-tracing/opentelemetry/",
        "tasks/observability/distributed-tracing/sampling/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="Jaeger runs, and answers",
            observe=jaeger_answers,
            hint="`samples/addons` in Istio's release has it.",
            remedy=("mesh.tracing.deploy()",),
        ),
        Check(
            claim="a page is one trace, from the gateway to ratings",
            observe=page_is_one_trace,
            hint="`%kubectl get telemetry -A` shows who is told to send spans, and whither.",
            remedy=(f"%{_TRACING}",),
            within=TWO_LOOKS,
        ),
        Check(
            claim="nine of ten traces are whole within 2 s",
            observe=traces_are_fresh,
            hint="A proxy holds its spans back until it has five; the lab has a command against that.",
            remedy=("mesh.tracing.send_at_once()",),
        ),
    ),
    exercises=(
        Exercise(
            task="Keep the traces of about half of all pages.",
            hints=(
                "`randomSamplingPercentage` is in the rule that you applied.",
                "The first proxy decides: which is it, and for which namespace do you write the rule?",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/22-half.yaml",),
            checks=(
                Check(claim="of forty pages one half may have been kept", observe=half_of_the_pages_are_kept, within=5),
            ),
        ),
        Exercise(
            task="Let the gateway's spans say in a tag `tenant` what the header `x-tenant` says, else `none`.",
            hints=(
                "`%kubectl explain telemetry.spec.tracing.customTags` has three kinds of values; one has a default.",
                "A rule with a `selector` holds for the pods with these labels in its own namespace.",
                "The gateway's pods are in istio-system, and their label is `app: istio-ingressgateway`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/22-tenant.yaml",),
            checks=(
                Check(
                    claim="the tag of red's page is red, and of a page without the header it is none",
                    observe=gateway_names_the_tenant,
                    within=5,
                ),
            ),
        ),
        Exercise(
            task="Somebody tidied up, and since then no trace says whom productpage asked. Find out why, and mend it.",
            hints=(
                "Spans of reviews still come, and belong to the same trace. So only one is silent: who told it to be?",
                "`%kubectl get telemetry -A`: a rule for some pods goes before one for the mesh.",
            ),
            fault=(_TRACING, "kubectl apply -f $LABKIT_MANIFESTS/22-fault.yaml"),
            solution=("kubectl delete telemetry tidy --ignore-not-found",),
            checks=(
                Check(
                    claim="a page's trace says whom productpage asked",
                    observe=productpage_tells_its_part,
                    within=TWO_LOOKS,
                ),
            ),
        ),
    ),
)
