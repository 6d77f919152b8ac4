"""What the checks of lab 23 look at, and the lab."""

from __future__ import annotations

import re
from collections import Counter

from labkit import backend
from labkit.course import components
from labkit.course.checks import Check, Seen
from labkit.course.lab import Exercise, Lab
from labkit.course.observations import CERTAIN, tally
from labkit.course.predictions import Prediction, nearest
from labkit.mesh import traffic
from labkit.settings import NAMESPACE

NEAR, NEXT = "200 eu-west/a", "200 eu-west/b"
SOME, MANY = 40, 200  # requests
# Of sidecars and gateways, only these tell a server outside whom they speak for:
# https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/
VOUCHED = "X-Forwarded-Client-Cert"


def requests_stay_near() -> Seen:
    answers = _answers(SOME)
    return Seen(answers[NEAR] == SOME, f"{answers[NEAR]} of {SOME} requests were answered in the caller's zone")


def one_of_five_goes_next_door() -> Seen:
    answers = _answers(MANY)
    seen = traffic.share(answers[NEXT], MANY, CERTAIN)
    return Seen(
        0.2 in seen and answers[NEAR] + answers[NEXT] == MANY,
        f"of {MANY} requests {answers[NEAR]} went to zone a, {answers[NEXT]} to zone b, "
        f"{MANY - answers[NEAR] - answers[NEXT]} elsewhere",
    )


def partner_is_reached_by_the_gateway() -> Seen:
    asked = _asked_of_partner()
    return Seen(VOUCHED in asked, _how(asked))


def partner_is_asked_over_tls() -> Seen:
    asked = _asked_of_partner()
    return Seen(VOUCHED in asked and _is_over_tls(asked), _how(asked))


def _how(asked: str) -> str:
    if not asked:
        return "the partner gave no answer"
    way = "by a gateway" if VOUCHED in asked else "directly"
    return f"the partner was asked {way}, {'over TLS' if _is_over_tls(asked) else 'in plain text'}"


def _is_over_tls(asked: str) -> bool:
    return re.search(r"request from \S+ https ", asked) is not None


def _asked_of_partner() -> str:
    """What the partner tells of the request that it got; empty where it gave no answer."""
    return _curl("--silent", "--fail", "--max-time", "5", "partner.outside/debug").stdout


def _answers(times: int) -> Counter[str]:
    said = _curl("--silent", "--output", "/dev/null", "--write-out", r"%{http_code} %header{zone}\n",
                 f"shop:8080/[1-{times}]").stdout  # fmt: skip
    return Counter(line.strip() for line in said.splitlines())


def _curl(*options: str) -> backend.Completed:
    argv = ["kubectl", "exec", "--namespace", NAMESPACE, f"deploy/{traffic.CLIENT}", "--container", traffic.CLIENT,
            "--", "curl", *options]  # fmt: skip
    return backend.run(argv, check=False)


def how_many_stay(said: str) -> str:
    answers = tally(said)
    return nearest(answers[NEAR] / answers.total(), {"a half": 0.5, "three quarters": 0.75, "all": 1})


def how_many_go_next_door(said: str) -> str:
    answers = tally(said)
    return nearest(answers[NEXT] / answers.total(), {"none": 0, "three of ten": 0.3, "a half": 0.5})


def how_many_are_answered(said: str) -> str:
    answered = sum(count for what, count in tally(said).items() if what.startswith("200"))
    return nearest(answered, {"10": 10, "20": 20, "40": 40})


def what_becomes_of_it(said: str) -> str:
    return "it fails" if said.split()[-1].startswith("5") else "it goes directly"


PREDICTIONS = (
    Prediction(
        question="Two of four pods are in the caller's zone. The rule names no zone. How many requests stay near?",
        choices=("a half", "three quarters", "all"),
        measured=how_many_stay,
        why="Once unhealthy pods are recognized, Istio gives the caller's own zone the first priority.",
    ),
    Prediction(
        question="One of the two near pods has failed and is out. How many requests does the next zone get?",
        choices=("none", "three of ten", "a half"),
        measured=how_many_go_next_door,
        why="Half of the pods count as 1.4 times that, 70 %, and the rest goes to the next priority.",
    ),
    Prediction(
        question="Ten requests a minute are allowed. Two pods are near, and 40 requests come. How many are answered?",
        choices=("10", "20", "40"),
        measured=how_many_are_answered,
        why="Each pod's Envoy has a bucket of its own, and knows nothing of the other's.",
    ),
    Prediction(
        question="The egress gateway is gone, the rule that leads to it is not. What becomes of a request?",
        choices=("it goes directly", "it fails"),
        measured=what_becomes_of_it,
        why="The route names the gateway and nothing else; without pods there, a sidecar answers 503.",
    ),
)

_SHOP = "kubectl apply -f $LABKIT_MANIFESTS/23-shop.yaml"
_NEAR_FIRST = "kubectl apply -f $LABKIT_MANIFESTS/23-near-first.yaml"
_IN_ZONE_A = (
    """kubectl patch deployment curl --patch '{"spec": {"template": {"metadata": {"labels": """
    """{"istio-locality": "eu-west.a"}}}}}'"""
)

LAB = Lab(
    number="23",
    title="Locality, limits and the way out",
    path="everything",
    exam=("traffic: ingress and egress", "traffic: resilience", "traffic: external workloads"),
    pages=(
        "tasks/traffic-management/locality-load-balancing/",
        "tasks/policy-enforcement/rate-limit/",
        "tasks/traffic-management/egress/egress-gateway-tls-origination/",
    ),
    start=components.UP,
    predictions=PREDICTIONS,
    checks=(
        Check(
            claim="what is asked in zone a is answered in zone a",
            observe=requests_stay_near,
            hint="Which priority has each endpoint of the shop? `%istioctl proxy-config endpoints deploy/curl -o json`",
            remedy=(
                f"%{_SHOP} -f samples/curl/curl.yaml",
                f"%{_IN_ZONE_A}",
                "%kubectl rollout status deployment/curl --timeout=120s",
                "%kubectl wait --for=condition=available deployment/shop-a1 deployment/shop-a2 --timeout=120s",
                f"%{_NEAR_FIRST}",
            ),
            within=5,
        ),
        Check(
            claim="what is for the partner goes by the egress gateway",
            observe=partner_is_reached_by_the_gateway,
            hint="`%istioctl proxy-config routes deploy/curl --name 80` shows where a sidecar sends it.",
            remedy=(
                "%kubectl create namespace outside",
                "mesh.certificates.for_gateway('partner.outside', 'partner-certificate', namespace='outside')",
                "%kubectl apply -f $LABKIT_MANIFESTS/23-partner.yaml",
                "%kubectl wait --for=condition=ready pod/partner --namespace outside --timeout=120s",
                "%kubectl apply -f $LABKIT_MANIFESTS/23-known.yaml -f $LABKIT_MANIFESTS/23-way-out.yaml",
            ),
            within=5,
        ),
    ),
    exercises=(
        Exercise(
            task="Zone b is to be kept warm: send one of five requests from zone a there, and none beyond the ocean.",
            hints=(
                "`%kubectl explain destinationrule.spec.trafficPolicy.loadBalancer.localityLbSetting` has two ways.",
                "`distribute` says for callers `from` one locality which share goes `to` which; shares add up to 100.",
                "A locality is region, zone and sub-zone, as in `eu-west/a/*`.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/23-four-fifths.yaml",),
            checks=(
                Check(
                    claim="of 200 requests one in five may have gone to zone b, and all others to zone a",
                    observe=one_of_five_goes_next_door,
                    within=3,
                ),
            ),
        ),
        Exercise(
            task=(
                "Somebody wrote down where requests may fail over to. Since then customers in zone a wait for answers "
                "from beyond the ocean, though both shops next to them work. Find out why, and mend it."
            ),
            hints=(
                "Which priority has each endpoint in the caller's Envoy? `istioctl proxy-config endpoints … -o json`",
                "All have the same. What did the rule have before that this one has not?",
                "Istio orders pods by nearness only where it can tell that one has failed: `outlierDetection`.",
            ),
            fault=(_SHOP, "kubectl apply -f $LABKIT_MANIFESTS/23-fault.yaml"),
            solution=(_NEAR_FIRST,),
            checks=(
                Check(claim="what is asked in zone a is answered in zone a", observe=requests_stay_near, within=3),
            ),
        ),
        Exercise(
            task=(
                "The partner closes its port for plain text soon. Let the egress gateway speak TLS to it, and verify "
                "its certificate; applications go on asking `partner.outside` in plain text."
            ),
            hints=(
                "The gateway decides where it asks, and how: its route may name port 443.",
                "A DestinationRule for `partner.outside` says how that port is spoken to: `tls.mode: SIMPLE`.",
                "`credentialName` names the Secret, in the gateway's namespace, with the authority to trust.",
            ),
            solution=("kubectl apply -f $LABKIT_MANIFESTS/23-origination.yaml",),
            checks=(
                Check(
                    claim="the partner is asked by the egress gateway, over TLS",
                    observe=partner_is_asked_over_tls,
                    within=3,
                ),
            ),
        ),
    ),
)
