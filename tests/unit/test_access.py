"""Who may do what: the requests that ask, the log that tells of a denial, the tokens that users show."""

from __future__ import annotations

import json

import jwt
import pandas  # noqa: F401  imported before hypothesis starts its clocks
import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st
from timing import least, processor

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import access, access_log, tokens


class Mesh(Fake):
    """Callers whose requests get the status that `answer(caller, method, url)` says, and a gateway that says 200."""

    def __init__(self, answer=lambda caller, method, url: 200) -> None:
        super().__init__()
        self.answer, self.asked = answer, []

    def run(self, argv, **_):
        caller = argv[argv.index("--namespace") + 1], argv[argv.index("--container") - 1].removeprefix("deploy/")
        requests = " ".join(argv[argv.index("curl") + 1 :]).split("--next")
        statuses = [self.answer(caller, "POST" if "--data" in each else "GET", each.split()[-1]) for each in requests]
        return backend.Completed(
            tuple(argv), 0, "".join(f"{status:03}\n" for status in statuses if status >= 0), "", 0.0
        )

    def gateway(self):
        return "http://127.0.0.1:8080"

    def http(self, method, url, headers, body, timeout):
        self.asked.append((method, url, headers))
        return backend.Response(200, {}, "", 0.0)


def test_each_caller_asks_each_service_and_the_gateway_leads_to_one():
    with backend.use(Mesh()) as mesh:
        found = access.ask()
    asked = found.groupby("caller").size()
    assert asked.pop(access.GATEWAY) == 2
    assert set(asked) == {8}
    assert set(asked.index) == set(access.CALLERS)
    assert [method for method, _, _ in mesh.asked] == ["GET", "POST"]
    assert found.observed.eq(True).all()


def test_what_was_answered_stands_at_what_was_asked():
    def only_reviews_reads_ratings(caller, method, url):
        return 200 if (caller, method) == (("default", "reviews-caller"), "GET") and "//ratings." in url else 403

    with backend.use(Mesh(only_reviews_reads_ratings)):
        found = access.ask(access.CALLERS)
    [allowed] = found[found.observed.eq(True)].to_dict("records")
    assert (allowed["caller"], allowed["method"], allowed["service"]) == ("reviews", "GET", "ratings")


@pytest.mark.parametrize(
    ("status", "observed"), [(200, True), (405, True), (404, True), (403, False), (503, None), (0, None)]
)
def test_an_error_is_neither_allowed_nor_denied(status, observed):
    with backend.use(Mesh(lambda *_: status)):
        found = access.ask(["curl"])
    assert all(each is observed for each in found.observed)


def test_a_caller_that_is_not_there_is_told():
    with backend.use(Mesh(lambda *_: -1)), pytest.raises(backend.CommandFailed):
        access.ask(["stranger"])
    with pytest.raises(LabError):
        access.ask(["nobody"])


def line(values: dict[str, str]) -> str:
    """As Istio's format has it: the time in brackets, in quotation marks what may hold a space."""
    quoted = {"request", "upstream_transport_failure_reason", "x_forwarded_for", "user_agent", "x_request_id",
              "authority", "upstream_host"}  # fmt: skip
    words = [f'"{values[field]}"' if field in quoted else values[field] for field in access_log.FIELDS[1:]]
    return f"[{values['start_time']}] {' '.join(words)}"


def denial(path: str) -> str:
    values = {
        "request": f"GET {path} HTTP/1.1",
        "response_code": "403",
        "response_code_details": "rbac_access_denied_matched_policy[none]",
        "downstream_local_address": "[fd00:10:244::5]:9080",
        "user_agent": "curl/8.16.0 (some more)",
    }
    return line({**dict.fromkeys(access_log.FIELDS, "-"), **values})


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [([], ["a"], ["a"]), (["a"], ["a"], []), (["a", "b"], ["b", "c"], ["c"]), (["a"], ["c"], ["c"])],
)
def test_new_lines_are_those_behind_the_last_that_was_there_even_where_the_log_was_cut(before, after, new):
    assert access_log._new(after, before) == new


words = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"], exclude_characters='"[]'), min_size=1)


@given(st.fixed_dictionaries(dict.fromkeys(access_log.FIELDS, words)))
def test_every_line_is_read_back(values):
    assert access_log.parse(line(values)) == values


@pytest.mark.parametrize("agent", ['curl "8" (a, b)', '"', '" "', 'a" "b" "c', '[x] "-" -', ""])
def test_a_user_agent_may_hold_quotation_marks(agent):
    values = {**dict.fromkeys(access_log.FIELDS, "-"), "user_agent": agent, "request": "GET /a HTTP/1.1"}
    assert access_log.parse(line(values)) == values


def test_a_long_line_of_quotation_marks_is_read_in_no_time():
    def read() -> None:
        access_log.parse('[x] "' + '" ' * 100_000)
        access_log.parse(line({**dict.fromkeys(access_log.FIELDS, "-"), "user_agent": '" ' * 100_000}))

    assert least(lambda: processor(read), 3) < 3


@given(st.text())
def test_what_is_no_such_line_is_passed_over(text):
    assert set(access_log.parse(text)) in (set(), set(access_log.FIELDS))


def test_brackets_inside_a_field_are_the_fields_own():
    found = access_log.parse(denial("/ratings/0"))
    assert found["response_code_details"] == "rbac_access_denied_matched_policy[none]"
    assert found["downstream_local_address"] == "[fd00:10:244::5]:9080"


class Pod(Fake):
    """A pod with a proxy, whose log has these lines, the last one from the second look on."""

    def __init__(self, *lines) -> None:
        super().__init__()
        self.lines, self.looks, self.time = lines, 0, 0.0

    def kubernetes(self, method, path, body, query, content_type):
        if not path.endswith("/log"):
            spec = {"containers": [{"name": "istio-proxy"}]}
            return json.dumps({"metadata": {"name": "ratings", "namespace": "default"}, "spec": spec})
        self.looks += 1
        return "\n".join(["2026-01-01 info ads: PUSH", *self.lines[: None if self.looks > 1 else -1]])

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def test_the_newest_line_for_the_path_is_waited_for():
    with backend.use(Pod(denial("/ratings/1"), denial("/ratings/0?from=curl"))) as pod:
        found = access_log.entry("ratings", "/ratings/0?from=curl").set_index("field").value
    assert found.request == "GET /ratings/0?from=curl HTTP/1.1"
    assert pod.looks == 2


def test_a_line_that_never_comes_is_told():
    with backend.use(Pod(denial("/ratings/1"))), pytest.raises(LabError):
        access_log.entry("ratings", "/ratings/0")


def hop(at: str, cluster: str, request_id: str = "id-1", path: str = "/page?from=00", took: int = 7) -> str:
    values = {"start_time": f"2026-01-01T00:00:0{at}Z", "upstream_cluster": cluster, "x_request_id": request_id,
              "request": f"GET {path} HTTP/1.1", "response_code": "200", "duration": str(took)}  # fmt: skip
    return line({**dict.fromkeys(access_log.FIELDS, "-"), **values})


class Hops(Pod):
    """A gateway and three pods; an earlier request for the page was logged; the last line of the last pod is late."""

    LOGS = {  # noqa: RUF012
        "gateway": [
            hop("0", "outbound|9080||page", "id-0"),
            hop("9", "outbound|9080||page", "id-2", "/other"),
            hop("1", "outbound|9080||page"),
        ],
        "page": [hop("2", "inbound|9080||"), hop("3", "outbound|9080||reviews")],
        "reviews": [hop("4", "inbound|9080||"), hop("5", "outbound|9080||ratings")],
        "ratings": [hop("6", "inbound|9080||")],
    }

    opened = False

    def gateway(self):
        return "http://127.0.0.1:8080"

    def http(self, method, url, headers, body, timeout):
        self.opened = True
        return backend.Response(200, {}, "", 0.01)

    def kubernetes(self, method, path, body, query, content_type):
        pods = [{"metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
                 "spec": {"containers": [{"name": "istio-proxy"}]}, "status": {"phase": "Running"}}
                for name in self.LOGS]  # fmt: skip
        if path.endswith("/pods"):
            return json.dumps({"kind": "PodList", "apiVersion": "v1", "items": pods[1:]})
        if not path.endswith("/log"):
            return json.dumps(pods[0])
        name = path.split("/")[-2]
        if name == "gateway" and not self.opened:
            return "\n".join(self.LOGS[name][:-1])
        self.looks += name == "ratings"
        return "\n".join(self.LOGS[name][: None if self.looks > 1 or name != "ratings" else 0])


def test_a_page_is_opened_and_followed_from_proxy_to_proxy_until_each_call_was_logged_at_both_ends():
    with backend.use(Hops()) as hops:
        found = access_log.follow("/page?from=00", gateway="gateway.default")
    assert list(found.proxy) == ["gateway", "page", "page", "reviews", "reviews", "ratings"]
    assert list(found.direction) == ["outbound", "inbound"] * 3
    assert set(found.milliseconds) == {7}
    assert hops.looks == 2


class SameMoment(Hops):
    """The pod that is called is asked first, and its line has the same time as its caller's."""

    LOGS = {  # noqa: RUF012
        "gateway": [hop("0", "outbound|9080||page", "id-0"), hop("1", "outbound|9080||reviews")],
        "page": [hop("3", "inbound|9080||", took=5)],
        "ratings": [],
        "reviews": [hop("2", "inbound|9080||"), hop("3", "outbound|9080||page", took=6)],
    }

    def kubernetes(self, method, path, body, query, content_type):
        if path.endswith("/gateway/log"):
            return "\n".join(self.LOGS["gateway"][: 2 if self.opened else 1])
        return super().kubernetes(method, path, body, query, content_type)


def test_of_lines_of_the_same_moment_the_one_that_waits_for_the_other_is_first():
    with backend.use(SameMoment()):
        found = access_log.follow("/page?from=00", gateway="gateway.default")
    assert list(found.proxy) == ["gateway", "reviews", "reviews", "page"]


def test_as_many_lines_are_not_both_ends_of_each_call():
    """reviews has told of its call already, and productpage only of the one before."""
    lines = [("", "outbound|9080||productpage.default"), ("", "outbound|9080||details.default"),
             ("details", "inbound|9080||"), ("reviews", "inbound|9080||")]  # fmt: skip
    told = [{"app": app, "upstream_cluster": cluster} for app, cluster in lines]
    assert not access_log._answered(told)
    missing = [("productpage", "inbound|9080||"), ("", "outbound|9080|v1|reviews.default")]
    assert access_log._answered([*told, *({"app": app, "upstream_cluster": cluster} for app, cluster in missing)])


ISSUER = tokens.Issuer("https://login.bookshop.example")


def text(token: tokens.Token) -> str:
    """What the gateway gets to see of it."""
    with backend.use(Mesh()) as mesh:
        tokens.present({"it": token}, "/api")
    [(_, _, headers)] = mesh.asked
    return headers["Authorization"].removeprefix("Bearer ")


def verified(token: tokens.Token) -> dict:
    """As anybody can who has the issuer's public key."""
    [key] = jwt.PyJWKSet.from_json(ISSUER.jwks).keys
    return jwt.decode(text(token), key, algorithms=["RS256"], issuer=ISSUER.name)


def test_a_token_holds_what_it_claims():
    token = ISSUER.token("reader")
    assert verified(token) == token.claims
    assert token.claims["sub"] == "reader"


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: ISSUER.token("reader", seconds=-3600), jwt.ExpiredSignatureError),
        (lambda: ISSUER.token("reader", issuer="https://elsewhere.example"), jwt.InvalidIssuerError),
        (lambda: ISSUER.token("reader").claiming(sub="admin"), jwt.InvalidSignatureError),
        (lambda: tokens.Issuer(ISSUER.name).token("reader"), jwt.InvalidSignatureError),
    ],
    ids=["expired", "another issuer", "tampered", "another key"],
)
def test_each_bad_token_is_bad_for_its_own_reason(make, fault):
    """Made within the test, for a token is good for ten minutes, and the tests of a slow machine take longer."""
    with pytest.raises(fault):
        verified(make())


def test_a_tampered_token_claims_what_the_forger_wants():
    claims = jwt.decode(text(ISSUER.token("reader").claiming(sub="admin")), options={"verify_signature": False})
    assert claims["sub"] == "admin"


def test_neither_the_private_key_nor_a_token_is_ever_shown():
    token = ISSUER.token("reader")
    signature = text(token).rpartition(".")[2]
    for shown in (repr(token), str(token), repr([token]), repr(ISSUER), str(ISSUER)):
        assert signature not in shown
    [key] = json.loads(ISSUER.jwks)["keys"]
    assert not {"d", "p", "q", "dp", "dq", "qi"} & key.keys()


def test_a_request_without_a_token_has_no_such_header():
    with backend.use(Mesh()) as mesh:
        [row] = tokens.present({"none": None}, "/api").to_dict("records")
    assert "Authorization" not in (mesh.asked[0][2] or {})
    assert row == {"token": "none", "status": 200, "answer": ""}
