"""What the proxies counted, under Istio's names and labels whichever Envoy counted it.

https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from labkit import venue
from labkit.mesh import objects
from labkit.mesh.workloads import PROXY, running_containers
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

STATS_PORT = 15090
REQUESTS = "istio_requests_total"
UPSTREAM_REQUESTS = f"envoy_{REQUESTS}"  # how upstream Envoy's stats access logger names the same counter
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
_IN_CLUSTER = re.compile(r"\.[^.]+\.svc\..*")  # what follows a service's name in the host of one


def requests(namespace: str = NAMESPACE) -> pd.DataFrame:
    """Every proxy's request counters, now: Istio's labels (text), then value (a count since the proxy started).

    A proxy that vanished in mid-scrape has no rows. Raises venue.KubernetesError where the API server refuses.
    """
    import pandas as pd

    found = [pod for pod in objects.list_("pods", namespace) if PROXY in running_containers(pod)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        rows = [row for text in pool.map(_scrape, found) for row in parse(text)]
    return pd.DataFrame(rows, columns=[*LABELS, "value"])


def edges(counters: pd.DataFrame) -> pd.DataFrame:
    """Who calls whom, from the callers' own reports: source_workload, destination_service_name, requests."""
    reported = counters[(counters.reporter == "source") & (counters.destination_service_name != UNKNOWN)]
    keys = ["source_workload", "destination_service_name"]
    return reported.groupby(keys, as_index=False)["value"].sum().rename(columns={"value": "requests"})


def parse(text: str) -> list[dict[str, Any]]:
    """A proxy's metrics in Prometheus' text format, as rows of `requests()`."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = (REQUESTS, UPSTREAM_REQUESTS)
    lines = "\n".join(line for line in text.splitlines() if line.startswith(wanted))
    samples = [s for family in text_string_to_metric_families(lines + "\n") for s in family.samples]
    return [{**_labels(s.name, s.labels), "value": s.value} for s in samples]


def _labels(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    theirs = labels if name.startswith(REQUESTS) else _from_upstream(labels)
    return {label: theirs.get(label) or UNKNOWN for label in LABELS}


def _from_upstream(labels: Mapping[str, str]) -> dict[str, str]:
    """Istio's labels from what upstream Envoy knows: WORKLOAD;NAMESPACE;SERVICE;VERSION of itself and of its server.

    A server knows its caller by principal alone.
    """
    source_workload, *_ = labels.get("source", "").split(";")
    destination_workload, *_, destination_version = (labels.get("destination") or ";;;").split(";")[:4]
    return {
        **labels,
        "source_workload": source_workload,
        "destination_workload": destination_workload,
        "destination_version": destination_version,
        "destination_service_name": _IN_CLUSTER.sub("", labels.get("destination_service", "")),
        "request_protocol": "http" if labels.get("request_protocol", "").startswith("HTTP") else "",
        "connection_security_policy": _security(labels),
    }


def _security(labels: Mapping[str, str]) -> str:
    """As Istio has it: a destination knows whether its caller showed a certificate, a source does not say."""
    if labels["reporter"] == "source":
        return UNKNOWN
    return "mutual_tls" if labels.get("source_principal") else "none"


def _scrape(pod: Mapping[str, Any]) -> str:
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{STATS_PORT}/proxy/stats/prometheus"
    try:
        return venue.kubernetes("GET", path)
    except venue.KubernetesError as error:
        if error.status in (404, 500, 503):
            return ""
        raise
