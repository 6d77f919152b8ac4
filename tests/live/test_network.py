"""Behind a company's proxy and its CA, the container that pulls the course's images has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from company import Authority, Proxy, proxy
from cryptography import x509
from farend import far_end

from labkit import backend
from labkit.cluster import images, releases, sources
from labkit.errors import LabError
from labkit.progress import Progress

pytestmark = pytest.mark.live

CONTAINER = "istio-lab-behind-a-proxy"
QUIET = Progress(lambda event: None, lambda: 0.0)


@pytest.fixture
def container() -> Iterator[str]:
    """As the course pulls into it."""
    images._start(sources.choose().node_image(QUIET), CONTAINER)
    try:
        yield CONTAINER
    finally:
        images._remove(CONTAINER)


@pytest.fixture
def between() -> Iterator[Proxy]:
    with proxy() as it:
        yield it


def test_images_are_pulled_through_the_proxy_and_the_companys_authority_is_trusted(
    container, between, tmp_path, monkeypatch
):
    authority = Authority.made(tmp_path)
    monkeypatch.setattr(releases, "PAUSES", ())
    with far_end(tmp_path, tls=authority.server(x509.DNSName("mirror.test"))) as end:
        mirror = end.address.removeprefix("https://").replace("127.0.0.1", "mirror.test")
        monkeypatch.setenv("LABKIT_REGISTRY", mirror)
        monkeypatch.setenv("HTTPS_PROXY", between.address)
        assert "certificate" in why(lambda: releases._pull_all(["curl/curl"], QUIET, container))
        assert end.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert "does not have it" in why(lambda: releases._pull_all(["curl/curl"], QUIET, container))
        assert any("/v2/curl/curl/manifests/latest" in path for path, _ in end.requests)
    assert ("CONNECT", mirror) in between.asked
    settled = backend.run(["docker", "inspect", "--format", "{{json .Config.Env}}", container]).stdout
    assert "PROXY" not in settled.upper()  # else the password would be in the image that is made of it


def why(attempt: Callable[[], object]) -> str:
    with pytest.raises(LabError) as raised:
        attempt()
    return raised.value.why
