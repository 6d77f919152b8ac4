"""Certificates from proxies, from the wire and from istiod, made here as Istio's CA makes them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import pandas as pd
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import certificates
from labkit.mesh.x509 import issue

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
RATINGS = "spiffe://cluster.local/ns/default/sa/bookinfo-ratings"
REDACTED = base64.b64encode(b"[redacted]").decode()


# -- a certificate authority ---------------------------------------------------------------------
@dataclass(frozen=True)
class Authority:
    """A CA that signs as istiod does: no subject in a leaf, its SPIFFE ID in a critical SAN."""

    certificate: x509.Certificate
    key: object

    def pem(self) -> str:
        return pem(self.certificate)

    def leaf(self, spiffe_id=RATINGS, serial=7, key=None, since=NOW, lives=timedelta(hours=24)) -> str:
        key = key or small_key()
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)])
        made = (
            builder(x509.Name([]), self.certificate.subject, key, serial, since - timedelta(minutes=2), since + lives)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(authority_key(self.key), critical=False)
            .add_extension(san, critical=True)
        )
        return pem(made.sign(self.key, _hash(self.key)))


def authority(
    parent: Authority | None = None, name="cluster.local", lives=timedelta(days=3650), key=None, usage=True
) -> Authority:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    issuer, signer = (parent.certificate.subject, parent.key) if parent else (subject, key)
    made = (
        builder(subject, issuer, key, x509.random_serial_number(), NOW - timedelta(days=1), NOW + lives)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_key(signer), critical=False)
    )
    if usage is not None:
        made = made.add_extension(key_usage(key_cert_sign=usage, crl_sign=True), critical=True)
    return Authority(made.sign(signer, _hash(signer)), key)


def _hash(key: object) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def builder(subject, issuer, key, serial, since, until) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(since)
        .not_valid_after(until)
    )


def key_usage(**allowed: bool) -> x509.KeyUsage:
    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: allowed.get(use, False) for use in uses})


def authority_key(key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


@cache
def small_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def mesh() -> Authority:
    return authority()


@cache
def chain_text() -> str:
    """As a proxy has it from istiod: its own, then the root."""
    return mesh().leaf() + mesh().pem()


# -- a mesh that shows them ----------------------------------------------------------------------
def dump(chain: str, name: str = "default") -> dict:
    return {
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump.DynamicSecret",
        "name": name,
        "secret": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "tls_certificate": {"certificate_chain": {"inline_bytes": base64.b64encode(chain.encode()).decode()}},
        },
    }


ROOTCA = {"name": "ROOTCA", "secret": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"}}


def answer(*secrets: dict) -> str:
    return json.dumps({"configs": [*secrets, ROOTCA]})


def a_pod(name: str, workload: str = "ratings-v1", proxy: bool = True, ready: bool = True, leaving: bool = False):
    metadata = {
        "name": name,
        "namespace": "default",
        "creationTimestamp": "2026-09-01T12:00:00Z",
        "labels": {"pod-template-hash": "abc"},
        "ownerReferences": [{"name": f"{workload}-abc"}],
        **({"deletionTimestamp": "2026-09-01T12:00:00Z"} if leaving else {}),
    }
    sidecar = {"name": "istio-proxy", "restartPolicy": "Always"}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "app"}], "initContainers": [sidecar] if proxy else []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@dataclass
class Mesh(Fake):
    """Proxies that answer in `says` (by pod), pods that stand, time that passes when somebody sleeps."""

    says: dict[str, str | tuple[int, str, str]] = field(default_factory=dict)
    pods: list[dict] = field(default_factory=list)
    objects: dict[str, dict] = field(default_factory=dict)
    date: datetime = NOW
    clock: float = 100.0
    commands: list[list[str]] = field(default_factory=list)
    changes: dict[float, dict] = field(default_factory=dict)

    def run(self, argv, **_):
        self.commands.append(argv)
        returncode, stdout, stderr = 0, "", ""
        if argv[1] == "exec":
            said = self.says[argv[argv.index("--container") - 1]]
            returncode, stdout, stderr = (0, said, "") if isinstance(said, str) else said
        return backend.Completed(tuple(argv), returncode, stdout, stderr, 0.1)

    def kubernetes(self, method, path, body, query, content_type):
        if path.endswith("/pods"):
            return json.dumps({"kind": "PodList", "items": self.pods})
        if path not in self.objects:
            raise backend.KubernetesError(404, "NotFound", path, "")
        return json.dumps(self.objects[path])

    def now(self) -> float:
        return self.clock

    def unix_time(self) -> float:
        return self.date.timestamp()

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        for change in [self.changes.pop(at) for at in sorted(self.changes) if at <= self.clock]:
            vars(self).update(change)


# -- reading PEM ---------------------------------------------------------------------------------
serial_numbers = st.integers(1, 2**159 - 1)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
between = st.text(st.characters(exclude_characters="-", codec="utf-8"), max_size=20).map(lambda text: f"{text}\n")
facts = st.tuples(serial_numbers, moments, st.integers(1, 10**9), between)


@given(st.lists(facts, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_every_certificate_of_a_chain_is_read_back_whatever_stands_between(wanted, line_end):
    ids = [f"spiffe://cluster.local/ns/default/sa/{n}" for n in range(len(wanted))]
    leaves = [
        mesh().leaf(spiffe_id, serial, since=since, lives=timedelta(seconds=lives))
        for spiffe_id, (serial, since, lives, _) in zip(ids, wanted, strict=True)
    ]
    text = "".join(between + leaf for leaf, (*_, between) in zip(leaves, wanted, strict=True))

    found = certificates.parse(text.replace("\n", line_end))

    assert list(found.columns) == certificates.CHAIN
    assert list(found.spiffe_id) == ids
    assert [int(serial, 16) for serial in found.serial] == [serial for serial, *_ in wanted]
    assert list(found.not_before + timedelta(minutes=2)) == [since for _, since, *_ in wanted]
    assert list(found.not_after) == [since + timedelta(seconds=lives) for _, since, lives, _ in wanted]
    assert "".join(found.pem) == "".join(leaves)


@given(st.integers(0, 5000))
def test_a_chain_that_breaks_off_is_shorter_or_an_error(at):
    whole = certificates.parse(chain_text())
    try:
        found = certificates.parse(chain_text()[:at])
    except LabError:
        return
    pd.testing.assert_frame_equal(found, whole.head(len(found)))


@given(st.text())
def test_what_is_no_certificate_is_an_error(text):
    with pytest.raises(LabError):
        certificates.parse(text)


def test_a_certificate_that_is_no_certificate_inside_is_an_error():
    noise = base64.b64encode(b"not DER").decode()
    with pytest.raises(LabError):
        certificates.parse(f"-----BEGIN CERTIFICATE-----\n{noise}\n-----END CERTIFICATE-----\n")


def test_a_row_says_what_its_certificate_is():
    leaf, root = certificates.parse(chain_text()).to_dict("records")
    assert (leaf["spiffe_id"], leaf["subject"], leaf["issuer"]) == (RATINGS, "", "O=cluster.local")
    assert (leaf["serial"], leaf["key"], leaf["is_ca"]) == (f"{7:032x}", "EC 256", False)
    assert (root["spiffe_id"], root["subject"], root["is_ca"]) == ("", "O=cluster.local", True)
    assert str(leaf["not_after"].tz) == "UTC"


def test_an_rsa_key_is_named_with_its_size():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert list(certificates.parse(mesh().leaf(key=key)).key) == ["RSA 2048"]


# -- from a proxy --------------------------------------------------------------------------------
def test_the_chain_is_the_workloads_own_and_not_that_of_a_gateways_host():
    other = dump(mesh().leaf("spiffe://elsewhere/x"), name="kubernetes://bookinfo-credential")
    with backend.use(Mesh({"ratings-v1-x": answer(other, dump(chain_text()))})):
        found = certificates.chain("ratings-v1-x")
    assert list(found.spiffe_id) == [RATINGS, ""]


def test_the_proxy_is_not_asked_for_a_private_key():
    with backend.use(Mesh({"ratings-v1-x": answer(dump(chain_text()))})) as asked:
        certificates.chain("ratings-v1-x")
    [argv] = asked.commands
    assert argv[-1].endswith("&mask=name,secret.tls_certificate.certificate_chain")


def test_a_private_key_in_an_answer_goes_no_further():
    leaking = dump(chain_text())
    leaking["secret"]["tls_certificate"]["private_key"] = {"inline_bytes": REDACTED}
    with backend.use(Mesh({"ratings-v1-x": answer(leaking)})):
        found = certificates.chain("ratings-v1-x")
    assert REDACTED not in found.to_csv()
    assert "redacted" not in found.to_csv()


def test_a_private_key_among_the_pem_goes_no_further():
    kind = "PRIVATE KEY"
    text = f"-----BEGIN {kind}-----\n{REDACTED}\n-----END {kind}-----\n" + chain_text()
    assert kind not in certificates.parse(text).to_csv()


FORBIDDEN = 'Error from server (Forbidden): pods "x" is forbidden: User "u" cannot create resource "pods/exec"'
REFUSALS = {
    "no such pod": ('Error from server (NotFound): pods "x" not found', certificates.PodGone),
    "stopped": ("unable to upgrade connection: container not found", certificates.PodGone),
    "completed": ("error: cannot exec into a container in a completed pod", certificates.PodGone),
    "no pod of it": ("error: timed out waiting for the condition", certificates.PodGone),
    "killed": ("command terminated with exit code 137", certificates.PodGone),
    "no proxy": ("Error from server (BadRequest): container istio-proxy is not valid for pod x", LabError),
    "forbidden": (FORBIDDEN, LabError),
    "anything else": ("Unable to connect to the server", backend.CommandFailed),
}  # fmt: skip


@pytest.mark.parametrize(("stderr", "error"), REFUSALS.values(), ids=REFUSALS)
def test_each_refusal_is_an_error_of_its_own(stderr, error):
    with backend.use(Mesh({"x": (1, "", stderr)})), pytest.raises(LabError) as raised:
        certificates.chain("x")
    assert type(raised.value) is error
    assert "x" in raised.value.what


def test_whom_a_proxy_trusts_may_be_two_roots():
    other = authority(name="books")
    roots = base64.b64encode((mesh().pem() + other.pem()).encode()).decode()
    held = {"name": "ROOTCA", "secret": {"validation_context": {"trusted_ca": {"inline_bytes": roots}}}}
    with backend.use(Mesh({"x": json.dumps({"configs": [held]})})):
        assert list(certificates.trusted("x").subject) == ["O=cluster.local", "O=books"]
        with pytest.raises(LabError, match="no certificate yet"):
            certificates.chain("x")


@pytest.mark.parametrize("said", ["{}", answer(), answer(dump(chain_text(), "other"))])
def test_a_proxy_that_has_no_certificate_yet(said):
    with backend.use(Mesh({"x": said})), pytest.raises(LabError, match="istiod"):
        certificates.chain("x")


@pytest.mark.parametrize("said", ["null", "[]", '{"configs": null}', '{"configs": [{"secret": null}]}', '{"a": 1}'])
def test_an_answer_of_another_shape_is_an_error(said):
    with backend.use(Mesh({"x": said})), pytest.raises(LabError):
        certificates.chain("x")


def test_an_answer_that_breaks_off_is_an_error():
    with backend.use(Mesh({"x": answer(dump(chain_text()))[:90]})), pytest.raises(LabError):
        certificates.chain("x")


def test_a_renewal_is_waited_for_in_each_of_the_pods():
    held = [answer(dump(mesh().leaf(serial=serial) + mesh().pem())) for serial in (7, 8)]
    first = {"x": held[0], "y": held[0]}
    changes = {103.0: {"says": first | {"x": held[1]}}, 109.0: {"says": dict.fromkeys("xy", held[1])}}
    with backend.use(Mesh(first, changes=changes)) as world:
        certificates.wait_until_renewed("xy")
    assert 109 <= world.clock < 111


def test_who_does_not_renew_is_named():
    with backend.use(Mesh({"x": answer(dump(chain_text()))})), pytest.raises(LabError, match="not yet renewed: x"):
        certificates.wait_until_renewed(["x"])


def test_identities_are_those_of_ready_proxies():
    pods = [
        a_pod("ratings-v1-a"),
        a_pod("ratings-v1-b", ready=False),
        a_pod("ratings-v1-c", leaving=True),
        a_pod("httpbin-d", proxy=False, workload="httpbin"),
        a_pod("reviews-v1-e", workload="reviews-v1"),
    ]
    says = {"ratings-v1-a": answer(dump(chain_text())), "reviews-v1-e": (1, "", "(NotFound)")}
    with backend.use(Mesh(says, pods)):
        found = certificates.identities()
    assert list(found.columns) == certificates.IDENTITIES
    assert [(row.pod, row.workload, row.spiffe_id) for row in found.itertuples()] == [
        ("ratings-v1-a", "ratings-v1", RATINGS)
    ]


def test_identities_may_be_those_of_some_workloads():
    pods = [a_pod("ratings-v1-a"), a_pod("reviews-v1-e", workload="reviews-v1")]
    says = dict.fromkeys(("ratings-v1-a", "reviews-v1-e"), answer(dump(chain_text())))
    with backend.use(Mesh(says, pods)):
        assert list(certificates.identities(workloads=["reviews-v1"]).pod) == ["reviews-v1-e"]


def test_no_pods_no_identities():
    with backend.use(Mesh()):
        assert list(certificates.identities().columns) == certificates.IDENTITIES


# -- from the wire -------------------------------------------------------------------------------
def test_the_wire_shows_the_chain_that_the_proxy_holds():
    says = {"deploy/curl": chain_text(), "ratings-v1-x": answer(dump(chain_text()))}
    with backend.use(Mesh(says)) as asked:
        shown, held = certificates.from_the_wire("ratings:9080"), certificates.chain("ratings-v1-x")
    pd.testing.assert_frame_equal(shown, held)
    assert asked.commands[0][-1] == "ratings:9080"


NO_HANDSHAKES = {
    "plain text": (0, "error:0A00010B:SSL routines:ssl3_get_record:wrong version number", "plain text"),
    "other TLS": (0, "tlsv1 alert no application protocol:../ssl/record/rec_layer_s3.c:1601", "of its own"),
    "no name": (0, "BIO routines:BIO_lookup_ex:system lib:Name or service not known", "name"),
    "no listener": (0, "BIO_connect:Connection refused\nconnect:errno=111", "listens"),
    "cut": (0, "write:errno=104", "cut"),
    "silence": (0, "", "10 s"),
    "distroless": (1, 'exec: "sh": executable file not found in $PATH', "openssl"),
    "no openssl": (0, "timeout: failed to run command 'openssl': No such file or directory", "openssl"),
    "unheard of": (0, "something new", "something new"),
}


@pytest.mark.parametrize(("returncode", "stderr", "why"), NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
def test_a_server_that_shows_no_certificate(returncode, stderr, why):
    with backend.use(Mesh({"deploy/curl": (returncode, "", stderr)})), pytest.raises(LabError) as raised:
        certificates.from_the_wire("ratings:9080")
    assert why in raised.value.why


def test_a_client_that_is_gone():
    says = {"deploy/curl": (1, "", 'Error from server (NotFound): deployments.apps "curl" not found')}
    with backend.use(Mesh(says)), pytest.raises(certificates.PodGone):
        certificates.from_the_wire("ratings:9080")


# -- the root ------------------------------------------------------------------------------------
CONFIG_MAP = "/api/v1/namespaces/default/configmaps/istio-ca-root-cert"


def test_the_root_is_in_the_namespaces_config_map():
    with backend.use(Mesh(objects={CONFIG_MAP: {"data": {"root-cert.pem": mesh().pem()}}})):
        found = certificates.root()
    assert list(found.is_ca) == [True]


def test_without_istio_there_is_no_root():
    with backend.use(Mesh()), pytest.raises(LabError, match="istio-ca-root-cert"):
        certificates.root()


# -- verification --------------------------------------------------------------------------------
def verified(chain: str, root: str, at: datetime = NOW) -> pd.DataFrame:
    with backend.use(Mesh(date=at)):
        return certificates.verify(certificates.parse(chain), certificates.parse(root))


def test_a_chain_of_the_meshs_leads_to_its_root():
    path = verified(chain_text(), mesh().pem())
    assert list(path.certificate) == [RATINGS, "O=cluster.local"]
    assert list(path.signed_by) == ["O=cluster.local"] * 2


def test_a_path_may_lead_through_an_intermediate():
    intermediate = authority(parent=mesh(), name="istiod")
    path = verified(intermediate.leaf() + intermediate.pem(), mesh().pem())
    assert list(path.certificate) == [RATINGS, "O=istiod", "O=cluster.local"]


def test_without_its_intermediate_a_leaf_leads_nowhere():
    with pytest.raises(LabError, match="does not lead"):
        verified(authority(parent=mesh(), name="istiod").leaf(), mesh().pem())


def test_one_of_two_roots_is_enough_while_the_root_is_replaced():
    assert len(verified(chain_text(), authority().pem() + mesh().pem())) == 2


def test_a_root_that_expired_while_it_was_replaced_is_in_nobodys_way():
    expired = authority(lives=timedelta(hours=-1))
    assert len(verified(chain_text(), expired.pem() + mesh().pem())) == 2


def test_a_root_that_does_not_say_what_its_key_is_for_is_one():
    root = authority(usage=None)  # as those of Istio's own samples/certs
    assert len(verified(root.leaf(), root.pem())) == 2
    intermediate = authority(parent=root, name="istiod")
    assert len(verified(intermediate.leaf() + intermediate.pem(), root.pem())) == 3


def test_a_root_that_may_not_sign_is_none():
    root = authority(usage=False)
    with pytest.raises(LabError):
        verified(root.leaf(), root.pem())


def test_rsa_keys_lead_to_their_root():
    root = authority(key=rsa.generate_private_key(65537, 2048))
    assert len(verified(root.leaf(key=rsa.generate_private_key(65537, 2048)), root.pem())) == 2


def test_keys_that_the_webs_rules_do_not_know_are_told_and_nobody_is_sent_to_install_anew():
    root = authority(key=ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(LabError, match="signed by the mesh's root") as told:
        verified(root.leaf(key=ed25519.Ed25519PrivateKey.generate()), root.pem())
    assert "restart" not in told.value.fix
    assert certificates.parse(root.leaf()).key[0] == "EC 256"
    assert certificates.parse(root.pem()).key[0] == "Ed25519"


def test_another_root_of_the_same_name_is_not_the_meshs():
    with pytest.raises(LabError, match="rollout restart"):
        verified(chain_text(), authority().pem())


def test_a_leaf_cannot_sign_a_leaf():
    key = small_key()
    middle = mesh().leaf(spiffe_id="spiffe://cluster.local/ns/default/sa/a", key=key)
    impostor = Authority(x509.load_pem_x509_certificate(middle.encode()), key)
    with pytest.raises(LabError, match="does not lead"):
        verified(impostor.leaf() + middle, mesh().pem())


@pytest.mark.parametrize(
    ("at", "said"), [(NOW + timedelta(hours=24, seconds=1), "any more"), (NOW - timedelta(hours=1), "yet")]
)
def test_a_chain_outside_of_its_dates_is_an_error_that_names_them(at, said):
    with pytest.raises(LabError, match=said) as raised:
        verified(chain_text(), mesh().pem(), at)
    assert RATINGS in raised.value.what
    assert f"{at:%H:%M:%S}" in raised.value.why


def test_an_expired_root_is_an_error_that_names_it():
    old = authority(lives=timedelta(hours=1))
    with pytest.raises(LabError, match=r"O=cluster\.local is not valid any more"):
        verified(old.leaf(), old.pem(), NOW + timedelta(hours=2))


@given(st.integers(-(10**6), 10**7))
def test_a_chain_is_valid_between_its_dates_and_at_no_other_time(seconds):
    since, until = -120, 24 * 3600
    try:
        verified(chain_text(), mesh().pem(), NOW + timedelta(seconds=seconds))
    except LabError:
        assert not since <= seconds <= until
    else:
        assert since <= seconds <= until


# -- rotation ------------------------------------------------------------------------------------
RATINGS_DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/ratings-v1"


def deployment(**annotations: str) -> dict:
    return {RATINGS_DEPLOYMENT: {"spec": {"template": {"metadata": {"annotations": annotations}}}}}


def rotated(objects: dict, ttl_seconds: int | None) -> str | None:
    """The proxy configuration that the Deployment has after it."""
    with backend.use(Mesh(pods=[a_pod("ratings-v1-a")], objects=objects)) as asked:
        certificates.rotate("ratings-v1", ttl_seconds)
    patch, waited = asked.commands
    assert waited[:4] == ["kubectl", "rollout", "status", "deployment/ratings-v1"]
    template = json.loads(patch[-1])["spec"]["template"]
    return template["metadata"]["annotations"]["proxy.istio.io/config"]


def test_the_agent_is_told_how_long_its_certificates_shall_live():
    assert yaml.safe_load(rotated(deployment(), 60)) == {"proxyMetadata": {"SECRET_TTL": "60s"}}


def test_what_else_the_annotation_says_is_kept():
    before = yaml.safe_dump({"concurrency": 1, "proxyMetadata": {"SECRET_TTL": "1h", "ISTIO_META_DNS_CAPTURE": "true"}})
    objects = deployment(**{"proxy.istio.io/config": before})
    assert yaml.safe_load(rotated(objects, 90)) == {
        "concurrency": 1,
        "proxyMetadata": {"SECRET_TTL": "90s", "ISTIO_META_DNS_CAPTURE": "true"},
    }
    assert yaml.safe_load(rotated(objects, None)) == {
        "concurrency": 1,
        "proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"},
    }


def test_given_back_the_annotation_is_gone():
    annotation = rotated(deployment(), 60)
    assert rotated(deployment(**{"proxy.istio.io/config": annotation}), None) is None


@pytest.mark.parametrize("ttl_seconds", [0, -60, 9, 90 * 24 * 3600 + 1])
def test_a_lifetime_that_cannot_be_changes_nothing(ttl_seconds):
    with backend.use(Mesh(pods=[a_pod("ratings-v1-a")], objects=deployment())) as asked, pytest.raises(LabError):
        certificates.rotate("ratings-v1", ttl_seconds)
    assert asked.commands == []


def test_a_workload_outside_of_the_mesh_has_nothing_to_rotate():
    outside = Mesh(pods=[a_pod("ratings-v1-a", proxy=False)], objects=deployment())
    with backend.use(outside), pytest.raises(LabError, match="no proxy"):
        certificates.rotate("ratings-v1")
    assert outside.commands == []


# -- serials over time ---------------------------------------------------------------------------
def held(pod: str, serial: int) -> dict[str, str]:
    return {pod: answer(dump(mesh().leaf(serial=serial) + mesh().pem()))}


def watched(live: Mesh, seconds: float = 10) -> pd.DataFrame:
    with backend.use(live):
        return certificates.serials(["ratings-v1"], seconds)


def test_a_renewed_certificate_has_a_new_serial_on_the_same_pod():
    live = Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")], changes={106.0: {"says": held("ratings-v1-a", 2)}})
    seen = watched(live)
    assert list(seen.columns) == certificates.SERIALS
    assert [int(serial, 16) for serial in seen.serial] == [1, 1, 1, 2, 2, 2]
    assert list(seen.time) == [NOW + timedelta(seconds=2 * look) for look in range(6)]
    assert set(seen.pod) == {"ratings-v1-a"}


def test_a_restarted_pod_has_a_new_serial_and_a_new_name():
    anew = {"pods": [a_pod("ratings-v1-b")], "says": held("ratings-v1-b", 2)}
    seen = watched(Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")], changes={106.0: anew}))
    assert {(row.pod, int(row.serial, 16)) for row in seen.itertuples()} == {("ratings-v1-a", 1), ("ratings-v1-b", 2)}


def test_a_pod_that_vanishes_has_no_rows_after_it():
    gone = {"says": {"ratings-v1-a": (1, "", "container not found")}}
    seen = watched(Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")], changes={104.0: gone}))
    assert len(seen) == 2


def test_a_clock_that_is_set_meanwhile_turns_no_order_round():
    live = Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")], changes={104.0: {"date": NOW - timedelta(days=1)}})
    assert watched(live).time.is_monotonic_increasing


def test_a_look_is_dated_to_the_millisecond():
    live = Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")])
    with backend.use(live):
        seen = certificates.serials(["ratings-v1"], seconds=2, every=1.001)
    assert all(time == time.round("ms") for time in seen.time)


def test_no_seconds_are_one_look():
    assert len(watched(Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")]), seconds=0)) == 1


@pytest.mark.parametrize("pods", [[], [a_pod("ratings-v1-a", proxy=False)]], ids=["no pod", "no proxy"])
def test_what_cannot_be_watched_is_said_at_once(pods):
    live = Mesh(pods=pods)
    with pytest.raises(LabError):
        watched(live)
    assert live.clock == 100.0


def test_what_is_seen_is_told():
    told: list[str] = []
    live = Mesh(held("ratings-v1-a", 1), [a_pod("ratings-v1-a")], changes={102.0: {"says": held("ratings-v1-a", 2)}})
    with backend.use(live):
        certificates.serials(["ratings-v1"], 2, report=told.append)
    assert [text.split()[0] for text in told] == ["1", "2"]


# -- for a gateway ------------------------------------------------------------------------------------
class Kubectl(Fake):
    """A shell that takes down what kubectl was told."""

    def unix_time(self):
        return NOW.timestamp()

    def run(self, argv, *, stdin, **_):
        self.argv, self.stdin = argv, stdin
        return backend.Completed(tuple(argv), 0, "secret/bookinfo serverside-applied", "", 0.1)


@given(st.from_regex(r"[a-z]{1,20}(\.[a-z]{1,20}){1,3}", fullmatch=True))
def test_a_tls_client_that_trusts_the_ca_accepts_the_servers_certificate_for_its_own_name_alone(host):
    from cryptography.x509 import verification

    issued = issue(host, "a CA", NOW, timedelta(days=1))
    leaf, ca = (x509.load_pem_x509_certificate(text.encode()) for text in (issued.certificate, issued.ca))
    policy = verification.PolicyBuilder().store(verification.Store([ca])).time(NOW)
    policy.build_server_verifier(x509.DNSName(host)).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        policy.build_server_verifier(x509.DNSName(f"not.{host}")).verify(leaf, [])


def test_a_gateways_key_goes_into_its_secret_and_nowhere_else():
    with backend.use(Kubectl()) as kubectl:
        made = certificates.for_gateway("bookinfo.example.com", "bookinfo")
    secret = json.loads(kubectl.stdin)
    key = load_pem_private_key(secret["stringData"]["tls.key"].encode(), None)
    leaf = x509.load_pem_x509_certificate(made.pem[0].encode())
    assert key.public_key() == leaf.public_key()
    assert secret["stringData"]["ca.crt"] == made.pem[1]
    assert "PRIVATE" not in made.to_string() + repr(issue("a.b", "c", NOW, timedelta(1))) + " ".join(kubectl.argv)
    assert secret["metadata"]["namespace"] == "istio-system"
    assert "--server-side" in kubectl.argv
    assert list(made.subject) == ["CN=bookinfo.example.com", "CN=Istio lab CA"]
