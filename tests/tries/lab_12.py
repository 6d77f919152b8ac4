"""Tries at the exercises of lab 12."""

from __future__ import annotations

from labkit.mesh import traffic
from tries import Tries
from tries.steps import CLIENT, apply, ours

_PING = (ours("12-ping"), "kubectl scale deployment/ping --replicas=3", traffic.deploy_fortio,
         "kubectl rollout status deployment/ping --timeout=120s")  # fmt: skip

TRIES = {
    "12.1": Tries(
        before=(*CLIENT, ours("12-hash-by-header")),
        wrong=(
            "kubectl patch destinationrule reviews --type=json --patch "
            """'[{"op": "replace", "path": "/spec/trafficPolicy/loadBalancer/consistentHash", """
            """"value": {"useSourceIp": true}}]'""",
        ),
        why="All of this caller's requests reach one pod, whoever the user is.",
        fails={"hashes the parameter": "hashes nothing"},
        right=(
            "kubectl patch destinationrule reviews --type=json --patch "
            """'[{"op": "replace", "path": "/spec/trafficPolicy/loadBalancer/consistentHash", """
            """"value": {"httpQueryParameterName": "user", "maglev": {"tableSize": 65537}}}]'""",
        ),
    ),
    "12.2": Tries(
        before=_PING,
        wrong=("""kubectl patch service ping --patch '{"spec": {"ports": [{"port": 8079, "name": "tcp-grpc"}]}}'""",),
        why="Istio reads a port's name up to the first dash, so this one is plain TCP still.",
        fails={"come to three pods": "pods of ping that got one: 1"},
        right=(
            """kubectl patch service ping --patch '{"spec": {"ports": [{"port": 8079, "appProtocol": "grpc"}]}}'""",
        ),
    ),
    "12.3": Tries(
        before=(*_PING, ours("12-ping-round-robin")),
        wrong=(
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: ping-http2
                spec:
                  host: ping
                  trafficPolicy:
                    connectionPool:
                      http: {h2UpgradePolicy: UPGRADE}
                """),
        ),
        why="Of two rules for one host, the older one's policy counts.",
        fails={"speak HTTP/2": "HTTP/1.1"},
        right=(
            "kubectl delete destinationrule ping-http2",
            apply("""
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata:
                  name: ping
                spec:
                  host: ping.default.svc.cluster.local
                  trafficPolicy:
                    portLevelSettings:
                    - port: {number: 8080}
                      loadBalancer: {simple: ROUND_ROBIN}
                      connectionPool:
                        http: {h2UpgradePolicy: UPGRADE}
                """),
        ),
    ),
}
