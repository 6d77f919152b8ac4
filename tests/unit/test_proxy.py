"""What is made of a proxy's configuration, and how its changes are timed."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import least, processor

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import proxy
from labkit.mesh.proxy import changes, describe, dump

TYPE = "type.googleapis.com/envoy."
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
REVIEWS = "outbound|9080||reviews.default.svc.cluster.local"
V1 = "outbound|9080|v1|reviews.default.svc.cluster.local"
PATH = "/apis/networking.istio.io/v1/namespaces/default"


# -- a proxy's answers, made small ----------------------------------------------------------------
def made_by(kind, name="reviews"):
    return {"filter_metadata": {"istio": {"config": f"{PATH}/{kind}/{name}"}}}


def route_config(clusters=((REVIEWS, 100),)):
    weighted = {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in clusters]}}
    return {
        "name": "9080",
        "virtual_hosts": [
            {
                "name": "reviews.default.svc.cluster.local:9080",
                "domains": ["reviews.default.svc.cluster.local", "reviews", "10.96.0.10"],
                "routes": [{"match": {"prefix": "/"}, "route": weighted, "metadata": made_by("virtual-service")}],
            },
            {
                "name": "allow_any",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}}],
            },
        ],
    }


def chain(destination, **match):
    name = "envoy.filters.network.tcp_proxy"
    if destination.startswith("Route"):
        name, config = "envoy.filters.network.http_connection_manager", {"rds": {"route_config_name": "9080"}}
    else:
        config = {"cluster": destination}
    return {"filter_chain_match": match, "filters": [{"name": name, "typed_config": config}]}


def listener():
    return {
        "name": "virtualInbound",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},  # noqa: S104
        "filter_chains": [
            chain("inbound|9080||", destination_port=9080, transport_protocol="tls"),
            chain("inbound|9080||", destination_port=9080, transport_protocol="raw_buffer"),
            chain("Route", server_names=["outbound_.9080_._.reviews"]),
        ],
    }


def endpoints(*addresses):
    found = [
        {"endpoint": {"address": {"socket_address": {"address": a, "port_value": 9080}}}, "health_status": "HEALTHY"}
        for a in addresses
    ]
    return {"cluster_name": REVIEWS, "endpoints": [{"locality": {}, "lb_endpoints": found}]}


def config_dump(routes=None, clusters=(), addresses=("10.0.0.1", "10.0.0.2"), secrets=(), version="1", time=0.0):
    """An answer to /config_dump?include_eds, in the shape that Envoy 1.40 gives it."""

    def item(field, message):
        return {"version_info": version, field: message, "last_updated": timestamp(time)}

    known = [{"name": REVIEWS, "type": "EDS", "metadata": made_by("destination-rule")}]
    known += [{"name": "PassthroughCluster", "type": "ORIGINAL_DST"}]
    known += [{"name": name, "type": "EDS"} for name in clusters]
    static = [{"name": "prometheus_stats", "type": "STATIC"}]
    learned = {**endpoints("10.9.9.9"), "cluster_name": "PassthroughCluster"}
    node = {"id": "sidecar~10.0.0.9~reviews.default", "extensions": [{"name": "envoy.filters.http.router"}]}
    dumped = {
        "BootstrapConfigDump": {"bootstrap": {"node": node, "admin": {"address": {}}}},
        "ClustersConfigDump": {
            "version_info": version,
            "static_clusters": [item("cluster", each) for each in static],
            "dynamic_active_clusters": [item("cluster", each) for each in known],
            "dynamic_warming_clusters": [item("cluster", {"name": "warming"})],
        },
        "EndpointsConfigDump": {
            "dynamic_endpoint_configs": [{"endpoint_config": each} for each in (endpoints(*addresses), learned)]
        },
        "ListenersConfigDump": {
            "version_info": version,
            "dynamic_listeners": [{"name": "virtualInbound", "active_state": item("listener", listener())}],
        },
        "ScopedRoutesConfigDump": {},
        "RoutesConfigDump": {
            "static_route_configs": [
                item("route_config", {"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]})
                for route in (
                    {"match": {"path": "/stats"}},
                    {"match": {"path": "/ready"}},
                    {"match": {"path": "/ready"}},
                )
            ],
            "dynamic_route_configs": [item("route_config", routes or route_config())],
        },
        "SecretsConfigDump": {
            "dynamic_active_secrets": [{**item("secret", each), "name": each["name"]} for each in secrets]
        },
    }
    return {"configs": [{"@type": f"{TYPE}admin.v3.{name}", **message} for name, message in dumped.items()]}


def timestamp(seconds):
    return (EPOCH + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed(answer):
    return dump.parse(json.dumps(answer), "reviews-v1-x", "default")


# -- the diff -------------------------------------------------------------------------------------
# Envoy goes through these in no order; through routes, and through filters, it does.
FREE = {"configs", "virtual_hosts", "domains", "clusters", "filter_chains", "lb_endpoints", "endpoints", "server_names"}


def is_free(field):
    return field in FREE or field.startswith(("static_", "dynamic_"))


def shuffled(value, rng, field=""):
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return {key: shuffled(item, rng, key) for key, item in items}
    if not isinstance(value, list):
        return value
    items = [shuffled(item, rng) for item in value]
    if is_free(field):
        rng.shuffle(items)
    return items


weights = st.lists(st.tuples(st.sampled_from([REVIEWS, V1, "a", "b"]), st.integers(0, 100)), unique_by=lambda w: w[0])
configurations = st.builds(
    config_dump,
    routes=st.builds(route_config, weights),
    clusters=st.lists(st.sampled_from([V1, "a", "b"]), unique=True),
    addresses=st.lists(st.sampled_from([f"10.0.0.{n}" for n in range(5)]), unique=True),
)


@given(configurations, st.randoms(use_true_random=False), st.text(max_size=3), st.floats(0, 1e6))
@settings(deadline=None)
def test_order_versions_and_times_make_no_difference(answer, rng, version, time):
    other = shuffled(answer, rng)
    for found in walk(other):
        found |= {
            field: value
            for field, value in (("version_info", version), ("last_updated", timestamp(time)))
            if field in found
        }
    assert changes.diff(parsed(answer), parsed(other)).empty


def walk(value):
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


@given(configurations, configurations)
@settings(deadline=None)
def test_a_diff_is_empty_only_between_equals_and_turns_around(one, other):
    before, after = parsed(one), parsed(other)
    there, back = changes.diff(before, after), changes.diff(after, before)
    keys = ["section", "resource", "field"]
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert dict(zip(there[keys].itertuples(index=False), there.change.map(turned), strict=True)) == dict(
        zip(back[keys].itertuples(index=False), back.change, strict=True)
    )
    assert there.empty == (what_matters(one) == what_matters(other))


def what_matters(answer):
    dumped = {each["@type"].rpartition(".")[2]: each for each in answer["configs"]}
    [routes] = dumped["RoutesConfigDump"]["dynamic_route_configs"]
    weighted = routes["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]["clusters"]
    clusters = [each["cluster"]["name"] for each in dumped["ClustersConfigDump"]["dynamic_active_clusters"]]
    hosts = dumped["EndpointsConfigDump"]["dynamic_endpoint_configs"][0]["endpoint_config"]["endpoints"][0]
    addresses = [each["endpoint"]["address"]["socket_address"]["address"] for each in hosts["lb_endpoints"]]
    return sorted((each["name"], each["weight"]) for each in weighted), sorted(clusters), sorted(addresses)


def test_a_weight_is_one_field_under_its_cluster():
    before, after = (config_dump(route_config([(V1, share), (REVIEWS, 100 - share)])) for share in (90, 50))
    found = changes.diff(parsed(before), parsed(after))
    assert list(found.columns) == ["section", "resource", "field", "change", "before", "after"]
    assert set(zip(found.section, found.resource, found.change, strict=True)) == {("routes", "9080", "changed")}
    fields = [field.rpartition("weighted_clusters.")[2] for field in found.field]
    assert dict(zip(fields, zip(found.before, found.after, strict=True), strict=True)) == {
        f"clusters[{V1}].weight": ("90", "50"),
        f"clusters[{REVIEWS}].weight": ("10", "50"),
    }


def test_the_order_of_routes_is_a_difference():
    before = route_config()
    first, after = before["virtual_hosts"][0]["routes"], copy.deepcopy(before)
    first.append({"match": {"prefix": "/late"}, "route": {"cluster": "a"}})
    after["virtual_hosts"][0]["routes"].insert(0, first[1])
    assert not changes.diff(parsed(config_dump(before)), parsed(config_dump(after))).empty


def test_a_new_first_endpoint_leaves_the_others_as_they_were():
    before, after = parsed(config_dump(addresses=["10.0.0.2"])), parsed(config_dump(addresses=["10.0.0.1", "10.0.0.2"]))
    found = changes.diff(before, after)
    assert set(found.change) == {"added"}
    assert all("[10.0.0.1:9080]" in field for field in found.field)


def test_a_whole_resource_is_one_row():
    found = changes.diff(parsed(config_dump()), parsed(config_dump(clusters=[V1])))
    assert found.to_dict("records") == [
        {"section": "clusters", "resource": V1, "field": "", "change": "added", "before": "", "after": ""}
    ]


# -- the snapshot ---------------------------------------------------------------------------------
def test_what_is_held_is_what_is_there():
    held = parsed(config_dump(time=1.5))
    assert set(held.sections) == set(dump.SECTIONS)
    assert set(held.sections["clusters"]) == {REVIEWS, "PassthroughCluster", "prometheus_stats"}
    assert len([name for name in held.sections["routes"] if name != "9080"]) == 2
    assert set(held.sections["endpoints"]) == {REVIEWS}, "what passing traffic teaches is no configuration"
    assert "extensions" not in held.sections["bootstrap"]["bootstrap"]["node"]
    assert held.updated["routes/9080"] == timestamp(1.5)


def test_what_is_refused_is_told_once_with_its_reason():
    answer = config_dump()
    listeners = answer["configs"][3]["dynamic_listeners"]
    listeners[0]["error_state"] = {"details": "no such filter", "last_update_attempt": timestamp(3)}
    listeners.append({"error_state": {"details": "no such filter"}})
    assert parsed(answer).rejected == (dump.Rejection("listeners", "virtualInbound", "no such filter", timestamp(3)),)


@pytest.mark.parametrize("answer", ["", "null", "[]", "{}", '{"configs": null}', '{"configs": 1}'])
def test_an_answer_of_another_shape_is_an_error_to_act_on(answer):
    with pytest.raises(LabError):
        dump.parse(answer, "reviews", "default")


def test_an_answer_that_breaks_off_is_an_error_to_act_on():
    with pytest.raises(LabError):
        dump.parse(json.dumps(config_dump())[:-20], "reviews", "default")


def test_an_endpoint_may_have_a_name_in_place_of_an_address():
    answer = config_dump()
    answer["configs"][2]["dynamic_endpoint_configs"].append(
        {"endpoint_config": {"cluster_name": "named", "endpoints": [{"lb_endpoints": [{"endpoint_name": "one"}]}]}}
    )
    assert [each["name"] for each in parsed(answer).sections["endpoints"]["named"]["endpoints"]] == ["one"]


def places(message: object) -> Iterator[tuple[dict, str]]:
    if isinstance(message, dict):
        yield from ((message, name) for name in message)
        for value in message.values():
            yield from places(value)
    elif isinstance(message, list):
        for each in message:
            yield from places(each)


@given(st.data())
def test_any_field_may_be_null_or_missing(data):
    """Protobuf's JSON leaves out what is not set, or has null for it."""
    answer = config_dump(secrets=[{"name": "default", "tls_certificate": {"certificate_chain": {"inline_bytes": "?"}}}])
    found = list(places(answer["configs"]))
    for number in data.draw(st.lists(st.sampled_from(range(len(found))), max_size=6)):
        message, name = found[number]
        if name in message:
            message[name] = None
        if data.draw(st.booleans()):
            message.pop(name, None)
    parsed(answer)


@pytest.mark.parametrize("text", ["?", "A", "===", "ü", "AAAA"])
def test_a_certificate_in_odd_base64_is_one_that_says_nothing(text):
    secret = {"name": "default", "tls_certificate": {"certificate_chain": {"inline_bytes": text}}}
    found = parsed(config_dump(secrets=[secret])).sections["secrets"]["default"]
    assert found == {"name": "default", "status": "ACTIVE"}


def test_a_dump_takes_time_in_proportion_to_its_length():
    def seconds(many):
        text = json.dumps(config_dump(clusters=[f"cluster-{number}" for number in range(many)]))
        return processor(lambda: dump.parse(text, "reviews", "default"))

    limit = 40 * min(seconds(10_000) for _ in range(3))  # ten times the length; the square of that would be a hundred
    assert least(lambda: seconds(100_000), limit) < limit


# -- the frames -----------------------------------------------------------------------------------
class Clock(Fake):
    """A mesh of answers, whose time passes when somebody sleeps."""

    def __init__(self, started=1000.0) -> None:
        super().__init__()
        self.time, self.unix_started = started, EPOCH.timestamp()
        self.started = started
        self.pods, self.answers, self.written, self.forwards = {}, {}, [], 0
        self.on_write = lambda: None

    def now(self):
        return self.time

    def unix_time(self):
        return self.unix_started + self.time - self.started

    def sleep(self, seconds):
        self.time += seconds

    def add(self, name, answer, namespace="default", labels=None, containers=("app",)):
        meta = {"name": name, "namespace": namespace, "uid": name, "labels": labels or {}, "creationTimestamp": "1"}
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        spec = {"containers": [{"name": each} for each in ("istio-proxy", *containers)]}
        self.pods[name] = {"kind": "Pod", "metadata": meta, "spec": spec, "status": status}
        self.answers[name] = answer

    @contextmanager
    def port_forward(self, namespace, pod, port):
        if pod not in self.pods:
            raise backend.KubernetesError(404, "NotFound", pod, "")
        self.forwards += 1

        def get(path):
            if pod not in self.pods:
                raise backend.Unreachable("gone", "", "")
            return self.answers[pod](path)

        try:
            yield get
        finally:
            self.forwards -= 1

    def kubernetes(self, method, path, body, query, content_type):
        if method != "GET":
            self.written.append((method, path, body))
            self.on_write()
            return json.dumps({**body, "metadata": {**body["metadata"], "resourceVersion": "2"}})
        if path.startswith("/apis/networking.istio.io/v1/namespaces") and path in getattr(self, "stored", {}):
            return json.dumps(self.stored[path])
        if path == "/apis/networking.istio.io/v1":
            return json.dumps(
                {"resources": [{"name": "virtualservices", "kind": "VirtualService", "namespaced": True}]}
            )
        words = path.split("/")
        if words[-1] == "pods":
            return json.dumps({"kind": "PodList", "items": [p for p in self.pods.values() if chosen(p, words, query)]})
        if words[-2] == "pods" and words[-1] in self.pods:
            return json.dumps(self.pods[words[-1]])
        raise backend.KubernetesError(404, "NotFound", path, "")


def chosen(pod, words, query):
    wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    in_scope = "namespaces" not in words or pod["metadata"]["namespace"] == words[words.index("namespaces") + 1]
    return in_scope and all(pod["metadata"]["labels"].get(key) == value for key, value in wanted)


@pytest.fixture
def mesh():
    with backend.use(Clock()) as clock:
        yield clock


def answering(mesh, answer, name="reviews"):
    mesh.add(name, lambda path: json.dumps(answer))


def test_listeners_are_told_by_chain(mesh):
    answering(mesh, config_dump())
    rows = proxy.listeners("reviews").to_dict("records")
    assert {(row["match"], row["destination"]) for row in rows} == {
        ("Trans: tls; Addr: *:9080", "Cluster: inbound|9080||"),
        ("Trans: raw_buffer; Addr: *:9080", "Cluster: inbound|9080||"),
        ("SNI: outbound_.9080_._.reviews", "Route: 9080"),
    }
    assert {(row["addresses"], row["port"]) for row in rows} == {("0.0.0.0", 15006)}  # noqa: S104


def test_routes_name_the_virtual_service_and_leave_out_what_lets_all_through(mesh):
    answering(mesh, config_dump())
    found = proxy.routes("reviews")
    [row] = found[found.name == "9080"].to_dict("records")
    assert (row["vhost_name"], row["match"]) == ("reviews.default.svc.cluster.local:9080", "/*")
    assert row["virtual_service"] == "reviews.default"


def test_a_virtual_host_without_routes_answers_404(mesh):
    config = {"name": "http.8080", "virtual_hosts": [{"name": "blackhole:80", "domains": ["*"]}]}
    answering(mesh, config_dump(config))
    assert "404" in set(proxy.routes("reviews").virtual_service)


def test_clusters_are_told_by_the_parts_of_their_names(mesh):
    answering(mesh, config_dump(clusters=[V1]))
    found = proxy.clusters("reviews").set_index(["service_fqdn", "subset"])
    host = "reviews.default.svc.cluster.local"
    assert tuple(found.loc[(host, "v1")]) == ("9080", "outbound", "EDS", "")
    assert found.loc[(host, "-")].destination_rule == "reviews.default"
    assert tuple(found.loc[("PassthroughCluster", "-")])[:3] == ("-", "-", "ORIGINAL_DST")


def test_endpoints_say_what_the_proxy_found_out_itself(mesh):
    def host(address, **health):
        socket = {"socket_address": {"address": address, "port_value": 9080}}
        return {"address": socket, "health_status": {"eds_health_status": "HEALTHY", **health}}

    hosts = [host("10.0.0.1"), host("10.0.0.2", failed_outlier_check=True)]
    mesh.add(
        "reviews",
        lambda path: json.dumps({"cluster_statuses": [{"name": REVIEWS, "host_statuses": hosts}, {"name": "empty"}]}),
    )
    assert proxy.endpoints("reviews").to_dict("records") == [
        {"endpoint": "10.0.0.1:9080", "status": "HEALTHY", "outlier_check": "OK", "cluster": REVIEWS},
        {"endpoint": "10.0.0.2:9080", "status": "HEALTHY", "outlier_check": "FAILED", "cluster": REVIEWS},
    ]


names = st.sampled_from(["upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_timeout"])


@given(st.dictionaries(names, st.integers(0, 2**53), min_size=1), st.sampled_from([";", ""]))
def test_each_counter_of_a_service_is_read_back(values, end_of_name):
    def stat(cluster, name, value):
        return {"name": f"cluster.{cluster}{end_of_name}.{name}", "value": value}

    kept = [stat(REVIEWS, *item) for item in values.items()]
    others = [stat(cluster, name, 7) for cluster in (V1, "inbound|9080||") for name in values]
    with backend.use(Clock()) as clock:
        clock.add("caller", lambda path: json.dumps({"stats": [*others, *kept, {"histograms": {}}]}))
        found = proxy.counters("caller", "reviews", *values)
    assert found.to_dict() == values
    assert (list(found.index), found.name) == (list(values), "reviews")


def test_a_counter_that_is_not_kept_is_no_zero(mesh):
    answering(mesh, {"stats": []}, "caller")
    with pytest.raises(LabError) as caught:
        proxy.counters("caller", "reviews", "upstream_rq_pending_overflow")
    assert "upstream_rq_pending_overflow" in caught.value.what


def test_requests_are_counted_by_endpoint(mesh):
    def host(address, *stats):
        socket = {"socket_address": {"address": address, "port_value": 9080}}
        return {"address": socket, "stats": [{"name": "rq_error"}, *stats]}

    hosts = [host("10.0.0.1", {"name": "rq_total", "value": "7"}), host("10.0.0.2", {"name": "rq_total"})]
    clusters = [{"name": REVIEWS, "host_statuses": hosts}, {"name": "inbound|9080||", "host_statuses": hosts[:1]}]
    answering(mesh, {"cluster_statuses": clusters}, "caller")
    found = proxy.endpoint_requests("caller", "reviews")
    assert found.to_dict() == {"10.0.0.1:9080": 7, "10.0.0.2:9080": 0}


def ejecting(mesh, *failed):
    """An Envoy that calls two endpoints, the second of which it ejects at those looks."""
    looks = iter(failed)

    def host(address, *, failed):
        socket = {"socket_address": {"address": address, "port_value": 9080}}
        health = {"eds_health_status": "HEALTHY"} | ({"failed_outlier_check": True} if failed else {})
        return {"address": socket, "health_status": health}

    def answer(path):
        hosts = [host("10.0.0.2", failed=next(looks)), host("10.0.0.1", failed=False)]
        statuses = [{"name": REVIEWS, "host_statuses": hosts}, {"name": "inbound|9080||", "host_statuses": hosts}]
        return json.dumps({"cluster_statuses": statuses})

    mesh.add("caller", answer)
    for name, ip in (("reviews-v1-x", "10.0.0.1"), ("reviews-v2-x", "10.0.0.2")):
        mesh.add(name, answer)
        mesh.pods[name]["status"]["podIP"] = ip


def test_an_ejected_endpoint_is_named_by_its_workload(mesh):
    ejecting(mesh, True)
    found = proxy.outliers("caller", "reviews")
    assert found[["workload", "endpoint", "outlier_check"]].to_numpy().tolist() == [
        ["reviews-v1-x", "10.0.0.1:9080", "OK"],
        ["reviews-v2-x", "10.0.0.2:9080", "FAILED"],
    ]


def test_endpoints_are_waited_for_until_they_are_back(mesh):
    said = []
    ejecting(mesh, True, True, False)
    found = proxy.wait_for_endpoints("caller", "reviews", passing=2, report=said.append)
    assert set(found.outlier_check) == {"OK"}
    assert said == ["reviews-v1-x: OK, reviews-v2-x: FAILED", "reviews-v1-x: OK, reviews-v2-x: OK"]


def test_an_endpoint_that_stays_away_is_told(mesh):
    ejecting(mesh, *[True] * 100)
    with pytest.raises(LabError) as caught:
        proxy.wait_for_endpoints("caller", "reviews", passing=2, timeout=5)
    assert "reviews-v2-x: FAILED" in caught.value.why


def test_what_an_object_became(mesh):
    answering(mesh, config_dump())
    [route] = proxy.made_from("reviews", "VirtualService", "reviews").to_dict("records")
    assert (route["section"], route["resource"]) == ("routes", "9080")
    assert route["field"] == "virtual_hosts[reviews.default.svc.cluster.local:9080].routes[0]"
    assert "weighted_clusters" in route["envoy"]
    assert list(proxy.made_from("reviews", "DestinationRule", "reviews").resource) == [REVIEWS]
    assert proxy.made_from("reviews", "VirtualService", "ratings").empty


def test_the_bootstrap_is_told_by_field(mesh):
    answering(mesh, config_dump())
    found = proxy.bootstrap("reviews").set_index("field").value
    assert found["node.id"] == "sidecar~10.0.0.9~reviews.default"


@given(st.lists(st.sampled_from(["istio", "h2c", "http/1.1"]), max_size=3), st.integers(1, 65535) | st.none())
def test_every_chain_has_a_match_in_words(protocols, port):
    match = {"application_protocols": protocols} | ({"destination_port": port} if port else {})
    words = describe.chain_match({"filter_chain_match": match})
    assert (words == "ALL") == (not protocols and port is None)
    assert port is None or f":{port}" in words


# -- certificates, and nothing private ------------------------------------------------------------
KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certificate(serial=7, authority=False):
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(serial)
        .not_valid_before(EPOCH - timedelta(days=1)).not_valid_after(EPOCH + timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )  # fmt: skip
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def inline(text):
    return {"inline_bytes": base64.b64encode(text).decode()}


def secret(name="default", serial=7):
    pair = {"certificate_chain": inline(certificate(serial)), "private_key": inline(PRIVATE), "password": inline(b"x")}
    return {"name": name, "tls_certificate": pair}


def test_secrets_are_told_by_their_certificates(mesh):
    root = {"name": "ROOTCA", "validation_context": {"trusted_ca": inline(certificate(255, authority=True))}}
    answering(mesh, config_dump(secrets=[secret(), root]))
    found = proxy.secrets("reviews")
    assert list(zip(found.resource_name, found.type, found.serial_number, strict=True)) == [
        ("ROOTCA", "CA", f"{255:032x}"),
        ("default", "Cert Chain", f"{7:032x}"),
    ]
    assert found.valid_cert.all()
    assert list(found.not_after) == [pd.Timestamp(EPOCH + timedelta(days=1))] * 2
    mesh.time += timedelta(days=2).total_seconds()
    assert not proxy.secrets("reviews").valid_cert.any()


def test_a_secret_that_is_not_there_yet_is_not_valid(mesh):
    answering(mesh, config_dump(secrets=[{"name": "kubernetes://cert"}], version="uninitialized"))
    [row] = proxy.secrets("reviews").to_dict("records")
    assert (row["status"], row["valid_cert"], row["serial_number"]) == ("UNINITIALIZED", False, "")


def test_a_rotated_certificate_differs_by_its_serial_number():
    before, after = (parsed(config_dump(secrets=[secret(serial=serial)])) for serial in (7, 8))
    assert list(changes.diff(before, after).field) == ["serial_number"]


def test_no_private_key_gets_into_anything():
    answer = config_dump(secrets=[secret()])
    answer["configs"][0]["bootstrap"]["transport_socket"] = secret()["tls_certificate"]
    held = parsed(answer)
    assert inline(PRIVATE)["inline_bytes"] in json.dumps(answer)
    assert "private_key" not in repr(held)
    assert inline(PRIVATE)["inline_bytes"] not in repr(held)


# -- which pod ------------------------------------------------------------------------------------
def test_a_pod_without_a_proxy_is_named(mesh):
    answering(mesh, config_dump())
    mesh.pods["reviews"]["spec"]["containers"] = [{"name": "app"}]
    with pytest.raises(LabError, match="istio-proxy"):
        proxy.snapshot("reviews")


def test_a_pod_that_is_not_there_is_named(mesh):
    with pytest.raises(LabError, match="gone-x"):
        proxy.snapshot("gone-x")


def test_a_deployment_means_its_newest_pod_in_any_namespace(mesh):
    for name, born in (("gateway-1", "1"), ("gateway-2", "2")):
        mesh.add(name, lambda path: json.dumps(config_dump()), "istio-system", containers=())
        mesh.pods[name]["metadata"] |= {"creationTimestamp": born, "ownerReferences": [{"name": "gateway"}]}
    assert proxy.snapshot("deploy/gateway.istio-system").pod == "gateway-2"


# -- istiod ---------------------------------------------------------------------------------------
def add_istiod(mesh, **resources):
    """resources: by proxy, then by type, what istiod's /debug/syncz has of it."""

    def syncz(path):
        assert path == "/debug/syncz"
        return json.dumps([{"proxy": name, "istio_version": "1.31.1", "resources": r} for name, r in resources.items()])

    mesh.add("istiod", syncz, "istio-system", {"app": "istiod"})
    mesh.pods["istiod"]["spec"]["containers"] = [{"name": "discovery"}]


CDS, LDS = f"{TYPE}config.cluster.v3.Cluster", f"{TYPE}config.listener.v3.Listener"
RDS, EDS = f"{TYPE}config.route.v3.RouteConfiguration", f"{TYPE}config.endpoint.v3.ClusterLoadAssignment"


def test_the_sync_status_has_a_word_for_each_type(mesh):
    states = {
        CDS: {"sent": "n1", "acked": "n1"},
        LDS: {"sent": "n2", "acked": "n1"},
        RDS: {"sent": "n2", "acked": "n1", "lastError": "no such cluster\n"},  # as Envoy ends its refusals
        EDS: {},
    }
    add_istiod(mesh, **{"reviews.default": states, "idle.default": {}})
    [reviews] = proxy.sync_status().to_dict("records")  # who asked for nothing is a client of istiod's, and no proxy
    assert [reviews[kind] for kind in ("cds", "lds", "rds", "eds")] == ["SYNCED", "STALE", "ERROR", "NOT SENT"]
    assert reviews["error"] == "no such cluster"


def test_what_a_proxy_refused_comes_from_both_who_know(mesh):
    answer = config_dump()
    answer["configs"][3]["dynamic_listeners"][0]["error_state"] = {"details": "bad filter"}
    answering(mesh, answer)
    error = {"sent": "n", "lastError": "bad cluster", "sentTime": "2026-01-01T00:00:05.123456789Z"}
    add_istiod(mesh, **{"reviews.default": {CDS: error, LDS: {**error, "lastError": "bad filter, too"}}})
    found = proxy.rejected("reviews").fillna(pd.Timestamp(0, tz="UTC"))
    assert list(zip(found.section, found.resource, found.details, strict=True)) == [
        ("listeners", "virtualInbound", "bad filter"),
        ("clusters", "", "bad cluster"),
    ]
    assert found.last_update_attempt[1].second == 5


def test_no_istiod_is_said(mesh):
    answering(mesh, config_dump())
    for ask in (proxy.sync_status, lambda: proxy.rejected("reviews"), lambda: proxy.propagate(VIRTUAL_SERVICE)):
        with pytest.raises(LabError, match="istiod is not running"):
            ask()


# -- the clock ------------------------------------------------------------------------------------
VIRTUAL_SERVICE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "reviews"},
    "spec": {"hosts": ["reviews"], "http": [{"route": []}]},
}


class Envoy:
    """A proxy that takes up new routes `after` seconds from the write; its clock is `skew` seconds ahead."""

    def __init__(self, mesh, after, skew=0.0, notes_time=True):
        self.mesh, self.after, self.skew, self.notes_time = mesh, after, skew, notes_time
        self.written_at = None

    @property
    def has_it(self):
        return self.written_at is not None and self.mesh.time >= self.written_at + self.after

    def __call__(self, path):
        self.mesh.time += 0.002  # an answer takes its time
        if path.startswith("/stats"):
            return f"cluster.xds-grpc;.upstream_cx_rx_bytes_total: {200 if self.has_it else 100}\n"
        since_start = self.mesh.unix_started - EPOCH.timestamp() - self.mesh.started
        time = since_start + self.written_at + self.after + self.skew if self.has_it and self.notes_time else 0.0
        if "include_eds" in path:
            addresses = ["10.0.0.1", "10.0.0.2"] if self.has_it else ["10.0.0.1"]
            return json.dumps(config_dump(addresses=addresses, time=time))
        if "dynamic_route_configs" in path:
            return json.dumps({"configs": [{"route_config": {"name": "9080"}, "last_updated": timestamp(time)}]})
        return "{}"


def with_envoys(mesh, **envoys):
    add_istiod(mesh)
    for name, envoy in envoys.items():
        mesh.add(name, envoy)

    def written():
        for envoy in envoys.values():
            envoy.written_at = mesh.time

    mesh.on_write = written


@given(st.lists(st.floats(0, 3), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_the_time_is_envoys_own_to_the_millisecond(delays):
    with backend.use(Clock()) as mesh:
        with_envoys(mesh, **{f"pod-{n}": Envoy(mesh, delay) for n, delay in enumerate(delays)})
        found = proxy.propagate(VIRTUAL_SERVICE).set_index("pod")
    assert all(abs(found.milliseconds[f"pod-{n}"] - delay * 1000) <= 1.5 for n, delay in enumerate(delays))
    assert set(found.resource) == {"routes/9080"}
    assert mesh.time - mesh.started < max(delays) + 1, "it ends when they are there, not when the time is up"
    assert mesh.forwards == 0


@given(st.floats(0, 3), st.floats(-1e5, 1e5))
@settings(deadline=None, max_examples=30)
def test_whatever_its_clock_says_the_time_is_as_good_as_the_looks(delay, skew):
    with backend.use(Clock()) as mesh:
        with_envoys(mesh, reviews=Envoy(mesh, delay, skew))
        [found] = proxy.propagate(VIRTUAL_SERVICE).milliseconds
    assert abs(found - delay * 1000) <= 150


@pytest.mark.parametrize("delays", [(0.1, 0.4), (0.2,), (1.5, 1.6, 1.7)])
def test_commands_in_a_block_are_timed_and_waited_for(delays):
    with backend.use(Clock()) as mesh:
        with_envoys(mesh, idle=Envoy(mesh, 1000), **{f"pod-{n}": Envoy(mesh, delay) for n, delay in enumerate(delays)})
        with proxy.propagation() as clock:
            mesh.on_write()
            written = mesh.time
            mesh.time += 0.05  # the command ends a moment later
        found = clock.times.set_index("pod").milliseconds
    assert set(found.index) == {f"pod-{n}" for n in range(len(delays))}
    assert all(abs(found[f"pod-{n}"] - delay * 1000) <= 5 for n, delay in enumerate(delays))
    assert max(delays) < mesh.time - written < max(delays) + 2
    assert repr(clock).startswith(f"{len(delays)} prox")


def test_a_block_that_changes_nothing_ends_soon_and_says_so(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 1000))
    with proxy.propagation() as clock:
        pass
    assert clock.times.empty
    assert repr(clock) == "no proxy's configuration changed"
    assert mesh.time - mesh.started < 5


def test_a_block_that_fails_is_not_waited_for(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 1000))
    with pytest.raises(ZeroDivisionError), proxy.propagation(["reviews"]):
        _ = 1 / 0
    assert mesh.time - mesh.started < 1


def test_endpoints_of_which_envoy_notes_no_time_are_timed_by_the_looks(mesh):
    envoy = Envoy(mesh, 0.7, notes_time=False)
    with_envoys(mesh, reviews=envoy)
    envoy.written_at = mesh.time
    found = proxy.wait_until_applied(lambda held: len(held.sections["endpoints"][REVIEWS]["endpoints"]) == 2)
    assert 700 <= found.milliseconds[0] <= 850


def test_what_is_true_already_takes_no_time(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0))
    assert list(proxy.wait_until_applied(lambda held: True).milliseconds) == [0]


def test_what_never_comes_true_is_not_blamed_on_an_object(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0))
    with pytest.raises(LabError, match="reviews") as raised:
        proxy.wait_until_applied(lambda held: False, timeout=1)
    assert "object" not in str(raised.value)


def test_an_object_that_stands_there_already_is_not_waited_for(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 1000))
    path = f"{PATH}/virtualservices/reviews"
    mesh.stored = {path: {**VIRTUAL_SERVICE, "metadata": {"name": "reviews", "resourceVersion": "1"}}}
    assert list(proxy.propagate(VIRTUAL_SERVICE).milliseconds) == [0]
    assert mesh.time - mesh.started < 1


def test_what_is_applied_is_what_kubectl_would_apply(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0.1))
    proxy.propagate(VIRTUAL_SERVICE)
    [(method, path, body)] = mesh.written
    assert (method, path) == ("POST", f"{PATH}/virtualservices")
    last_applied = body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(last_applied)["spec"] == VIRTUAL_SERVICE["spec"]


def test_a_kind_that_the_cluster_does_not_know_is_an_error_to_act_on(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0.1))
    with pytest.raises(LabError, match="VirtualServise"):
        proxy.propagate({**VIRTUAL_SERVICE, "kind": "VirtualServise"})
    assert mesh.forwards == 0


def test_an_object_waits_for_the_proxies_that_it_is_for(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0.1), ratings=Envoy(mesh, 0.2))
    mesh.add("gateway", Envoy(mesh, 0.1), "istio-system", {"istio": "ingressgateway"}, ())
    mesh.pods["ratings"]["metadata"]["labels"] = {"app": "ratings"}
    assert set(pods_for(VIRTUAL_SERVICE)) == {"reviews", "ratings"}
    selector = {"selector": {"matchLabels": {"app": "ratings"}}}
    assert pods_for(
        {**VIRTUAL_SERVICE, "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "spec": selector}
    ) == ["ratings"]
    gateway = {**VIRTUAL_SERVICE, "kind": "Gateway", "spec": {"selector": {"istio": "ingressgateway"}}}
    assert pods_for(gateway) == ["gateway"]
    mesh.stored = {f"{PATH}/gateways/front": gateway}
    spec = {"gateways": ["front"], "hosts": ["*"]}
    assert pods_for({**VIRTUAL_SERVICE, "spec": spec}) == ["gateway"]
    assert pods_for({**VIRTUAL_SERVICE, "apiVersion": "v1", "kind": "ConfigMap"}) == []


def test_an_object_of_the_gateway_api_waits_for_its_parents_and_a_service_for_everybody(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0.1))
    mesh.add("front", Envoy(mesh, 0.1), "default", {"gateway.networking.k8s.io/gateway-name": "front"}, ())
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    gateway, service = {"name": "front"}, {"kind": "Service", "group": "", "name": "reviews"}
    assert pods_for({**route, "spec": {"parentRefs": [gateway]}}) == ["front"]
    assert pods_for({**route, "spec": {"parentRefs": [service]}}) == ["reviews"]
    assert pods_for({**route, "kind": "ReferenceGrant", "spec": {}}) == ["reviews", "front"]
    assert pods_for({"apiVersion": "v1", "kind": "Service"}) == ["reviews", "front"]
    assert pods_for({**route, "kind": "Gateway", "spec": {}}) == []


def pods_for(document):
    from labkit.mesh.proxy.pods import concerned

    return [
        pod["metadata"]["name"] for pod in concerned({**document, "metadata": {"name": "x", "namespace": "default"}})
    ]


def test_an_object_for_nobody_is_an_error_to_act_on(mesh):
    add_istiod(mesh)
    with pytest.raises(LabError, match="No proxy"):
        proxy.propagate(VIRTUAL_SERVICE)


def test_a_proxy_that_refuses_is_shown_with_its_reason(mesh):
    class Refusing(Envoy):
        """News come, and nothing changes."""

        def __call__(self, path):
            return super().__call__(path) if path.startswith("/stats") else "{}"

    envoy = Refusing(mesh, 0.5)
    with_envoys(mesh, reviews=envoy)
    old = {LDS: {"sent": "n1", "lastError": "known since yesterday"}}
    add_istiod(mesh, **{"reviews.default": old})
    quiet = mesh.answers["istiod"]
    add_istiod(mesh, **{"reviews.default": {**old, RDS: {"sent": "n2", "lastError": "no cluster v9"}}})
    angry = mesh.answers["istiod"]
    mesh.answers["istiod"] = lambda path: (angry if envoy.has_it else quiet)(path)
    with pytest.raises(LabError, match="no cluster v9") as raised:
        proxy.propagate(VIRTUAL_SERVICE)
    assert "yesterday" not in raised.value.why
    assert mesh.time - mesh.started < 2, "told at once, not when the time is up"
    assert mesh.forwards == 0


def test_a_change_that_makes_no_difference_to_a_proxy_ends_in_time(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 1), ratings=Envoy(mesh, 1e6))
    with pytest.raises(LabError, match="ratings") as raised:
        proxy.propagate(VIRTUAL_SERVICE, timeout=5)
    assert "reviews" not in raised.value.what
    assert mesh.time - mesh.started < 8


def test_istiod_that_goes_away_meanwhile_is_the_reason(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 1e6))
    gone = mesh.on_write
    mesh.on_write = lambda: (gone(), mesh.pods.pop("istiod"))
    with pytest.raises(LabError, match="istiod is not running"):
        proxy.propagate(VIRTUAL_SERVICE, timeout=2)


def test_a_pod_that_goes_away_meanwhile_is_not_waited_for(mesh):
    with_envoys(mesh, reviews=Envoy(mesh, 0.5), ratings=Envoy(mesh, 1e6))
    written = mesh.on_write
    mesh.on_write = lambda: (written(), mesh.pods.pop("ratings"))
    found = proxy.propagate(VIRTUAL_SERVICE).set_index("pod").milliseconds
    assert found.isna().to_dict() == {"reviews": False, "ratings": True}


def test_a_proxy_that_is_there_and_does_not_answer_is_an_error(mesh):
    class Silent(Envoy):
        def __call__(self, path):
            if self.written_at is not None:
                raise backend.Unreachable("no answer", "", "")
            return super().__call__(path)

    with_envoys(mesh, reviews=Silent(mesh, 1))
    with pytest.raises(backend.Unreachable):
        proxy.propagate(VIRTUAL_SERVICE)
    assert mesh.forwards == 0


def test_the_wait_says_how_far_it_is(mesh):
    said = []
    with_envoys(mesh, reviews=Envoy(mesh, 0.2), ratings=Envoy(mesh, 0.9))
    proxy.propagate(VIRTUAL_SERVICE, report=said.append)
    assert [text[0] for text in said] == ["0", "1", "2"]


def test_a_manifest_of_several_objects_is_one_change(mesh, tmp_path):
    with_envoys(mesh, reviews=Envoy(mesh, 0.2))
    manifest = tmp_path / "both.yaml"
    manifest.write_text("\n---\n".join(json.dumps({**VIRTUAL_SERVICE, "metadata": {"name": name}}) for name in "ab"))
    assert len(proxy.propagate(manifest)) == 1
    assert len(mesh.written) == 2


# -- service discovery ----------------------------------------------------------------------------------
class Scaled(Clock):
    """A Service `ping` whose pods are ready at these seconds; the Envoy of `curl` knows each so much later."""

    def __init__(self, ready_at, later):
        super().__init__()
        self.ready_at, self.later = ready_at, later
        self.add("curl", self.endpoints)

    def addresses(self, later=0.0):
        passed = self.time - self.started
        return [f"10.0.0.{n}" for n, at in enumerate(self.ready_at) if passed + 1e-6 >= at + later]

    def endpoints(self, path):
        hosts = [
            {
                "address": {"socket_address": {"address": address, "port_value": 8080}},
                "health_status": {"eds_health_status": "HEALTHY"},
            }
            for address in self.addresses(self.later)
        ]
        names = ["outbound|8080||ping.default.svc.cluster.local", "outbound|8079||ping.default.svc.cluster.local"]
        others = [{"name": "outbound|80||other.default.svc.cluster.local", "host_statuses": hosts}]
        return json.dumps({"cluster_statuses": [{"name": n, "host_statuses": hosts} for n in names] + others})

    def kubernetes(self, method, path, body, query, content_type):
        if path.endswith("/services/ping"):
            return json.dumps({"spec": {"selector": {"app": "ping"}}})
        if query.get("labelSelector") != "app=ping":
            return super().kubernetes(method, path, body, query, content_type)
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        items = [{"metadata": {"name": f"ping-{a[-1]}"}, "status": {**ready, "podIP": a}} for a in self.addresses()]
        return json.dumps({"kind": "PodList", "items": items})


@given(st.lists(st.floats(0.5, 9), min_size=1, max_size=4), st.floats(0, 3))
@settings(deadline=None, max_examples=30)
def test_discovery_tells_when_each_pod_was_ready_and_when_an_envoy_knew_it(ready_at, later):
    with backend.use(Scaled([0.0, *ready_at], later)) as mesh:
        if later > 0:
            mesh.time += later
        began = mesh.time - mesh.started
        found = proxy.discovery("ping", 1 + len(ready_at), "curl").set_index("pod")
    assert tuple(found.loc["ping-0"]) == (0, 0, 0)
    for number, at in enumerate(ready_at, start=1):
        row = found.loc[f"ping-{number}"]
        assert abs(row.ready_seconds - max(0, at - began)) <= 0.3
        assert abs(row.endpoint_seconds - max(0, at + later - began)) <= 0.3
        assert row.behind_seconds >= 0


def test_discovery_that_does_not_come_about_tells_how_far_it_got():
    with backend.use(Scaled([0.0, 1000.0], 0.0)), pytest.raises(LabError, match="1 of 2 pods ready, 1 endpoints"):
        proxy.discovery("ping", 2, "curl", timeout=2)
