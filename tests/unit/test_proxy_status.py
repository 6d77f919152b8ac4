"""`istioctl proxy-status` from what istiod told: what istioctl itself printed of the same mesh, and other forms."""

from __future__ import annotations

import json

import nbformat
import pytest

from labkit.api import views
from labkit.api.getting import Said
from labkit.api.proxy_status import proxy_status
from labkit.commands import read
from labkit.recordings import files, state
from labkit.settings import NOTEBOOKS

AT = 1_800_000_000.0
SENT = {"sent": "a", "acked": "a", "sentTime": "2027-01-15T07:59:00.123456789Z"}
CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
NAMES = "type.googleapis.com/istio.networking.nds.v1.NameTable"


def printed(told: list[dict], line: str) -> Said | None:
    whole = [{"cluster_id": "Kubernetes", "istio_version": "1.99.0", **each} for each in told]
    return proxy_status({(views.VIEW, "istio-system/istiod-a:15014 /debug/syncz"): json.dumps(whole)}, AT,
                        read(line.split()))  # fmt: skip


def test_it_is_what_istioctl_printed_of_the_same_mesh():
    recording = files.of("07-architecture")
    seen = state.Moments(state.of(recording), files.head(recording)).at(30)
    notebook = nbformat.read(NOTEBOOKS / "07-architecture.ipynb", as_version=4)
    [outputs] = [cell.outputs for cell in notebook.cells if cell.source == "%istioctl proxy-status"]
    assert proxy_status(*seen, read(["istioctl", "proxy-status"])).stdout == outputs[0].text


@pytest.mark.parametrize(
    ("resources", "row"),
    [
        ({CLUSTERS: SENT, NAMES: SENT}, "a.default Kubernetes istiod-a 1.99.0 2 (CDS,NDS)"),
        ({"some.Type": SENT, CLUSTERS: {}}, "a.default Kubernetes istiod-a 1.99.0 2 (CDS,some.Type)"),
        ({}, "a.default Kubernetes istiod-a 1.99.0 0"),
    ],
)
def test_each_type_goes_by_its_short_name_if_it_has_one(resources, row):
    lines = printed([{"proxy": "a.default", "resources": resources}], "istioctl ps").stdout.splitlines()
    assert lines[1].split() == row.split()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (SENT, "SYNCED (59s)"), ({**SENT, "acked": "b"}, "STALE (59s)"), ({**SENT, "lastError": "no"}, "ERROR (59s)"),
        ({"sentTime": "0001-01-01T00:00:00Z"}, "NOT SENT"),
    ],
)  # fmt: skip
def test_the_verbose_form_has_each_types_status(sent, status):
    lines = printed([{"proxy": "a.default", "resources": {CLUSTERS: sent}}], "istioctl ps -v 1").stdout.splitlines()
    assert lines[0].split() == ["NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION"]
    assert lines[1].split("     ")[2] == status


def test_proxies_stand_by_name_and_a_namespaces_alone_if_it_is_named():
    told = [{"proxy": "b.default"}, {"proxy": "a.default"}, {"proxy": "c.istio-system"}]
    assert [line.split()[0] for line in printed(told, "istioctl ps").stdout.splitlines()] == [
        "NAME", "a.default", "b.default", "c.istio-system",
    ]  # fmt: skip
    assert len(printed(told, "istioctl ps -n istio-system").stdout.splitlines()) == 2


@pytest.mark.parametrize("line", ["istioctl ps a.default", "istioctl ps -o json", "istioctl ps --xds-address a:15012"])
def test_other_forms_are_not_answered(line):
    assert printed([{"proxy": "a.default"}], line) is None


def test_where_no_istiod_told_anything_it_is_not_answered():
    assert proxy_status({}, AT, read(["istioctl", "ps"])) is None
