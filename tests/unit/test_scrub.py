"""Secrets of every shape are found in whatever they are wrapped, and replaced; what is none stays as it is."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from collections.abc import Callable

import pytest
import yaml
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st
from timing import least, processor

from labkit.recordings import scrub

CHANCE = random.Random(8)  # noqa: S311  the same shapes each time
LETTERS = string.ascii_letters + string.digits
LOWER_HEX, DIGITS = "0123456789abcdef", string.digits


def some(count: int, letters: str = LETTERS) -> str:
    """Letters of which at least one is a digit, as of made-up secrets."""
    return "".join(CHANCE.choices(letters, k=count - 2)) + "7" + CHANCE.choice(letters)


def b64(content: str | bytes) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


def url64(content: str | bytes) -> str:
    return base64.urlsafe_b64encode(content.encode() if isinstance(content, str) else content).decode().rstrip("=")


# -- what is planted: by its name the text, and the part of it that must be gone ---------------------
KEYS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "RSA 4096": rsa.generate_private_key(65537, 4096),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
    "X448": x448.X448PrivateKey.generate(),
    "DSA": dsa.generate_private_key(2048),
}
FORMATS = {
    "PKCS#8": (ser.PrivateFormat.PKCS8, ser.NoEncryption()),
    "encrypted PKCS#8": (ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(b"a")),
    "traditional": (ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()),
    "encrypted traditional": (ser.PrivateFormat.TraditionalOpenSSL, ser.BestAvailableEncryption(b"a")),
    "OpenSSH": (ser.PrivateFormat.OpenSSH, ser.NoEncryption()),
}


def pem_and_der() -> tuple[dict[str, str], dict[str, bytes]]:
    pem, der = {}, {}
    for name, key in KEYS.items():
        for form, arguments in FORMATS.items():
            try:
                pem[f"{form} {name}"] = key.private_bytes(ser.Encoding.PEM, *arguments).decode()
                if form != "OpenSSH":
                    der[f"{form} {name} in DER"] = key.private_bytes(ser.Encoding.DER, *arguments)
            except (ValueError, TypeError):
                continue  # not every kind of key has every form
    der["PKCS#12"] = pkcs12.serialize_key_and_certificates(b"a", KEYS["P-256"], None, None, ser.NoEncryption())
    return pem, der


PEM, DER = pem_and_der()


def jwk(name: str) -> str:
    number = KEYS[name].private_numbers()
    value = number.private_value if isinstance(number, ec.EllipticCurvePrivateNumbers) else number.d
    return json.dumps({"kty": "any", "d": url64(value.to_bytes((value.bit_length() + 7) // 8, "big"))})


def jwt(payload: dict) -> str:
    return ".".join([url64(json.dumps({"alg": "RS256", "typ": "JWT"})), url64(json.dumps(payload)), url64(some(64))])


TOKEN = jwt({"iss": "tester", "sub": some(9)})
PASSWORD = some(14)
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "Opaque",
    "metadata": {"name": "a"},
    "data": {"b": b64(PASSWORD)},
}
APPLIED = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(SECRET)}
LISTED = {key: value for key, value in SECRET.items() if key not in ("kind", "apiVersion")}
CONFIG = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"d": "stays"}}
HEX64, HEX96 = some(64, LOWER_HEX), some(96, LOWER_HEX)


def held(text: str, part: str = "") -> tuple[str, str]:
    return text, part or text


TEXTS: dict[str, tuple[str, str]] = {
    **{f"{name} JWK": (jwk(name), json.loads(jwk(name))["d"]) for name in ("RSA", "P-256", "P-384", "secp256k1")},
    "symmetric JWK": (f'{{"kty":"oct","k":"{(value := url64(some(32)))}"}}', value),
    "JWT": held(TOKEN),
    "JWT of a service account": held(jwt({"iss": "kubernetes/serviceaccount", "kubernetes.io": {"namespace": "a"}})),
    "JWT after a word": (f"token-{TOKEN}", TOKEN),
    "JWT without signature": held(TOKEN.rpartition(".")[0] + "."),
    "bearer": (f"Authorization: Bearer {(value := some(40))}", value),
    "bearer of curl": (f"curl -H 'authorization: bearer {(value := some(40))}' http://a", value),
    "basic": (f"Authorization: Basic {(value := b64('admin:' + PASSWORD))}", value),
    "basic in JSON": (json.dumps({"Authorization": f"Basic {(value := b64('me:' + PASSWORD))}"}), value),
    "token header": (f"Authorization: token {(value := some(40))}", value),
    "proxy authorization": (f"Proxy-Authorization: Basic {(value := b64('p:' + PASSWORD))}", value),
    "Set-Cookie": (f"Set-Cookie: session={(value := some(20))}; Path=/; HttpOnly", value),
    "Set-Cookie of another name": (f"set-cookie: whatever={(value := some(20))}; Secure", value),
    "Set-Cookie in JSON": (json.dumps({"set-cookie": f"a={(value := some(20))}; Path=/"}), value),
    "Cookie": (f"Cookie: connect.sid={(value := some(20))}", value),
    **{f"{name} cookie": (f"{name}={(value := some(26))}", value)
       for name in ("session", "JSESSIONID", "PHPSESSID", "ASP.NET_SessionId", "_my_session", "sessionid",
                    "XSRF-TOKEN")},
    "kubeconfig's token": (f"users:\n- name: a\n  user:\n    token: {(value := some(30))}\n", value),
    "kubeconfig's password": (f"  user:\n    password: {PASSWORD}\n    username: admin\n", PASSWORD),
    "kubeconfig's key": (f"    client-key-data: {(value := b64(PEM['PKCS#8 RSA']))}\n", value),
    "kubeconfig's key in JSON": (json.dumps({"client-key-data": (value := b64(PEM["traditional P-256"]))}), value),
    "docker auth": (json.dumps({"auths": {"a.io": {"auth": (value := b64(f"me:{PASSWORD}"))}}}), value),
    "docker identity token": (json.dumps({"auths": {"a.io": {"identitytoken": (value := some(40))}}}), value),
    "AWS id": held("AK" + "IA" + some(16, "ABCDEFGHJKLMNP234567")),
    "AWS passing id": held("AS" + "IA" + some(16, "ABCDEFGHJKLMNP234567")),
    "AWS key": (f"aws_secret_access_key = {(value := some(40))}", value),
    "AWS key in the environment": (f"AWS_SECRET_ACCESS_KEY={(value := some(40))}", value),
    "GCP key": held("AI" + "za" + some(35)),
    "GCP token": held("ya" + "29." + some(60)),
    "GCP secret": held("GOC" + "SPX-" + some(28)),
    "GCP account": (json.dumps({"type": "service_account", "private_key": PEM["PKCS#8 RSA"]}),
                    PEM["PKCS#8 RSA"][40:90]),
    "Azure storage": (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={(value := b64(some(64)))}", value),
    "Azure bus": (f"SharedAccessKeyName=a;SharedAccessKey={(value := b64(some(32)))}", value),
    "Azure signature": (f"https://a.blob/b?sv=2024&sig={(value := some(43))}%3D&se=2026", value),
    "Azure secret": held("abc" + "8Q~" + some(34)),
    **{f"GitHub {kind}": held(f"gh{kind}_" + some(36)) for kind in "pousr"},
    "GitHub fine": held("github" + "_pat_" + some(22) + "_" + some(59)),
    **{f"GitLab {kind}": held(f"gl{kind}-" + some(20)) for kind in ("pat", "dt", "rt", "ptt", "cbt", "agent")},
    "Slack bot": held("xo" + "xb-" + some(12, DIGITS) + "-" + some(24)),
    "Slack user": held("xo" + "xp-" + some(12, DIGITS) + "-" + some(24)),
    "Slack hook": held("hooks.slack" + ".com/services/T" + some(8) + "/B" + some(8) + "/" + some(24)),
    "Stripe": held("sk" + "_live_" + some(24)),
    "Stripe restricted": held("rk" + "_test_" + some(24)),
    "Stripe hook": held("wh" + "sec_" + some(32)),
    "npm": held("np" + "m_" + some(36)),
    "PyPI": held("py" + "pi-AgEI" + some(60)),
    "Docker Hub": held("dckr" + "_pat_" + some(27)),
    "Vault": held("hv" + "s." + some(90)),
    "language model": held("sk" + "-proj-" + some(48)),
    "SendGrid": held("S" + "G." + some(22) + "." + some(43)),
    "DigitalOcean": held("do" + "p_v1_" + HEX64),
    "Hugging Face": held("h" + "f_" + some(34)),
    "Shopify": held("sh" + "pat_" + some(32, LOWER_HEX)),
    "Databricks": held("da" + "pi" + some(32, LOWER_HEX)),
    "Grafana": held("gl" + "sa_" + some(32)),
    "RubyGems": held("ruby" + "gems_" + some(48, LOWER_HEX)),
    "age": held("AGE-SECRET" + "-KEY-1" + some(58, string.ascii_uppercase + DIGITS)),
    "bcrypt": held("$2b$12$" + some(53)),
    "bcrypt of htpasswd": ("me:$2y$05$" + (value := some(53)), value),
    "SHA-512 crypt": held("$6$" + some(16) + "$" + some(86)),
    "Argon2": held("$argon2id$v=19$m=65536,t=3,p=4$" + some(22) + "$" + some(43)),
    "address": (f"https://me:{PASSWORD}@a.example/b", PASSWORD),
    "database": (f"postgres://me:{PASSWORD}@db:5432/a", PASSWORD),
    "redis": (f"redis://:{PASSWORD}@cache:6379", PASSWORD),
    **{f"?{name}=": (f"http://a/b?{name}={(value := some(24))}", value)
       for name in ("token", "access_token", "sig", "api_key", "X-Amz-Signature", "client_secret", "password")},
    "literal": (f"kubectl create secret generic a --from-literal=password={PASSWORD}", PASSWORD),
    "literal of any name": (f"kubectl create secret generic a --from-literal=a=b --from-literal=c={PASSWORD}",
                            PASSWORD),
    "registry": (f"kubectl create secret docker-registry a --docker-password={PASSWORD}", PASSWORD),
    "curl -u": (f"curl -u me:{PASSWORD} http://a", PASSWORD),
    "--token": (f"kubectl --token={(value := some(30))} get pods", value),
    "Secret": (json.dumps(SECRET), b64(PASSWORD)),
    "Secret, compact": (json.dumps(SECRET, separators=(",", ":")), b64(PASSWORD)),
    "Secret, indented": (json.dumps(SECRET, indent=4), b64(PASSWORD)),
    "Secret's stringData": (json.dumps({**SECRET, "data": None, "stringData": {"b": PASSWORD}}), PASSWORD),
    "Secrets in a list": (json.dumps({"kind": "List", "items": [CONFIG, SECRET]}), b64(PASSWORD)),
    "Secrets in their list": (json.dumps({"kind": "SecretList", "items": [LISTED]}), b64(PASSWORD)),
    "Secret that was applied": (json.dumps({**SECRET, "data": {}, "metadata": {"annotations": APPLIED}}),
                                b64(PASSWORD)),
    "Secret in YAML": (yaml.safe_dump(SECRET), b64(PASSWORD)),
    "Secrets in YAML's list": (yaml.safe_dump({"items": [CONFIG, SECRET], "kind": "List"}), b64(PASSWORD)),
    "Secret among documents": (yaml.safe_dump_all([CONFIG, SECRET]), b64(PASSWORD)),
    "Secret that was applied, in YAML": (
        "kind: Secret\nmetadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      "
        + json.dumps(SECRET, separators=(",", ":")) + "\n", b64(PASSWORD)
    ),
    "Secret that was cut": (json.dumps({**SECRET, "more": 1})[:-4], b64(PASSWORD)),
    **{f"{label}": (f"{label} {HEX64} {HEX96}", HEX96)
       for label in ("CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET")},
    "openssl's master key": (f"    Master-Key: {HEX96.upper()}", HEX96.upper()),
}  # fmt: skip
PLANTED = {**{name: (text, text.splitlines()[1]) for name, text in PEM.items()}, **TEXTS}

# -- what it is wrapped in ---------------------------------------------------------------------------
WRAPPINGS: dict[str, Callable[[bytes], str]] = {
    "base64": b64,
    "base64 after one more byte": lambda content: b64(b"\n" + content),
    "base64 after two more bytes": lambda content: b64(b"\n\n" + content),
    "base64 after a letter": lambda content: "x" + b64(content),
    "base64 after two letters": lambda content: "xy" + b64(content),
    "base64 for addresses": lambda content: base64.urlsafe_b64encode(content).decode(),
    "base64 in lines": lambda content: base64.encodebytes(content).decode(),
    "base64 twice": lambda content: b64(b64(content)),
    "gzip in base64": lambda content: b64(gzip.compress(content)),
    "base64 in gzip in base64": lambda content: b64(gzip.compress(b64(content).encode())),
}


def test_there_are_enough_of_them():
    assert len(PLANTED) >= 100


@pytest.mark.parametrize(("text", "part"), PLANTED.values(), ids=PLANTED)
def test_a_secret_in_plain_text(text, part):
    assert scrub.secrets(f"before\n{text}\nafter")
    clean = scrub.scrubbed(f"before\n{text}\nafter")
    assert part not in clean
    assert "before" in clean
    assert "after" in clean
    assert scrub.secrets(clean) == []


@pytest.mark.parametrize(("text", "part"), PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("deep", [1, 2])
def test_a_secret_in_json(text, part, deep):
    packed, hidden = text, part
    for _ in range(deep):
        packed, hidden = json.dumps({"stdout": packed}), json.dumps(hidden)[1:-1]
    assert scrub.secrets(packed)
    assert hidden not in scrub.scrubbed(packed)


@pytest.mark.parametrize(("text", "part"), PLANTED.values(), ids=PLANTED)
def test_a_secret_that_is_wrapped(text, part):
    for name, wrap in WRAPPINGS.items():
        wrapped = wrap(text.encode())
        assert scrub.secrets(f"before {wrapped} after"), name
        clean = scrub.scrubbed(f"before {wrapped} after")
        assert wrapped[len(wrapped) // 4 : len(wrapped) // 2] not in clean, name
        assert clean.startswith("before "), name


@pytest.mark.parametrize("content", DER.values(), ids=DER)
def test_a_key_in_der(content):
    for name, wrap in WRAPPINGS.items():
        wrapped = wrap(content)
        assert scrub.secrets(f"before {wrapped} after"), name
        assert wrapped[len(wrapped) // 4 : len(wrapped) // 2] not in scrub.scrubbed(f"before {wrapped} after"), name


def test_by_the_name_that_it_goes_under():
    held = {
        "headers": {"Set-Cookie": "a=b7c8d9e0f1; Path=/", "authorization": "Basic " + b64("a:b7c8")},
        "password": "12345678x",
    }
    assert scrub.clean(held) == {
        "headers": {"Set-Cookie": "a=scrubbed; Path=/", "authorization": "Basic ⟨a password⟩"},
        "password": "⟨a password⟩",
    }
    assert scrub.clean({"value": SECRET})["value"]["data"] == {"b": "⟨a Secret's value⟩"}


def test_what_stands_beside_a_secret_stays():
    for text in (TEXTS["Secrets in a list"][0], TEXTS["Secrets in YAML's list"][0], TEXTS["Secret among documents"][0]):
        assert "stays" in scrub.scrubbed(text)


json_with = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("⟨here⟩"),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=9), each, max_size=4),
    max_leaves=20,
)


@given(json_with, st.sampled_from(sorted(PLANTED)), st.text(max_size=20), st.text(max_size=20))
def test_wherever_it_is_planted_it_is_found(value, name, before, after):
    text, part = PLANTED[name]
    planted = scrub.each_text([value, "⟨here⟩"], lambda each: each.replace("⟨here⟩", f"{before}\n{text}\n{after}"))
    for packed in (scrub.clean(planted), json.loads(scrub.scrubbed(json.dumps(planted)))):
        assert part not in "".join(texts(packed))


def texts(value) -> list[str]:
    found: list[str] = []
    scrub.each_text(value, lambda each: found.append(each) or each)
    return found


# -- in linear time --------------------------------------------------------------------------------
HOSTILE = {
    "starts of tokens": "eyJ-", "addresses": "a@", "starts of keys": "-----BEGIN", "colons": ":", "users": "://a:",
    "whole starts": "-----BEGIN PRIVATE KEY-----", "quotation marks": '"', "backslashes": "\\", "names": "token=",
    "sessions": "session", "base64": "QUJD", "zeros": "\0", "lines": "\n", "dashes": "-", "dots": "a.",
    "braces": '{"data":',
    "Secrets": 'kind: Secret\ndata:\n  a: b\n', "cookies": "cookie: a", "bearers": "bearer ", "dollars": "$6$",
    "literals": "--from-literal=a", "lists": "[" , "spaces": " ", "authorizations": "authorization: a ", "eyJ": "eyJ.",
}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_with_the_text(piece):
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        return processor(lambda: scrub.scrubbed(text))

    seconds(1000)
    limit = 20 * min(seconds(50_000) for _ in range(3)) + 0.1
    assert least(lambda: seconds(400_000), limit) < limit


def test_what_took_twenty_seconds():
    assert least(lambda: processor(lambda: scrub.scrubbed("eyJ-" * 40_000)), 0.2) < 0.2


def test_a_megabyte_of_base64():
    content = b64(CHANCE.randbytes(750_000))
    assert least(lambda: processor(lambda: scrub.scrubbed(content)), 2) < 2
    assert scrub.scrubbed(content) == content


def test_a_bomb_in_base64():
    bomb = b64(gzip.compress(b"\0" * (1 << 28)))
    assert least(lambda: processor(lambda: scrub.scrubbed(bomb)), 2) < 2


# -- what is none ------------------------------------------------------------------------------------
def public(name: str, encoding: ser.Encoding) -> bytes:
    return KEYS[name].public_key().public_bytes(encoding, ser.PublicFormat.SubjectPublicKeyInfo)


NONE = {
    "a certificate": "-----BEGIN CERTIFICATE-----\n" + b64(CHANCE.randbytes(700)) + "\n-----END CERTIFICATE-----",
    "a public key": public("RSA", ser.Encoding.PEM).decode(),
    "an Ed25519 public key": b64(public("Ed25519", ser.Encoding.DER)),
    "an image's digest": "docker.io/istio/proxyv2@sha256:" + HEX64,
    "a UUID": "token-0cddb06a-01da-4b0c-a492-0de154ca4e57",
    "no base64": "a basic word, and basic abcdefghi",
    "prose": "Basic authentication takes a password: each bearer token is a secret; the session is over.",
    "a volume": 'name: istio-token\n  token: istio-token\n  secretName: curl-secret',
    "a table": "NAME   TYPE     DATA  AGE\ntoken  Opaque   1     3s",
    "a permission": "kubectl auth can-i get secrets/istio-ca-secret -n istio-system",
    "a variable": 'curl -H "Authorization: Bearer $TOKEN" -u "$USER:$PASSWORD" http://productpage:9080',
    "what a grep looks for": 'grep -rsl "PRIVATE KEY" /etc/istio',
}  # fmt: skip


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_what_is_no_secret_stays(text):
    assert scrub.secrets(text) == []
    assert scrub.scrubbed(text) == text


# -- the machine ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "folder", ["/home/anna", "/Users/anna", r"C:\Users\anna", r"C:\\Users\\anna", "/mnt/c/Users/anna", "/home/a.b-c"]
)
def test_home_folders_of_anybody(folder):
    assert scrub.scrubbed(f"in {folder}/a and") == "in ⟨folder⟩/a and"


@pytest.fixture
def machine(monkeypatch):
    def named(host: str, user: str) -> None:
        monkeypatch.setattr("socket.gethostname", lambda: host)
        monkeypatch.setattr("getpass.getuser", lambda: user)
        scrub._own_words.cache_clear()

    yield named
    scrub._own_words.cache_clear()


@pytest.mark.parametrize("told", ["annas-book.lan", "ANNAS-BOOK", "annas-book", "Anna92"])
def test_names_of_host_and_user_in_any_case(machine, told):
    machine("Annas-Book.lan", "anna92")
    assert scrub.scrubbed(f"at {told}:22") == "at ⟨host⟩:22"


@pytest.mark.parametrize("name", ["ratings", "default", "reviews", "vm", "productpage"])
def test_a_machine_that_is_called_as_a_part_of_the_course(machine, name):
    machine(name, name)
    assert scrub.scrubbed(f"{name}.default:9080") == f"{name}.default:9080"


def test_what_is_compared_does_not_depend_on_the_machine(machine):
    machine("annas-book", "anna92")
    assert scrub.compared("annas-book, anna92") == "annas-book, anna92"
