"""Lookups from pods: what is read of curl's, the agents' and CoreDNS' words, and whom an answer is credited to."""

from __future__ import annotations

import json

import pandas  # noqa: F401  imported before hypothesis starts its clocks
import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import dns

addresses = st.ip_addresses(v=4).map(str)
hosts = st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9}){0,3}", fullmatch=True)


# -- what is read -----------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.just("") | addresses, st.floats(0, 2)), max_size=5))
def test_every_lookup_of_curl_is_read_back(lookups):
    output = "".join(f'{{"address": "{address}", "seconds": {seconds:.6f}}}\n' for address, seconds in lookups)
    assert dns.parse_lookups(output) == [(address, pytest.approx(seconds, abs=1e-6)) for address, seconds in lookups]


@given(st.dictionaries(hosts, st.tuples(st.lists(addresses, max_size=3), st.sampled_from(["Kubernetes", "External"]))))
def test_every_name_of_a_table_is_read_back(names):
    table = {name: {"ips": ips, "registry": registry} for name, (ips, registry) in names.items()}
    found = dns.parse_table(json.dumps({"table": table}))
    assert list(found.columns) == ["name", "addresses", "registry"]
    assert {row.name: (row.addresses, row.registry) for row in found.itertuples(index=False)} == {
        name: (", ".join(ips), registry) for name, (ips, registry) in names.items()
    }


def test_a_table_without_names_is_empty():
    assert dns.parse_table("{}").empty


@given(st.lists(st.tuples(hosts, st.integers(0, 10**7)), max_size=4, unique_by=lambda each: each[0]))
def test_a_counter_is_the_sum_over_its_labels_and_of_no_other(series):
    lines = [f'asked_total{{zone="{zone}"}} {value}' for zone, value in series]
    others = ["# TYPE asked_total counter", "not_asked_total 7", 'asked_total_seconds{zone="."} 9', "asked 3"]
    assert dns.total("asked_total", "\n".join([*others, *lines])) == sum(value for _, value in series)


def test_a_counter_is_read_as_prometheus_writes_it():
    assert dns.total("asked_total", 'asked_total 3\nasked_total{zone="a b"} 1.2e+06\n') == 1_200_003


@given(st.integers(0, 9), st.integers(0, 9))
def test_an_answer_is_credited_to_one_server(asked, forwarded):
    by = dns.source(asked, forwarded)
    assert (by == dns.KUBE_DNS) == (asked == 0)
    assert (by == dns.SIDECAR) == (asked > 0 == forwarded)


# -- a cluster --------------------------------------------------------------------------------------
def pod(name, namespace, **metadata):
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    containers = [{"name": "curl"}, {"name": "istio-proxy"}]
    about = {"name": name, "namespace": namespace, **metadata}
    return {"metadata": about, "spec": {"containers": containers}, "status": ready}


class Cluster(Fake):
    """A client whose lookups make its sidecar count `asked` and `forwarded`, and two CoreDNS, one on its way out."""

    def __init__(self, address="10.96.0.7", asked=0, forwarded=0, kube_dns=0):
        super().__init__()
        self.address, self.growth, self.counts, self.argv = address, (asked, forwarded, kube_dns), [5, 1, 100], []

    def kubernetes(self, method, path, body, query, content_type):
        asked, forwarded, kube_dns = self.counts
        answers = {
            "/api/v1/namespaces/mine/pods/client": json.dumps(pod("client", "mine")),
            "/api/v1/namespaces/kube-system/pods": json.dumps(
                {
                    "kind": "PodList",
                    "items": [
                        pod("coredns-a", "kube-system"),
                        pod("coredns-b", "kube-system", deletionTimestamp="2026-01-01T00:00:00Z"),
                    ],
                }
            ),
            "/api/v1/namespaces/mine/pods/client:15020/proxy/stats/prometheus": (
                f"istio_agent_dns_requests_total {asked}\nistio_agent_dns_upstream_requests_total {forwarded}\n"
            ),
            "/api/v1/namespaces/kube-system/pods/coredns-a:9153/proxy/metrics": (
                f'coredns_dns_requests_total{{type="A"}} {kube_dns}\n'
            ),
        }
        return answers[path]

    def run(self, argv, **_):
        self.argv = argv
        self.counts = [before + more for before, more in zip(self.counts, self.growth, strict=True)]
        line = f'{{"address": "{self.address}", "seconds": 0.004}}\n'
        return backend.Completed(tuple(argv), 0, line * int(argv[-2]), "", 0.1)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (Cluster(kube_dns=4), ("10.96.0.7", "kube-dns", 4.0, 0, 0, 4)),
        (Cluster(asked=4), ("10.96.0.7", "sidecar", 4.0, 4, 0, 0)),
        (Cluster(asked=4, forwarded=4, kube_dns=9), ("10.96.0.7", "kube-dns, through the sidecar", 4.0, 4, 4, 9)),
    ],
    ids=["off", "on", "forwarded"],
)
def test_a_lookup_tells_the_answer_and_who_was_asked(cluster, expected):
    with backend.use(cluster):
        [row] = dns.lookup("details.default", pods=["client.mine"], times=2).itertuples(index=False)
    assert cluster.argv[-2:] == ["2", "details.default"]
    assert tuple(row) == ("details.default", "client.mine", *expected)


def test_a_name_that_nobody_knows_has_no_address_and_no_time():
    with backend.use(Cluster(address="", kube_dns=8)):
        [row] = dns.lookup("books.internal", pods=["client.mine"]).itertuples()
    assert (row.address, row.source) == ("", dns.KUBE_DNS)
    assert row.milliseconds != row.milliseconds


class Agent(Cluster):
    """An agent whose table has grown each time it is read; None is none."""

    def __init__(self, *tables):
        super().__init__()
        self.tables = list(tables)

    def port_forward(self, namespace, pod, port):
        from contextlib import nullcontext

        return nullcontext(self._get)

    def _get(self, path):
        table = self.tables.pop(0)
        if table is None:
            raise backend.Unreachable("no answer", "404", "")
        return json.dumps({"table": table})

    def sleep(self, seconds):
        """No time passes here."""


def test_waiting_ends_with_the_address_that_the_sidecar_gives():
    known = {"books.internal": {"ips": ["240.240.0.1", "2001:2::1"], "registry": "External"}}
    with backend.use(Agent({}, known)):
        assert dns.wait_until_known("books.internal", "client.mine") == "240.240.0.1"


def test_a_sidecar_without_a_table_is_told():
    with backend.use(Agent(None)), pytest.raises(LabError) as caught:
        dns.table("client.mine")
    assert "ISTIO_META_DNS_CAPTURE" in caught.value.fix
