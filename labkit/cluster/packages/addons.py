"""Istio's Prometheus addon, taught to read upstream Envoy's request metrics as Istio's own.

charts/request-stats.yaml makes upstream Envoy count; the rules here run as Prometheus scrapes, so that PromQL finds
`istio_requests_total` and its labels as Istio documents them:
https://istio.io/latest/docs/reference/config/metrics/ and
https://prometheus.io/docs/prometheus/latest/configuration/configuration/#metric_relabel_configs
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import yaml

PROMETHEUS = "samples/addons/prometheus.yaml"
JOB = "    - job_name: kubernetes-pods\n"  # the one that scrapes proxies
METRIC = "istio_request(?:s_total|_duration_milliseconds_(?:bucket|sum|count))"
WORKLOAD = ("workload", "workload_namespace", "canonical_service", "canonical_revision")
NEVER_EMPTY = (
    *(f"{side}_{part}" for side in ("source", "destination") for part in (*WORKLOAD, "version", "principal")),
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
)


def job() -> str:
    """What stands in JOB's place in the addon's manifest: the same job, with the rules."""
    return JOB + textwrap.indent(yaml.safe_dump({"metric_relabel_configs": list(rules())}, sort_keys=False), " " * 6)


def rules() -> Iterator[dict[str, object]]:
    """What Prometheus does to each sample, in this order."""
    yield _rule("__name__", ["__name__"], f"envoy_({METRIC})", "$1")
    for side in ("source", "destination"):
        yield from _workload(side)
    yield from _service()
    yield from _protocol()
    yield from _security()
    for label in NEVER_EMPTY:
        yield _rule(label, ["__name__", label], f"{METRIC};", "unknown")


def _workload(side: str) -> Iterator[dict[str, object]]:
    """WORKLOAD;NAMESPACE;SERVICE;VERSION, and what may follow; then the label is gone."""
    fields = "([^;]*);([^;]*);([^;]*);([^;]*)(?:;.*)?"
    for number, label in [*enumerate(WORKLOAD, start=1), (4, "version")]:
        yield _rule(f"{side}_{label}", ["__name__", side], f"{METRIC};{fields}", f"${number}")
    yield _rule(side, ["__name__"], METRIC, "")


def _service() -> Iterator[dict[str, object]]:
    """A host in the cluster has a name and a namespace; any other is its own name."""
    host = ["__name__", "destination_service"]
    yield _rule("destination_service_name", host, f"{METRIC};(.+)", "$1")
    yield _rule("destination_service_name", host, rf"{METRIC};(.+?)\.[^.]+\.svc\..*", "$1")
    yield _rule("destination_service_namespace", host, rf"{METRIC};.+?\.([^.]+)\.svc\..*", "$1")


def _protocol() -> Iterator[dict[str, object]]:
    protocol = ["__name__", "request_protocol"]
    yield _rule("request_protocol", protocol, f"{METRIC};HTTP.*", "http")
    yield _rule("request_protocol", [*protocol, "grpc_response_status"], rf"{METRIC};http;\d+", "grpc")


def _security() -> Iterator[dict[str, object]]:
    """A destination knows whether its caller showed a certificate, a source does not say."""
    seen = ["__name__", "reporter", "source_principal"]
    yield _rule("connection_security_policy", seen, "istio_requests_total;destination;.+", "mutual_tls")
    yield _rule("connection_security_policy", seen, "istio_requests_total;destination;", "none")


def _rule(target: str, sources: list[str], regex: str, replacement: str) -> dict[str, object]:
    return {"source_labels": sources, "regex": regex, "target_label": target, "replacement": replacement}
