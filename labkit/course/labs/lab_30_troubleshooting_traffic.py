"""What the checks of lab 30 look at, and the lab."""

from __future__ import annotations

import re
from functools import partial

from labkit import backend, session
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import page_has_its_reviews, pages_have_their_stars
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import access_log, bookinfo, istio, objects, proxy
from labkit.settings import NAMESPACE

CALLER = "deploy/productpage-v1"
PROVOKED = {"NR", "NC", "UH", "UF", "UO", "UT", "URX", "FI", "DI", "DC"}
SHOP = "shop.example.com"


def each_flag_was_seen() -> Seen:
    lines = access_log.recent("deploy/curl")
    flags = {flag for flags in lines.response_flags for flag in flags.split(",")}
    missing = sorted(PROVOKED - flags)
    return Seen(not missing, f"not in the log of curl's proxy: {', '.join(missing) or 'none'}")


def no_route_leads_nowhere() -> Seen:
    echo = objects.find("deployments", "echo", NAMESPACE, group="apps")
    findings = istio.analyze(NAMESPACE)
    told = "; ".join(findings.code + " " + findings.origin) or "istioctl analyze finds nothing"
    return Seen(bool(echo) and findings.empty, f"{told}; echo is {'there' if echo else 'not there'}")


def everybody_sees_v3() -> Seen:
    return _only("v3")


def everybody_sees_v2() -> Seen:
    return _only("v2")


def _only(version: str) -> Seen:
    seen = bool((bookinfo.page(12).version == version).all())
    return Seen(seen, f"{'all' if seen else 'not all'} of 12 pages have reviews of {version}")


def shop_is_open() -> Seen:
    answer = backend.http("GET", f"{session.gateway()}/ratings/0", headers={"Host": SHOP})
    return Seen(answer.status == 200, f"GET /ratings/0 at {SHOP}: {answer.status}")


def shop_is_closed_to_other_hosts() -> Seen:
    answer = backend.http("GET", f"{session.gateway()}/ratings/0")
    return Seen(answer.status == 404, f"GET /ratings/0 at the gateway's address: {answer.status}")


def productpage_knows_reviews() -> Seen:
    clusters = proxy.clusters(CALLER).service_fqdn
    known = sorted({name.partition(".")[0] for name in clusters if name.endswith(f".{NAMESPACE}.svc.cluster.local")})
    return Seen("reviews" in known, f"productpage's Envoy has clusters of {', '.join(known)}")


def status_of_no_route(said: str) -> str:
    return "404" if re.search(r"\b404\b", said) else "503" if re.search(r"\b503\b", said) else "200, from echo"


def refused_of_six(said: str) -> str:
    return nearest(said.count(" 503 "), {"none": 0, "three or four": 3.5, "all six": 6})


def status_of_who_left(said: str) -> str:
    return next((status for status in ("499", "200") if f" {status} " in said), "0")


PREDICTIONS = (
    Prediction(
        question="A VirtualService has routes for some paths of echo, and none for /NR. What does a caller of /NR get?",
        choices=("404", "503", "200, from echo"),
        measured=status_of_no_route,
        why="Once a VirtualService is there, its routes are all there is: Envoy answers itself where none matches.",
    ),
    Prediction(
        question="The client hangs up before the answer comes. Which status does its proxy's access log have?",
        choices=("0", "200", "499"),
        measured=status_of_who_left,
        why="Envoy logs the status that it sent, and it sent none; the flag DC says who left.",
    ),
    Prediction(
        question="One connection, and one request that may wait for it. Six requests come at once. How many get 503?",
        choices=("none", "three or four", "all six"),
        measured=refused_of_six,
        why="Hardly any may wait for a connection that is busy. The rest is refused at once, so that nothing piles up.",
    ),
)

_SUBSETS = "kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml"
_ALL_TO_V3 = "kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml"

LAB = Lab(
    number="30",
    title="Troubleshooting traffic",
    path="a day",
    exam=("troubleshooting: configuration", "troubleshooting: data plane"),
    pages=(
        "ops/common-problems/network-issues/",
        "ops/diagnostic-tools/proxy-cmd/",
        "tasks/observability/logs/access-log/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="each of ten response flags stands in the access log of curl's proxy",
            observe=each_flag_was_seen,
            hint="The claim names the flags that are missing; each path of echo is named after the one it provokes.",
            remedy=(
                "%%shell",
                'kubectl apply -f samples/curl/curl.yaml -f "$LABKIT_MANIFESTS/30-echo.yaml"',
                'kubectl apply -f "$LABKIT_MANIFESTS/30-flags.yaml"',
                "kubectl wait --for=condition=available deployment/curl deployment/echo --timeout=120s; sleep 3",
                "call='kubectl exec deploy/curl -c curl -- curl --silent --output /dev/null'; at=http://echo:8080",
                "for path in NR NC UH UF 'UT?delay=500ms' 'URX?status=503' FI DI; do $call \"$at/$path\"; done",
                '$call --max-time 0.3 "$at/DC?delay=2s" || true',
                'for n in 1 2 3 4 5 6; do $call "$at/UO?delay=2s" & done; wait',
            ),
            within=5,
        ),
        Check(
            claim="echo runs, and istioctl analyze finds no route that leads nowhere",
            observe=no_route_leads_nowhere,
            hint="`%istioctl analyze` names the object, and what it refers to in vain.",
            remedy=(
                "%kubectl delete -f $LABKIT_MANIFESTS/30-flags.yaml --ignore-not-found",
                "%kubectl apply -f $LABKIT_MANIFESTS/30-echo.yaml",
            ),
        ),
    ),
    exercises=(
        Exercise(
            task=(
                "A VirtualService sends every request for reviews to version 3. Readers see all three versions. "
                "Find out why, and mend it."
            ),
            hints=(
                (
                    "Does productpage's Envoy hold a route for reviews at all? "
                    "`%istioctl proxy-config listeners deploy/productpage-v1 --port 9080`"
                ),
                (
                    "A listener that leads to a cluster, and not to a route, carries TCP: nobody reads its requests. "
                    "What makes a port one of TCP or of HTTP? `%kubectl get service reviews -o yaml`"
                ),
                "Istio reads the protocol off the port's name. Bookinfo's own manifest calls it `http`.",
            ),
            fault=(
                _SUBSETS,
                _ALL_TO_V3,
                """kubectl patch service reviews --patch '{"spec": {"ports": [{"port": 9080, "name": "tcp"}]}}'""",
            ),
            solution=("kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml -l service=reviews",),
            checks=(Check(claim="twelve pages have reviews of version 3 alone", observe=everybody_sees_v3, within=5),),
        ),
        Exercise(
            task="The reviews have lost their stars. Find out why, and mend it.",
            hints=(
                (
                    "reviews calls ratings. What does its proxy's log say of that? "
                    "`%kubectl logs deploy/reviews-v3 -c istio-proxy --tail=3`"
                ),
                "`NC` says that the route names a cluster that this Envoy does not have. The log line says which.",
                "`%kubectl get virtualservice ratings -o yaml` names a subset. `%istioctl analyze` says what is wrong.",
            ),
            fault=(_SUBSETS, _ALL_TO_V3, "kubectl apply -f $LABKIT_MANIFESTS/30-fault-subset.yaml"),
            solution=("kubectl delete virtualservice ratings --ignore-not-found",),
            checks=(
                Check(claim="twelve pages have their stars", observe=partial(pages_have_their_stars, 12), within=5),
            ),
        ),
        Exercise(
            task=(
                f"The shop of ratings opens today at {SHOP}, with a Gateway and a VirtualService of its own. "
                "Everybody gets 404. Find out why, and mend it."
            ),
            hints=(
                "404 with the flag NR: the gateway has no route for this host. Has it heard of the new Gateway at all?",
                "A Gateway chooses proxies by their labels. `%istioctl analyze` says whether there are any.",
                "`%kubectl get pods -n istio-system --show-labels` has the label of the one that is there.",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/30-fault-selector.yaml",),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/30-shop.yaml",),
            checks=(
                Check(claim=f"{SHOP} answers", observe=shop_is_open, within=5),
                Check(claim="the shop is open at that host alone", observe=shop_is_closed_to_other_hosts, within=5),
            ),
        ),
        Exercise(
            task=(
                "Version 2 of reviews should get everything from now on: VirtualService reviews-v2 says so. "
                "Readers still see version 3. Find out why, and mend it."
            ),
            hints=(
                "What does productpage's Envoy hold? `%istioctl proxy-config routes deploy/productpage-v1 --name 9080`",
                "The column VIRTUAL SERVICE names who made the route. `%istioctl analyze` says who else wanted to.",
                "For one host, the caller's proxies follow the oldest VirtualService. Keep one.",
            ),
            fault=(_SUBSETS, _ALL_TO_V3, "kubectl apply -f $LABKIT_MANIFESTS/30-fault-second.yaml"),
            solution=("kubectl delete virtualservice reviews --ignore-not-found",),
            checks=(Check(claim="twelve pages have reviews of version 2 alone", observe=everybody_sees_v2, within=5),),
        ),
        Exercise(
            task="Somebody made productpage's proxy smaller; now the page has no reviews. Find out why, and mend it.",
            hints=(
                "What does productpage's own proxy say? `%kubectl logs deploy/productpage-v1 -c istio-proxy --tail=3`",
                (
                    "`block_all` and the BlackHoleCluster are where requests end that this Envoy knows no host for. "
                    "Which does it know? `%istioctl proxy-config clusters deploy/productpage-v1`"
                ),
                "A Sidecar lists what a proxy hears of: `%kubectl get sidecar productpage -o yaml`. Who is missing?",
            ),
            fault=("kubectl apply -f $LABKIT_MANIFESTS/30-fault-sidecar.yaml",),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/30-sidecar.yaml",),
            checks=(
                Check(claim="the page has its reviews", observe=page_has_its_reviews, within=5),
                Check(claim="productpage's Envoy knows reviews", observe=productpage_knows_reviews, within=5),
            ),
        ),
    ),
)
