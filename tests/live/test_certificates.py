"""Certificates of a live mesh: held, shown, verified, renewed. The client is a pod of this test's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pandas as pd
import pytest

from labkit import backend
from labkit.backend import requests
from labkit.backend.live import Live
from labkit.errors import LabError
from labkit.mesh import certificates, objects, traffic
from labkit.settings import NAMESPACE, settings

pytestmark = pytest.mark.live

DETAILS = "spiffe://cluster.local/ns/default/sa/bookinfo-details"


class Overheard(Live):
    """What commands printed is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[str] = []

    def perform(self, request):
        answer = super().perform(request)
        if isinstance(request, requests.Command):
            self.printed += [answer.stdout, answer.stderr]
        return answer


@pytest.fixture(scope="module")
def client(bookinfo_in_the_mesh) -> Iterator[str]:
    """A pod with a sidecar, beside Bookinfo."""
    traffic.deploy_client()
    yield traffic.CLIENT
    objects.delete(settings().release_folder / "samples" / "curl" / "curl.yaml", namespace=NAMESPACE)


def test_what_a_proxy_shows_is_what_it_holds_and_leads_to_the_root(client):
    with backend.use(Overheard()) as overheard:
        held = certificates.chain("deploy/details-v1")
        shown = certificates.from_the_wire("details:9080")

    pd.testing.assert_frame_equal(shown, held)
    assert held.spiffe_id[0] == DETAILS
    assert certificates.verify(shown, certificates.root()).certificate[0] == DETAILS
    for words in ("PRIVATE", "private_key", "Master-Key", "PSK"):
        assert words not in "".join(overheard.printed)


def test_each_workload_has_an_identity_and_each_pod_a_certificate(client):
    found = certificates.identities()
    assert {"curl", "details-v1", "productpage-v1", "ratings-v1", "reviews-v1"} <= set(found.workload)
    assert found.serial.is_unique
    assert found.spiffe_id.str.startswith("spiffe://cluster.local/ns/default/sa/").all()


def test_certificates_that_live_for_20_seconds_are_renewed_without_a_restart_then_live_for_24_hours_again(client):
    certificates.rotate(client, 20)
    seen = certificates.serials([client], seconds=25)
    assert seen.pod.nunique() == 1
    assert seen.serial.nunique() >= 2
    certificates.verify(certificates.chain(f"deploy/{client}"), certificates.root())

    certificates.rotate(client, None)
    [leaf] = certificates.identities(workloads=[client]).itertuples()
    assert leaf.not_after - leaf.not_before > timedelta(hours=23)
    assert leaf.pod not in set(seen.pod)


def test_a_pod_that_is_not_there():
    with pytest.raises(certificates.PodGone):
        certificates.chain("nobody-v1-0")


def test_a_server_outside_of_the_mesh_shows_no_certificate(client):
    with pytest.raises(LabError, match="showed no certificate"):
        certificates.from_the_wire("kube-dns.kube-system:9153")
