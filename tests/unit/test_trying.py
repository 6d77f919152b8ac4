"""A change tried on a recorded mesh: what its API server says of it, by the schemas that it told of its own kinds."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.api.admission import Kind
from labkit.api.recorded import DOCUMENT, Answer, Asked
from labkit.api.trying import tried
from labkit.recordings import files, state

UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
INVALID = 'VirtualService.networking.istio.io "mine" is invalid: '
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
RULES = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def mesh():
    """Lab 11 somewhere in its middle: there is a VirtualService reviews, and Bookinfo's Services."""
    recording = files.of("11-resilience")
    seen, at = state.Moments(state.of(recording), files.head(recording)).at(30)
    schemas = state.schemas(files.schemas())

    def ask(method: str, path: str, body: Any, sent: str = "application/json", **query: str) -> Answer:
        query = {"dryRun": "All", **query}
        return tried(seen, schemas, at, Asked(method, path, query, "", sent, json.dumps(body).encode()))

    return ask


def rule(name: str = "mine", **spec: Any) -> dict[str, Any]:
    spec = {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}], **spec}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}, "spec": spec}


def said(answer: Answer) -> tuple[int, str]:
    told = json.loads(answer.text)
    return answer.status, told.get("message", "")


def test_what_the_kinds_take_is_done_and_shown(mesh):
    assert mesh("POST", RULES, rule()).status == 201
    found = mesh("PATCH", f"{RULES}/reviews", {"spec": {"http": None, "hosts": ["a"]}}, MERGE)
    assert found.status == 200
    told = json.loads(found.text)
    assert told["spec"] == {"hosts": ["a"]}
    assert told["metadata"]["name"] == "reviews"
    assert mesh("PUT", f"{RULES}/reviews", rule("reviews")).status == 200
    assert json.loads(mesh("DELETE", f"{RULES}/reviews", {}).text)["metadata"]["name"] == "reviews"


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({"hostz": [], "htttp": []}, 400, 'VirtualService in version "v1" cannot be handled as a VirtualService: '
         'strict decoding error: unknown field "spec.hostz", unknown field "spec.htttp"'),
        ({"http": [{"rout": []}]}, 400, 'VirtualService in version "v1" cannot be handled as a VirtualService: strict '
         'decoding error: unknown field "spec.http[0].rout"'),
        ({"hosts": "a"}, 422,
         f'{INVALID}[spec.hosts: Invalid value: "string": spec.hosts in body must be of type array: "string", '
         f"{UNCHECKED}]"),
        ({"http": {"a": 1}}, 422,
         f'{INVALID}[spec.http: Invalid value: "object": spec.http in body must be of type array: "object", '
         f"{UNCHECKED}]"),
        ({"hosts": [True], "gateways": 3}, 422,
         f'{INVALID}[spec.hosts[0]: Invalid value: "boolean": spec.hosts[0] in body must be of type string: "boolean", '
         f'spec.gateways: Invalid value: "integer": spec.gateways in body must be of type array: "integer", '
         f"{UNCHECKED}]"),
        ({"http": [{"route": [{}]}]}, 422,
         f"{INVALID}[spec.http[0].route[0].destination: Required value, {UNCHECKED}]"),
    ],
)  # fmt: skip
def test_what_they_do_not_take_is_refused_by_its_place(mesh, spec, status, message):
    assert said(mesh("POST", RULES, rule(**spec))) == (status, message)


def test_a_value_that_is_none_of_the_known_ones_is_refused_with_those(mesh):
    body = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "a"},
            "spec": {"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "FAST"}}}}  # fmt: skip
    status, message = said(mesh("POST", RULES.replace("virtualservices", "destinationrules"), body))
    assert status == 422
    assert 'simple: Unsupported value: "FAST": supported values: "UNSPECIFIED"' in message


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", RULES, 409, 'virtualservices.networking.istio.io "reviews" already exists'),
        ("PUT", f"{RULES}/nosuch", 404, 'virtualservices.networking.istio.io "nosuch" not found'),
        ("DELETE", f"{RULES}/nosuch", 404, 'virtualservices.networking.istio.io "nosuch" not found'),
        ("POST", "/apis/networking.istio.io/v9/virtualservices", 405, "a recorded one"),
        ("POST", "/apis/networking.istio.io/v1/namespaces/default/nosuch", 404, "could not find"),
    ],
)
def test_what_is_there_or_not_counts(mesh, method, path, status, message):
    found = said(mesh(method, path, rule("reviews")))
    assert found[0] == status
    assert message in found[1]


@pytest.mark.parametrize("query", [{"dryRun": ""}, {"dryRun": "all"}])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_is_meant_is_refused(mesh, method, query):
    assert mesh(method, f"{RULES}/reviews", rule(), MERGE, **query).status == 405


@pytest.mark.parametrize("sent", ["application/apply-patch+yaml", "application/json-patch+json"])
def test_other_patches_are_refused(mesh, sent):
    assert mesh("PATCH", f"{RULES}/reviews", {}, sent).status == 415


@pytest.mark.parametrize("body", [[], "a", None, 3])
def test_a_body_that_is_no_object_is_refused(mesh, body):
    assert mesh("POST", RULES, body).status == 400


def test_a_strategic_merge_finds_a_lists_items_by_their_key(mesh):
    patch = {
        "spec": {"ports": [{"port": 9080, "name": "grpc"}, {"port": 1, "name": "new"}], "$setElementOrder/ports": []}
    }
    ports = json.loads(mesh("PATCH", f"{SERVICES}/reviews", patch, STRATEGIC).text)["spec"]["ports"]
    assert [(each["port"], each["name"]) for each in ports] == [(9080, "grpc"), (1, "new")]
    gone = {"spec": {"ports": [{"port": 9080, "$patch": "delete"}]}}
    assert json.loads(mesh("PATCH", f"{SERVICES}/reviews", gone, STRATEGIC).text)["spec"]["ports"] == []
    assert said(mesh("PATCH", f"{SERVICES}/reviews", {"spec": {"ports": [{"nam": "a"}]}}, STRATEGIC))[0] == 400


def test_an_object_in_protobuf_is_known_by_its_name():
    recording = files.of("11-resilience")
    seen, at = state.Moments(state.of(recording), files.head(recording)).at(30)

    def created(body: bytes) -> int:
        sent = "application/vnd.kubernetes.protobuf"
        return tried(seen, {}, at, Asked("POST", "/api/v1/namespaces", {"dryRun": "All"}, "", sent, body)).status

    def namespace(name: bytes) -> bytes:
        metadata = b"\x0a" + bytes([len(name)]) + name
        raw = b"\x0a" + bytes([len(metadata)]) + metadata
        return b"k8s\x00\x12" + bytes([len(raw)]) + raw

    assert created(namespace(b"default")) == 409
    assert created(namespace(b"mine")) == 201
    assert created(b"k8s\x00\xff\xff") == 400
    assert created(b"?") == 400


# -- a schema of whatever shape ---------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd$"), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
LEAF = st.sampled_from([{}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"},
                        {"x-kubernetes-int-or-string": True}, {"type": "object"}, {"enum": ["a", 1]}])  # fmt: skip
SCHEMAS = st.recursive(LEAF, lambda inner: st.one_of(
    st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner)},
                          optional={"required": st.just(["a"]), "additionalProperties": st.booleans() | inner}),
    st.fixed_dictionaries({"type": st.just("array"), "items": inner},
                          optional={"x-kubernetes-patch-merge-key": st.just("a")}),
), max_leaves=8)  # fmt: skip


def kind(schema: Any) -> Kind:
    own = {**schema, "x-kubernetes-group-version-kind": [{"kind": "It"}]}
    return Kind(json.dumps({"components": {"schemas": {"it": own}}}), "It")


@given(SCHEMAS, JSON, JSON)
def test_whatever_comes_is_judged(schema, value, patch):
    of_it = kind(schema)
    of_it.unknown(value)
    of_it.faults(value)
    of_it.patched(value, patch, strategic=True)


@given(JSON.filter(lambda value: isinstance(value, dict)), JSON)
def test_a_merge_patch_twice_is_as_once(value, patch):
    """https://www.rfc-editor.org/rfc/rfc7386: it says what is to be, and not what is to change."""
    once = kind({}).patched(value, patch, strategic=False)
    assert kind({}).patched(copy.deepcopy(once), patch, strategic=False) == once


def test_without_a_schema_it_is_said(mesh):
    recording = files.of("11-resilience")
    seen, at = state.Moments(state.of(recording), files.head(recording)).at(30)
    asked = Asked("POST", RULES, {"dryRun": "All"}, "", "application/json", json.dumps(rule()).encode())
    assert said(tried(seen, {(DOCUMENT, "/openapi/v3"): "{}"}, at, asked)) == (
        404, "the mesh is a recorded one, and which fields this kind has was not written down",
    )  # fmt: skip
