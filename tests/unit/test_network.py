"""Behind a company's proxy and its CA; and what is on this machine is reached past both."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from company import LOGIN, Authority, Proxy, proxy
from cryptography import x509
from farend import FarEnd, far_end, free_port

from labkit import backend
from labkit.backend.live import network
from labkit.errors import LabError
from labkit.settings import settings

PASSWORD = LOGIN.partition(":")[2]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in network.AUTHORITIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def between() -> Iterator[Proxy]:
    with proxy() as it:
        yield it


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "file").write_text("what was published")
    return folder


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority.made(tmp_path)


@pytest.fixture
def mirror(files, authority) -> Iterator[FarEnd]:
    """Of the company's own, over TLS."""
    names = (x509.DNSName("mirror.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with far_end(files, tls=authority.server(*names)) as end:
        yield end


def named(end: FarEnd) -> str:
    """An address that only a proxy knows the way to."""
    return end.address.replace("127.0.0.1", "mirror.test")


# -- what is on this machine ----------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxied", ["http://127.0.0.1:9", ":::", "socks5://127.0.0.1:9", "foo://x"])
@pytest.mark.parametrize("no_proxy", ["", ".company.test"])
def test_the_way_to_this_machine_leads_past_a_proxy(monkeypatch, files, variable, proxied, no_proxy):
    monkeypatch.setenv(variable, proxied)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with far_end(files) as end:
        assert backend.http("GET", f"{end.address}/file").text == "what was published"


@pytest.mark.parametrize("tls", [False, True])
def test_the_api_server_is_reached_past_a_proxy(monkeypatch, tmp_path, authority, between, tls):
    monkeypatch.setenv("HTTPS_PROXY", between.address)
    monkeypatch.setenv("HTTP_PROXY", between.address)
    monkeypatch.setenv("NO_PROXY", ".company.test")
    (tmp_path / "readyz").write_text("ok")
    names = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    with far_end(tmp_path, tls=authority.server(names) if tls else None) as end:
        kubeconfig(tmp_path / "home", end.address, authority)
        assert backend.kubernetes("GET", "/readyz") == "ok"
    assert between.asked == []


def test_a_websocket_to_the_api_server_is_opened_past_a_proxy(monkeypatch, tmp_path, authority, between):
    monkeypatch.setenv("http_proxy", between.address)
    monkeypatch.setenv("no_proxy", ".company.test")
    with far_end(tmp_path) as end:
        kubeconfig(tmp_path / "home", end.address, authority)
        with pytest.raises(backend.KubernetesError), backend.port_forward("default", "pod", 80):
            pass
    assert between.asked == []
    assert len(end.requests) == 1


def kubeconfig(folder: Path, server: str, authority: Authority, **more: str) -> None:
    folder.mkdir(exist_ok=True)
    cluster = {"server": server, **more}
    if server.startswith("https"):
        cluster["certificate-authority"] = str(authority.certificate)
    document = {
        "current-context": "there",
        "clusters": [{"name": "there", "cluster": cluster}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_commands_are_told_the_way_past_the_proxy(monkeypatch, variable):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, "company.test, 10.0.0.0/8")
    told = backend.run([sys.executable, "-c", "import os; print(os.environ['NO_PROXY'], os.environ['no_proxy'])"])
    upper, lower = told.stdout.split()
    assert upper == lower
    node = f"{settings().cluster}-control-plane"
    for name in ("company.test", "10.0.0.0/8", "127.0.0.1", "localhost", "::1", node):
        assert name in upper.split(",")


def test_without_a_proxy_a_command_is_told_nothing():
    told = backend.run([sys.executable, "-c", "import os; print([n for n in os.environ if 'proxy' in n.lower()])"])
    assert told.stdout == "[]\n"


# -- the internet, through a proxy ------------------------------------------------------------------


def test_a_download_goes_through_the_proxy_and_trusts_the_companys_authority(
    monkeypatch, tmp_path, mirror, authority, between
):
    monkeypatch.setenv("HTTPS_PROXY", between.address)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    backend.download(f"{named(mirror)}/file", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "what was published"
    assert between.asked == [("CONNECT", named(mirror).removeprefix("https://"))]


def test_a_redirect_takes_the_way_to_where_it_leads(monkeypatch, tmp_path, files, between):
    from farend import Answer

    monkeypatch.setenv("HTTP_PROXY", between.address)
    with far_end(files) as end:
        end.fail("/moved", lambda answer: Answer(302, {"Location": f"{end.address}/file"}, b""))
        backend.download(f"{named(end)}/moved", tmp_path / "file")
        assert [path for path, _ in end.requests] == ["/moved", "/file"]
    assert (tmp_path / "file").read_text() == "what was published"
    assert between.asked == [("GET", f"{named(end)}/moved")]


def test_a_cluster_of_somebody_elses_is_reached_through_the_proxy(monkeypatch, tmp_path, authority, between):
    monkeypatch.setenv("HTTPS_PROXY", between.address)
    (tmp_path / "readyz").write_text("ok")
    with far_end(tmp_path, tls=authority.server(x509.DNSName("mirror.test"))) as end:
        kubeconfig(tmp_path / "home", named(end), authority)
        assert backend.kubernetes("GET", "/readyz") == "ok"
        kubeconfig(tmp_path / "home", named(end), authority, **{"proxy-url": between.address})
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        os.utime(tmp_path / "home" / "kubeconfig", (1, 1))
        assert backend.kubernetes("GET", "/readyz") == "ok"
    assert [method for method, _ in between.asked] == ["CONNECT", "CONNECT"]


@pytest.mark.parametrize(
    ("no_proxy", "host", "proxied"),
    [
        ("", "mirror.test", True), ("mirror.test", "mirror.test", False), (".test", "mirror.test", False),
        ("*", "mirror.test", False), ("10.0.0.0/8", "10.1.2.3", False), ("10.0.0.0/8", "11.1.2.3", True),
        ("fd00::/8", "[fd00::1]", False), ("[::1]", "mirror.test", True), ("mirror.test:8443", "mirror.test", True),
        (" , ,", "mirror.test", True), ("", "127.8.9.1", False), ("", "[::1]", False), ("", "localhost", False),
    ],
)  # fmt: skip
def test_what_is_reached_without_the_proxy(monkeypatch, no_proxy, host, proxied):
    monkeypatch.setenv("HTTPS_PROXY", "proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert network.proxy_for(f"https://{host}/file") == ("http://proxy.test:3128" if proxied else None)


@pytest.mark.parametrize(
    "proxied",
    [
        ":::", "http://", "http://[::1", "http://proxy:port", "http://proxy:99999", "socks://127.0.0.1:9", "ftp://x:1",
        f"http://{LOGIN}@:::", f"foo://{LOGIN}@x:1", f"http://{LOGIN}@exa mple:1", "\x01", "http://\udcff:1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_what_is_no_proxy_is_one_clear_line(monkeypatch, tmp_path, proxied, variable):
    monkeypatch.setenv(variable, proxied)
    with pytest.raises(LabError) as raised:
        backend.download("https://mirror.test/file", tmp_path / "file")
    assert variable.upper() in raised.value.what
    assert PASSWORD not in str(raised.value)


def test_a_socks_proxy_is_asked(monkeypatch, tmp_path):
    """Nobody listens there: it is the proxy that does not answer, and no package that is missing."""
    monkeypatch.setenv("ALL_PROXY", f"socks5://{LOGIN}@127.0.0.1:{free_port()}")
    with pytest.raises(backend.Unreachable) as raised:
        backend.http("GET", "https://mirror.test/file")
    assert PASSWORD not in str(raised.value)


def test_a_socks_proxy_before_a_cluster_is_refused(monkeypatch, tmp_path, authority):
    monkeypatch.setenv("ALL_PROXY", f"socks5://{LOGIN}@127.0.0.1:9")
    kubeconfig(tmp_path / "home", "https://cluster.test", authority)
    with pytest.raises(LabError) as raised:
        backend.kubernetes("GET", "/readyz")
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("login", ["wrong:s3cret", "reader:s3cret"])
def test_a_password_is_never_printed(monkeypatch, tmp_path, between, login):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}@127.0.0.1:{between.port}")
    with pytest.raises(backend.Unreachable) as raised:
        backend.http("GET", f"https://{LOGIN}@mirror.test:{free_port()}/file")
    assert PASSWORD not in str(raised.value)


# -- whom to trust --------------------------------------------------------------------------------


def test_nobody_trusts_an_unknown_authority(mirror):
    with pytest.raises(backend.Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        backend.http("GET", f"{mirror.address}/file")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"])
def test_an_authority_is_trusted_that_a_variable_names(monkeypatch, tmp_path, mirror, authority, variable):
    authorities = tmp_path / "authorities"
    authorities.mkdir()
    (authorities / "company.pem").write_bytes(authority.certificate.read_bytes())
    (authorities / "README").write_text("no certificate")
    monkeypatch.setenv(variable, str(authorities if variable == "SSL_CERT_DIR" else authority.certificate))
    assert backend.http("GET", f"{mirror.address}/file").text == "what was published"
    assert network.authorities().strip() == authority.certificate.read_text().strip()


def test_no_redirect_leads_from_https_to_http(monkeypatch, tmp_path, files, mirror, authority):
    from farend import Answer

    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    mirror.fail("/stays", lambda answer: Answer(302, {"Location": "/file"}, b""))
    backend.download(f"{mirror.address}/stays", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "what was published"
    with far_end(files) as plain:
        mirror.fail("/moved", lambda answer: Answer(302, {"Location": f"{plain.address}/file"}, b""))
        with pytest.raises(LabError, match="anybody on the way"):
            backend.download(f"{mirror.address}/moved", tmp_path / "other")
        assert plain.requests == []


@pytest.mark.parametrize("variable", network.AUTHORITIES)
@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_authorities_that_cannot_be_read(monkeypatch, tmp_path, files, mirror, variable, content):
    named = tmp_path / "authorities.pem"
    if content is not None:
        named.write_text(content)
    monkeypatch.setenv(variable, str(named))
    with pytest.raises(LabError) as raised:
        backend.http("GET", f"{mirror.address}/file")
    assert variable in raised.value.what
    assert variable in raised.value.fix
    with far_end(files) as end:
        assert backend.http("GET", f"{end.address}/file").status == 200  # which needs none


def test_a_command_is_told_whom_to_trust(monkeypatch, authority):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    told = backend.run([sys.executable, "-c", "import os; print(os.environ['SSL_CERT_FILE'])"])
    assert told.stdout.strip() == str(authority.certificate)


# -- a kubeconfig ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "null", "[]", "5", "clusters: [", "{}", "current-context: x", "\0", "a: &a [*a]"])
def test_what_is_no_kubeconfig_is_one_error(tmp_path, text):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "kubeconfig").write_text(text)
    with pytest.raises(LabError) as raised:
        backend.kubernetes("GET", "/readyz")
    assert str(tmp_path / "home" / "kubeconfig") in raised.value.what
