"""A proxy's metrics in Prometheus' text format, read under Istio's names whichever Envoy wrote them.

Istio's own Envoy counts as https://istio.io/latest/docs/reference/config/metrics/ has it. Upstream Envoy counts the
same requests with its stats access logger, whose names and labels are translated here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

REQUESTS = "istio_requests_total"
DURATIONS = "istio_request_duration_milliseconds"
LABELS = [
    "reporter",
    "source_workload",
    "source_principal",
    "destination_workload",
    "destination_version",
    "destination_service_name",
    "request_protocol",
    "response_code",
    "response_flags",
    "connection_security_policy",
]
UNKNOWN = "unknown"

_NUMBER = r"\d+(?:\.\d+)?(?:e\+?\d+)?"
_COUNTER = rf"(?:envoy_)?{REQUESTS}\{{.*\}}"
_BUCKET = rf"(?:envoy_)?{DURATIONS}_bucket\{{.*\}}"
_SAMPLE = re.compile(rf"^({_COUNTER}|{_BUCKET}) ({_NUMBER})\s*$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_BOUND = re.compile(rf'(?:,|(?<=\{{))le="({_NUMBER}|\+Inf)"\}}$')  # Envoy writes it last
_IN_CLUSTER = re.compile(r"\.[^.]+\.svc\..*")  # what follows a service's name in the host of one
_REMEMBERED = 2**15  # series, some 40 MiB at most


class Series(NamedTuple):
    """What one line of a proxy's metrics counts: REQUESTS or DURATIONS, for one set of values of LABELS.

    le: the upper bound of a histogram's bucket, in milliseconds; None for a counter.
    """

    metric: str
    labels: Mapping[str, str]
    le: float | None


def samples(text: str) -> dict[str, float]:
    """The request counters and duration buckets in a proxy's metrics: line without its value → value.

    Lines of other metrics, and lines that are none, are left out. `series` tells what a line counts.
    """
    # many scrapes are kept, and hold the same lines: one copy of each is enough
    found = ((sys.intern(match[1]), float(match[2])) for match in _SAMPLE.finditer(text))
    return {line: value for line, value in found if series(line)}


def as_written(text: str) -> list[tuple[dict[str, str], float]]:
    """The request counters in a proxy's metrics: their labels, nothing translated, and value."""
    counters = ((match[1].partition("{")[2], match[2]) for match in _SAMPLE.finditer(text) if REQUESTS in match[1])
    return [(dict(_LABEL.findall(labels)), float(value)) for labels, value in counters]


@lru_cache(_REMEMBERED)
def series(line: str) -> Series | None:
    """What a line counts; None where its labels cannot be read.

    From one scrape to the next only values change, so that each line is read once, and a histogram's labels once for
    all its buckets.
    """
    if REQUESTS in line.partition("{")[0]:
        labels = _labels(line)
        return Series(REQUESTS, labels, None) if labels else None
    bound = _BOUND.search(line)
    if bound and (labels := _labels(line[: bound.start()] + "}")):
        return Series(DURATIONS, labels, float(bound[1]))
    return None


@lru_cache(_REMEMBERED)
def _labels(line: str) -> Mapping[str, str] | None:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        [family] = text_string_to_metric_families(f"{line} 0\n")
    except ValueError:
        return None
    [sample] = family.samples
    theirs = sample.labels if sample.name.startswith("istio") else _from_upstream(sample.labels)
    return {label: theirs.get(label) or UNKNOWN for label in LABELS}


def _from_upstream(labels: Mapping[str, str]) -> dict[str, str]:
    """Istio's labels from what upstream Envoy knows: WORKLOAD;NAMESPACE;SERVICE;VERSION of itself and of its server.

    A server knows its caller by principal alone.
    """
    source_workload, *_ = labels.get("source", "").split(";")
    destination_workload, *_, destination_version = ((labels.get("destination") or "") + ";;;").split(";")[:4]
    return {
        **labels,
        "source_workload": source_workload,
        "destination_workload": destination_workload,
        "destination_version": destination_version,
        "destination_service_name": _IN_CLUSTER.sub("", labels.get("destination_service", "")),
        "request_protocol": _protocol(labels),
        "connection_security_policy": _security(labels),
    }


def _protocol(labels: Mapping[str, str]) -> str:
    if not labels.get("request_protocol", "").startswith("HTTP"):
        return ""
    return "http" if labels.get("grpc_response_status", "-") in ("", "-") else "grpc"


def _security(labels: Mapping[str, str]) -> str:
    """As Istio has it: a destination knows whether its caller showed a certificate, a source does not say."""
    if labels.get("reporter") != "destination" or "source_principal" not in labels:
        return UNKNOWN
    return "mutual_tls" if labels["source_principal"] else "none"
