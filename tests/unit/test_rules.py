"""The rules that kinds have of their own, in CEL, on a recorded mesh: told as the API server tells them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulebreakers import BROKEN, KEPT, body

from labkit.api import rules
from labkit.api.admission import Kind
from labkit.api.recorded import DOCUMENT, Answer, Asked
from labkit.api.trying import tried
from labkit.recordings import files, state

LAST = 10**6
MERGE = "application/merge-patch+json"
CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
# What CEL has of itself, with its macros, and what labkit.api.rules adds
KNOWN = {
    "has", "all", "exists", "exists_one", "filter", "size", "contains", "startsWith", "endsWith", "matches", "duration",
    "int", "isURL", "url", "getScheme", "isIP", "split", "substring",
}  # fmt: skip


@cache
def schemas() -> Any:
    return state.schemas(files.schemas())


@cache
def seen(name: str) -> tuple[Any, float]:
    recording = files.of(name)
    return state.Moments(state.of(recording), files.head(recording)).at(LAST)


def ask(method: str, path: str, sent: Any, media: str = "application/json") -> Answer:
    """Of lab 25, at its end: there is a GatewayClass istio, and every kind that the course has."""
    asked = Asked(method, path, {"dryRun": "All"}, "", media, json.dumps(sent).encode())
    return tried(seen("25-tls-and-routes-at-the-edge")[0], schemas(), 0.0, asked)


def create(kind: str, spec: str) -> Answer:
    sent = body(kind, spec)
    version = f"/apis/{sent['apiVersion']}"
    resources = json.loads(seen("25-tls-and-routes-at-the-edge")[0][DOCUMENT, version])["resources"]
    resource = next(each["name"] for each in resources if each["kind"] == kind)
    return ask("POST", f"{version}/namespaces/default/{resource}", sent)


def told(answer: Answer) -> set[str]:
    return {f"{each['field']}: {each['message']}" for each in json.loads(answer.text)["details"]["causes"]}


@pytest.mark.parametrize(("kind", "spec", "said"), BROKEN)
def test_what_breaks_a_rule_is_told_as_a_live_mesh_tells_it(kind, spec, said):
    answer = create(kind, spec)
    assert answer.status == 422
    assert told(answer) == set(said)


@pytest.mark.parametrize(("kind", "spec"), KEPT)
def test_what_keeps_them_all_is_taken(kind, spec):
    assert create(kind, spec).status == 201


def test_what_is_left_out_is_there_as_the_kind_says():
    spec = json.loads(create("HTTPRoute", "rules: [{}]").text)["spec"]
    assert spec["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]


def test_a_rule_about_a_change_is_asked_of_changes_alone():
    def changed(controller: str) -> Answer:
        return ask("PATCH", f"{CLASSES}/istio", {"spec": {"controllerName": controller}}, MERGE)

    held = json.loads(ask("PATCH", f"{CLASSES}/istio", {}, MERGE).text)["spec"]["controllerName"]
    assert changed(held).status == 200
    assert told(changed("a.example/b")) == {'spec.controllerName: Invalid value: "a.example/b": Value is immutable'}
    new = {"kind": "GatewayClass", "metadata": {"name": "new"}, "spec": {"controllerName": "a.example/b"}}
    assert ask("POST", CLASSES, new).status == 201


# -- the course's kinds -----------------------------------------------------------------------------
def of_each_kind(value: Any) -> Iterator[str]:
    for name, each in value.items() if isinstance(value, dict) else enumerate(value):
        if name == "x-kubernetes-validations" and isinstance(each, list):
            yield from (rule["rule"] for rule in each)
        elif isinstance(each, dict | list):
            yield from of_each_kind(each)


@cache
def courses() -> list[str]:
    documents = [text for (_, name), text in schemas().items() if name.startswith("/openapi/v3/apis/")]
    return sorted({rule for text in documents for rule in of_each_kind(json.loads(text))})


def test_each_rule_of_the_courses_kinds_can_be_asked():
    assert len(courses()) > 100
    for rule in courses():
        assert rules._compiled(rule)
        assert set(re.findall(r"\b([A-Za-z_]+)\(", re.sub(r"'[^']*'|\"[^\"]*\"", "", rule))) <= KNOWN, rule


@pytest.mark.parametrize("name", ["14-enterprise-security", "25-tls-and-routes-at-the-edge"])
def test_what_the_live_mesh_took_breaks_none(name):
    held = [(path, json.loads(text)["object"]) for (path, _), text in seen(name)[0].items()
            if re.match(r"/apis/[^/]*(istio\.io|gateway\.networking\.k8s\.io)/", path)]  # fmt: skip
    assert len(held) >= 5
    for path, object_ in held:
        kind = Kind(schemas()[DOCUMENT, f"/openapi/v3{path.rpartition('/')[0]}"], object_["kind"])
        assert kind.defaulted(object_) == object_
        assert kind.faults(object_) == []


# -- a kind of one's own ----------------------------------------------------------------------------
def said(schema: Any, value: Any, before: Any = None) -> list[str]:
    own = {"type": "object", "x-kubernetes-group-version-kind": [{"kind": "It"}], "properties": {"a": schema}}
    of_it = Kind(json.dumps({"components": {"schemas": {"it": own}}}), "It")
    found = of_it.faults({"a": value}, None if before is None else {"a": before})
    return [f"{each.field}: {each.message}" for each in found]


def ruled(rule: str, type_: str = "object", **more: Any) -> Any:
    return {"type": type_, "x-kubernetes-validations": [{"rule": rule, **more}]}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "a: Invalid value: failed rule: has(self.b)"),
        ({"message": " b, please "}, "a: Invalid value: b, please"),
        ({"message": "b", "messageExpression": "'of ' + string(self.size())"}, "a: Invalid value: of 0"),
        ({"message": "b", "messageExpression": "self.c"}, "a: Invalid value: b"),
        ({"message": "b", "reason": "FieldValueRequired"}, "a: Required value: b"),
        ({"message": "b", "reason": "FieldValueForbidden", "fieldPath": ".b"}, "a.b: Forbidden: b"),
        ({"message": "b", "reason": "FieldValueDuplicate"}, "a: Duplicate value"),
    ],
)
def test_a_rule_is_told_in_its_own_words(more, message):
    assert said(ruled("has(self.b)", **more), {}) == [message]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("self.c == 1", "no such key: c"), ("self.b[3] == 1", "index out of bounds: 3"),
        ("1 / self.b.size() == 1", "division by zero"), ("9223372036854775807 + self.b.size() > 0", ""),
        ("'ab'.substring(1, 3) == ''", "index out of range: 3"),
        ("'ab'.substring(2, 1) == ''", "invalid substring range. start: 2, end: 1"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_answered_is_told_with_why(rule, why):
    wanted = [f'a: Invalid value: "object": {why} evaluating rule: {rule}'] if why else []
    assert said(ruled(rule), {"b": []}) == wanted


def test_where_it_stands_is_told():
    a_number = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "more"}]}
    of_all = {"type": "object", "properties": {
        "b": {"type": "array", "items": a_number}, "c": {"type": "object", "additionalProperties": a_number},
    }}  # fmt: skip
    assert said(of_all, {"b": [1, 0], "c": {"x/y": -1, "z": 1}}) == [
        "a.b[1]: Invalid value: 0: more", "a.c[x/y]: Invalid value: -1: more",
    ]  # fmt: skip


def test_a_name_that_cel_keeps_for_itself_is_written_otherwise():
    """https://kubernetes.io/docs/reference/using-api/cel/#escaping"""
    fields = {name: {"type": "string"} for name in ("namespace", "a-b", "c.d", "e__f", "1")}
    rule = "self.__namespace__ == 'x' && self.a__dash__b == 'x' && self.c__dot__d == self.e__underscores__f"
    of_it = {**ruled(rule), "properties": fields}
    assert said(of_it, dict.fromkeys(fields, "x")) == []
    assert said(of_it, {**dict.fromkeys(fields, "x"), "namespace": "y"}) != []


def test_what_is_null_is_not_there():
    of_it = {**ruled("!has(self.b) && has(self.c)"), "properties": {"b": {}, "c": {"nullable": True}}}
    assert said(of_it, {"b": None, "c": None}) == []


def test_what_stays_as_it_was_breaks_no_rule():
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting"""
    a_list = {"type": "array", "x-kubernetes-list-map-keys": ["k"], "items": ruled("self.v > 0", message="more")}
    assert said(a_list, [{"k": 1, "v": 0}, {"k": 2, "v": 0}], [{"k": 2, "v": 0}]) == ["a[0]: Invalid value: more"]
    assert said(a_list, [{"k": 2, "v": 0}], [{"k": 2, "v": 0}]) == []


def test_a_rule_may_ask_whether_there_was_something_before():
    grows = ruled("!oldSelf.hasValue() || self > oldSelf.value()", "integer", optionalOldSelf=True)
    assert [bool(said(grows, *values)) for values in ((1,), (2, 1), (1, 2))] == [False, False, True]
    grows = ruled("self > oldSelf", "integer")
    assert [bool(said(grows, *values)) for values in ((1,), (2, 1), (1, 2))] == [False, False, True]


@pytest.mark.parametrize(
    ("url", "is_one", "scheme"),
    [
        # https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-url-library
        ("https://user@example.com:80/path?query=val#fragment", True, "https"), ("/absolute-path", True, ""),
        ("https://a:b:c/", False, ""), ("../relative-path", False, ""), ("", False, ""),
        ("OCI://[::1]:5000/x", True, "oci"),
        ("http://a b/", False, ""), ("http://a/%zz", False, ""), ("mailto:a", True, "mailto"), ("a", False, ""),
    ],
)  # fmt: skip
def test_urls_are_those_that_kubernetes_takes(url, is_one, scheme):
    assert said(ruled(f"isURL(self) == {str(is_one).lower()}", "string"), url) == []
    if is_one:
        assert said(ruled(f"url(self).getScheme() == '{scheme}'", "string"), url) == []


@pytest.mark.parametrize(
    ("address", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:1.2.3.4", False), ("fe80::1%eth0", False), ("a.example", False)],
)
def test_addresses_are_those_that_kubernetes_takes(address, is_one):
    assert said(ruled(f"isIP(self) == {str(is_one).lower()}", "string"), address) == []


# -- bad input --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.matches('(a+)+$') || true", "a" * 500_000 + "b"), ("self.matches('(.*a){25}b')||true", "a" * 100_000),
        ("self.matches('((a{99}){99}){99}') || true", "a"), ("self.matches('(')||true", "a"),
    ],
)  # fmt: skip
def test_no_expression_holds_it_up(rule, value):
    began = time.monotonic()
    assert said(ruled(rule, "string"), value) == []
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "rule",
    [
        "self.all(a, self.all(b, self.all(c, a == b && b == c)))", "(" * 40 + "false" + ")" * 40, "(", "no_such(self)",
        "false" + " " * rules.LONGEST, "no_such",
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_taken_for_kept(rule):
    began = time.monotonic()
    assert said(ruled(rule, "array"), [1] * 5_000) == []
    assert time.monotonic() - began < 1


def test_of_too_many_values_as_many_are_looked_at_as_there_may_be():
    few = {"type": "array", "maxItems": 1, "items": {"type": "string", "pattern": "^b$"}}
    found = said(few, ["a"] * 100_000)
    assert [each.partition(" ")[0] for each in found] == ["a:", "a[0]:"]
    assert found[0] == "a: Too many: 100000: must have at most 1 item"


def test_an_object_has_a_second_for_its_rules(monkeypatch):
    monkeypatch.setattr(rules, "PATIENCE", -1.0)
    many = {"type": "array", "items": ruled("self > 0", "integer")}
    assert said(many, [1] * 100) == [f'a[0]: Invalid value: "integer": {rules.SPENT}']


def test_without_the_library_rules_are_not_asked(monkeypatch):
    """It comes as wheels, and there may be none for the newest Python."""
    monkeypatch.setattr(rules, "_compiled", lambda text: __import__("no_such_library"))
    assert said(ruled("false"), {}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=12,
)  # fmt: skip


@given(st.integers(0), JSON, JSON)
def test_whatever_comes_is_judged(number, value, before):
    rule = {"rule": courses()[number % len(courses())], "message": "no"}
    for each in rules.broken([rule], "object", value, before, rules.Budget()):
        assert each.message.startswith("Invalid value: ")


@given(st.text())
def test_whatever_a_field_is_called_cel_can_read_it(name):
    assert re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", rules.escaped(name))


@given(st.text())
def test_whatever_text_comes_is_a_url_or_none(text):
    scheme, why = rules._parsed(text)
    assert why or scheme or text.startswith("/")
