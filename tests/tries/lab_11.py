"""Tries at the exercises of lab 11."""

from __future__ import annotations

from tries import Tries
from tries.steps import apply, remedies

_SLOW_FOR_JASON = remedies("11", 0)
_SUBSETS = _SLOW_FOR_JASON[:1]
_BOTH = """[{{"op": "add", "path": "/spec/http/0/{0}", "value": {1}}}, """ \
    """{{"op": "add", "path": "/spec/http/1/{0}", "value": {1}}}]"""  # fmt: skip


def _in_both_routes(field: str, value: str) -> str:
    return f"kubectl patch virtualservice reviews --type=json --patch '{_BOTH.format(field, value)}'"


TRIES = {
    "11.1": Tries(
        before=_SLOW_FOR_JASON,
        wrong=(_in_both_routes("retries", '{"attempts": 3, "perTryTimeout": "0.5s", "retryOn": "5xx"}'),),
        why="Each try has half a second, and the call has four tries.",
        fails={"jason's page comes within two seconds": "more than 2 s for jason", "half a second for reviews": "0 s"},
        right=(_in_both_routes("timeout", '"500ms"'),),
    ),
    "11.2": Tries(
        before=_SUBSETS,
        wrong=(_in_both_routes("retries/attempts", "10"),),
        why="Whoever has a millisecond for an answer does not get it in ten tries either.",
        fails={"anybody's page has its reviews": "reviews are currently unavailable"},
        right=(_in_both_routes("retries/perTryTimeout", '"400ms"'),),
    ),
    "11.3": Tries(
        before=_SLOW_FOR_JASON,
        wrong=(
            "kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-v3.yaml",
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings
                spec:
                  hosts: [ratings]
                  http:
                  - match:
                    - headers: {end-user: {exact: jason}}
                    - headers: {end-user: {exact: tester}}
                    fault:
                      delay: {fixedDelay: 2s, percentage: {value: 100}}
                      abort: {httpStatus: 500, percentage: {value: 100}}
                    route:
                    - destination: {host: ratings, subset: v1}
                  - route:
                    - destination: {host: ratings, subset: v1}
                """),
        ),
        why="One route has both faults and takes both users, so jason's stars are late and then do not come.",
        fails={"jason's stars come two seconds late": "Ratings service is currently unavailable"},
        right=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata:
                  name: ratings
                spec:
                  hosts: [ratings]
                  http:
                  - match:
                    - headers: {end-user: {regex: t.*r}}
                    fault:
                      abort: {httpStatus: 503, percentage: {value: 100}}
                    route:
                    - destination: {host: ratings}
                  - match:
                    - headers: {end-user: {prefix: jas}}
                    fault:
                      delay: {fixedDelay: 2s, percentage: {value: 100}}
                    route:
                    - destination: {host: ratings}
                  - route:
                    - destination: {host: ratings}
                """),
        ),
    ),
}
