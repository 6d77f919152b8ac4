"""DNS as a pod sees it: what a name resolves to, which server knew it, and how often each server was asked.

With DNS capture a pod's queries go to the agent in its sidecar, which answers from the table of names that istiod
sends it, and passes on to kube-dns what is not in there.
https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.mesh.proxy.pods import Pod, find
from labkit.mesh.traffic.client import CLIENT

if TYPE_CHECKING:
    import pandas as pd

KUBE_DNS, SIDECAR, THROUGH_SIDECAR = "kube-dns", "sidecar", "kube-dns, through the sidecar"
AGENT_PORT = 15020  # https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio
COREDNS_PORT = 9153  # https://coredns.io/plugins/metrics/
_ASKED, _FORWARDED = "istio_agent_dns_requests_total", "istio_agent_dns_upstream_requests_total"
_COREDNS_ASKED = "coredns_dns_requests_total"
# curl looks a name up, connects, and tells of both; see https://everything.curl.dev/usingcurl/verbose/writeout
# Port 15001 is the one that a sidecar turns away itself, whatever the address: nothing of it leaves the pod.
_OUTCOME = '{"address": "%{remote_ip}", "seconds": %{time_namelookup}}\\n'
_SCRIPT = (
    'n=0; while [ $n -lt "$1" ]; do n=$((n+1)); '
    f"curl --silent --max-time 2 --output /dev/null --write-out '{_OUTCOME}' \"http://$2:15001\"; done; true"
)


def lookup(*names: str, pods: Sequence[str], times: int = 1) -> pd.DataFrame:
    """Have pods (named as in mesh.proxy) look names up, `times` times each; one row for each name in each pod.

    Columns: name, pod, address (the last; "" where nobody knew one), source (the server that knew, or said that nobody
    does: "sidecar", "kube-dns", or "kube-dns, through the sidecar"), milliseconds (the median; NaN without an address),
    sidecar (queries that came to the pod's sidecar), forwarded (those that it passed on), kube_dns (queries that came
    to kube-dns meanwhile, from whichever pod). The pods run the curl sample and have a sidecar, which is asked by
    nobody else meanwhile. Raises LabError.
    """
    import pandas as pd

    rows = [_lookup(name, pod, times) for name in names for pod in pods]
    columns = ["name", "pod", "address", "source", "milliseconds", "sidecar", "forwarded", "kube_dns"]
    return pd.DataFrame(rows, columns=columns)


def table(pod: str) -> pd.DataFrame:
    """The names that istiod sent to a pod's sidecar to answer for: name, addresses, registry (text).

    `registry` is "Kubernetes" for a Service and "External" for a ServiceEntry. Raises LabError without DNS capture.
    """
    found = find(pod)
    try:
        with backend.port_forward(*_address(found), AGENT_PORT) as get:
            return parse_table(get("/debug/ndsz"))
    except backend.Unreachable as error:
        raise LabError(
            f"{pod} has no table of names.",
            f"its sidecar answers no DNS queries, or is just starting: {error.why}",
            'annotate its pods with `proxy.istio.io/config`, `proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}`',
        ) from None


def wait_until_known(name: str, pod: str, timeout: float = 15, report: Callable[[str], None] = lambda _: None) -> str:
    """Wait until a pod's sidecar answers for a name: its first address. Raises LabError."""
    seen = backend.wait(
        f"{name} in the table of {pod}",
        observe=lambda: table(pod).set_index("name").addresses.get(name, ""),
        done=bool,
        state=lambda addresses: addresses or "not there yet",
        timeout=timeout,
        report=report,
    )
    return seen.partition(", ")[0]


def parse_table(text: str) -> pd.DataFrame:
    """An agent's /debug/ndsz as a frame: name, addresses, registry."""
    import pandas as pd

    names = json.loads(text).get("table", {})
    rows = [(name, ", ".join(known.get("ips", [])), known.get("registry", "")) for name, known in names.items()]
    return pd.DataFrame(sorted(rows), columns=["name", "addresses", "registry"])


def parse_lookups(output: str) -> list[tuple[str, float]]:
    """What curl wrote after each lookup: address ("" without one), seconds."""
    return [(each["address"], each["seconds"]) for each in map(json.loads, output.splitlines())]


def total(metric: str, text: str) -> int:
    """A counter in Prometheus' text format, over all its labels; 0 where it is not there: nothing was counted yet."""
    values = re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)", text, re.MULTILINE)
    return round(sum(map(float, values)))


def source(asked: int, forwarded: int) -> str:
    """Which server knew, from the queries that came to the sidecar and those that it passed on."""
    if not asked:
        return KUBE_DNS
    return THROUGH_SIDECAR if forwarded else SIDECAR


def _lookup(name: str, pod: str, times: int) -> dict[str, object]:
    found = find(pod)
    before = _counters(found)
    seen = _curl(found, name, times)
    asked, forwarded, kube_dns = (now - then for now, then in zip(_counters(found), before, strict=True))
    seconds = [each for address, each in seen if address]
    return {
        "name": name,
        "pod": pod,
        "address": seen[-1][0],
        "source": source(asked, forwarded),
        "milliseconds": round(median(seconds) * 1000, 1) if seconds else float("nan"),
        "sidecar": asked,
        "forwarded": forwarded,
        "kube_dns": kube_dns,
    }


def _curl(pod: Pod, name: str, times: int) -> list[tuple[str, float]]:
    namespace, pod_name = _address(pod)
    argv = ["kubectl", "exec", "--namespace", namespace, pod_name, "--container", CLIENT, "--",
            "sh", "-c", _SCRIPT, "sh", str(times), name]  # fmt: skip
    return parse_lookups(backend.run(argv).stdout)


def _counters(pod: Pod) -> tuple[int, int, int]:
    """Queries that the sidecar was asked, that it forwarded, and that kube-dns was asked, since each started."""
    agent = _metrics(pod, AGENT_PORT, "stats/prometheus", {"filter": "^$"})  # nothing of Envoy's: the agent's own stay
    found = objects.list_("pods", "kube-system", selector="k8s-app=kube-dns")
    servers = [each for each in found if objects.is_serving(each)]
    coredns = sum(total(_COREDNS_ASKED, _metrics(each, COREDNS_PORT, "metrics", {})) for each in servers)
    return total(_ASKED, agent), total(_FORWARDED, agent), coredns


def _metrics(pod: Pod, port: int, path: str, query: dict[str, str]) -> str:
    namespace, name = _address(pod)
    return backend.kubernetes("GET", f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}", query=query)


def _address(pod: Pod) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]
