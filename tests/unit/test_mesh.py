"""What the mesh room makes of raw answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas  # noqa: F401  imported before hypothesis starts its clocks
import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.course import components
from labkit.mesh import diff, helm, injection, istio, leftovers, providers
from labkit.progress import Progress
from labkit.settings import ISTIO

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_nothing_differs_from_itself(value):
    assert diff.diff(value, value).empty


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers()), st.dictionaries(st.sampled_from("abcdef"), st.integers())
)
def test_a_diff_is_the_other_way_round_for_the_other_way_round(before, after):
    there = diff.diff(before, after).set_index("field")
    back = diff.diff(after, before).set_index("field")
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert dict(there.change.map(turned)) == dict(back.change)
    assert dict(there.before) == dict(back.after)


def test_a_new_first_container_leaves_the_others_unchanged():
    before = {"containers": [{"name": "curl", "image": "a"}]}
    after = {"containers": [{"name": "istio-proxy", "image": "p"}, {"name": "curl", "image": "a"}]}
    found = diff.diff(before, after)
    assert set(found.field) == {"containers[istio-proxy].image"}
    assert set(found.change) == {"added"}


def test_arguments_are_one_field():
    found = diff.diff({"args": ["proxy"]}, {"args": ["proxy", "sidecar"]})
    assert found.to_dict("records") == [
        {"field": "args", "change": "changed", "before": "proxy", "after": "proxy sidecar"}
    ]


def test_a_value_that_becomes_null_is_a_change():
    assert list(diff.diff({"a": 1}, {"a": None}).change) == ["changed"]


def test_an_item_and_its_absence_differ_even_if_the_item_is_null():
    assert list(diff.diff({"b": 1}, {"a": None, "b": 1}).change) == ["added"]


LOG = """info Running iptables restore with the following input:
* nat
-N ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-port 15053
-A OUTPUT -j ISTIO_OUTPUT
COMMIT
info Final iptables state (IPv4):
-A OUTPUT -j ISTIO_OUTPUT
"""


def test_the_rules_are_those_that_were_put_in_place_each_once():
    rules = injection.parse_rules(LOG)
    assert rules.to_dict("records") == [
        {"chain": "ISTIO_REDIRECT", "match": "-p tcp", "target": "REDIRECT", "to_port": "15001"},
        {"chain": "ISTIO_OUTPUT_DNS", "match": "-p udp --dport 53", "target": "REDIRECT", "to_port": "15053"},
        {"chain": "OUTPUT", "match": "everything", "target": "ISTIO_OUTPUT", "to_port": ""},
    ]


NATIVE = """add chain inet istio-proxy-nat istio-redirect
add rule inet istio-proxy-nat istio-redirect meta l4proto tcp counter redirect to :15001
add rule inet istio-proxy-nat output counter jump istio-output
add rule inet istio-proxy-nat istio-output skuid 1337 counter return
add rule inet istio-proxy-mangle istio-tproxy meta l4proto tcp tproxy to :15006
add rule
"""


def test_the_rules_of_nftables_own_are_read_too():
    assert injection.parse_rules(NATIVE).to_dict("records")[:4] == [
        {"chain": "istio-redirect", "match": "meta l4proto tcp", "target": "REDIRECT", "to_port": "15001"},
        {"chain": "output", "match": "everything", "target": "istio-output", "to_port": ""},
        {"chain": "istio-output", "match": "skuid 1337", "target": "RETURN", "to_port": ""},
        {"chain": "istio-tproxy", "match": "meta l4proto tcp", "target": "TPROXY", "to_port": "15006"},
    ]


class Answers(Fake):
    """An API server that knows these paths, and a shell that prints these manifests."""

    def __init__(self, objects=None, printed=None) -> None:
        super().__init__()
        self.objects, self.printed = objects or {}, printed or {}

    def kubernetes(self, method, path, body, query, content_type):
        if path not in self.objects:
            raise backend.KubernetesError(404, "NotFound", path, "")
        return json.dumps(self.objects[path])

    def run(self, argv, **_):
        return backend.Completed(tuple(argv), 0, self.printed[argv[-1]], "", 0.0)


def pod_with_token_volume(volume):
    return {"metadata": {"name": volume}, "spec": {"volumes": [{"name": volume, "projected": {}}]}}


def test_the_name_of_a_pods_token_volume_is_no_difference():
    before, after = map(pod_with_token_volume, ("kube-api-access-x7k2p", "kube-api-access-9wq4z"))
    assert injection.pod_diff(before, after).empty


def test_webhooks_that_match_nothing_are_left_out():
    def webhook(name, namespace_selector):
        return {
            "name": name,
            "namespaceSelector": namespace_selector,
            "objectSelector": {"matchExpressions": [{"key": "sidecar", "operator": "NotIn", "values": ["false"]}]},
            "failurePolicy": "Fail",
        }

    asked = {"matchExpressions": [{"key": "rev", "operator": "DoesNotExist"}], "matchLabels": {"inject": "enabled"}}
    retired = {"matchLabels": {injection.DEACTIVATED: "never-match"}}
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    items = [{"webhooks": [webhook("asked", asked), webhook("retired", retired)]}]
    with backend.use(Answers({path: {"kind": "List", "items": items}})):
        [row] = injection.webhooks().to_dict("records")
    assert row == {
        "webhook": "asked",
        "namespace_labels": "inject=enabled, !rev",
        "pod_labels": "sidecar notin (false)",
        "if_istiod_is_silent": "Fail",
    }


def test_profiles_are_compared_down_to_the_settings_inside_a_config_map():
    def manifest(settings):
        config = {"kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": settings, "template": "{{ if"}}
        record = {"kind": "ConfigMap", "metadata": {"name": "values"}, "data": {"all": settings}}
        return f"{json.dumps(config)}\n---\n{json.dumps(record)}\n"

    printed = {"profile=one": manifest("log: none"), "profile=two": manifest("log: all")}
    with backend.use(Answers(printed=printed)):
        [row] = istio.profile_diff("one", "two").to_dict("records")
    assert row == {
        "object": "ConfigMap/istio", "field": "data.mesh.log", "change": "changed", "before": "none", "after": "all",
    }  # fmt: skip


def test_a_kubernetes_gateway_beside_istio_is_a_leftover():
    gateway = {"kind": "GatewayList", "items": [{"metadata": {"name": "bookinfo"}}]}
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/istio-system/gateways"
    with backend.use(Answers({path: gateway, "/api/v1/namespaces": {"kind": "NamespaceList", "items": []}})):
        [left] = leftovers.find("default", [])
    assert (left.namespace, left.name) == ("istio-system", "bookinfo")


def test_an_envoy_filter_is_a_leftover_though_its_kind_is_no_v1():
    found = {"kind": "EnvoyFilterList", "items": [{"metadata": {"name": "refused"}}]}
    path = "/apis/networking.istio.io/v1alpha3/namespaces/default/envoyfilters"
    with backend.use(Answers({path: found, "/api/v1/namespaces": {"kind": "NamespaceList", "items": []}})):
        [left] = leftovers.find("default", [])
    assert str(left) == "envoyfilter refused"


@pytest.mark.parametrize(("env", "ambient"), [({}, False), ({"PILOT_ENABLE_AMBIENT": "true"}, True)])
def test_an_istio_in_ambient_mode_is_another_than_the_courses(monkeypatch, env, ambient):
    def deployment(name: str) -> dict:
        settings = [{"name": key, "value": value} for key, value in env.items()] if name == "istiod" else []
        container = {"image": f"docker.io/istio/any:{ISTIO}", "env": settings}
        return {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}},
                "status": {"availableReplicas": 1}}  # fmt: skip

    found = [deployment(name) for name in (istio.CONTROL_PLANE, *istio.GATEWAYS)]
    monkeypatch.setattr(istio.objects, "find", lambda *words, **options: {"kind": "Namespace"})
    monkeypatch.setattr(istio.injection, "injectors", lambda: [{}])
    monkeypatch.setattr(istio.objects, "list_", lambda *words, **options: found)
    assert istio.is_ambient(found[0]) is ambient
    assert istio.is_installed() is not ambient
    assert not istio.is_ambient({})


def test_ambient_mode_is_left_by_labels_and_bookinfo_is_made_anew(monkeypatch):
    class Labelled(Fake):
        def kubernetes(self, method, path, body, query, content_type):
            asked.append((method, path, body["metadata"]["labels"]))
            return ""

    asked, removed = [], []
    monkeypatch.setattr(components, "BOOKINFO", replace(components.BOOKINFO, remove=lambda progress: removed.append(1)))
    env = [{"name": "PILOT_ENABLE_AMBIENT", "value": "true"}]
    for istiod in ({}, {"spec": {"template": {"spec": {"containers": [{"env": env}]}}}}):
        with backend.use(Labelled()):
            components.leave_ambient(istiod, Progress(lambda event: None, lambda: 0.0))
    labels = {"istio.io/dataplane-mode": None, "istio.io/use-waypoint": None}
    assert asked == [("PATCH", "/api/v1/namespaces/default", labels)]
    assert removed == [1]


@pytest.mark.parametrize(("replicas", "scaled"), [(0, True), (1, False), (None, False)])
def test_a_control_plane_scaled_to_zero_is_told_from_one_that_is_not_there(replicas, scaled):
    istiod = {"metadata": {"name": "istiod"}, "spec": {"replicas": replicas}}
    path = "/apis/apps/v1/namespaces/istio-system/deployments/istiod"
    with backend.use(Answers({} if replicas is None else {path: istiod})):
        assert istio.is_scaled_to_zero(istio.control_plane()) is scaled


@pytest.mark.parametrize("namespaces", [[], [{"metadata": {"name": "istio-system"}}]])
def test_istio_in_part_is_not_ready_and_is_taken_away_all_the_same(namespaces, monkeypatch):
    """Another profile, another version: lab 03 leaves both, where a reader stops in the middle."""
    monkeypatch.setattr(components.istio, "is_installed", lambda: False)
    monkeypatch.setattr(components.objects, "find", lambda kind, name, *_, **__: next(iter(namespaces), None))
    assert not components.ISTIO.is_ready()
    assert components.ISTIO.is_there() is bool(namespaces)


class Settings(Fake):
    """The mesh's settings, as the ConfigMap has them, and as they were patched."""

    def __init__(self, mesh: str) -> None:
        super().__init__()
        self.mesh = mesh

    def kubernetes(self, method, path, body, query, content_type):
        assert path == "/api/v1/namespaces/istio-system/configmaps/istio"
        if method == "PATCH":
            self.mesh = body["data"]["mesh"]
        return json.dumps({"data": {"mesh": self.mesh}})


def test_providers_of_access_logs_are_taken_out_of_the_meshs_settings_and_nothing_else():
    provider = "- name: json\n  envoyFileAccessLog: {path: /dev/stdout}\n"
    others = "extensionProviders:\n- name: jaeger\n  opentelemetry: {port: 4317}\n"
    with backend.use(Settings(f"accessLogFile: /dev/stdout\n{others}{provider}")) as cluster:
        assert providers.names() == ["json"]
        components.remove_providers(Progress(lambda event: None, backend.now))
        assert providers.names() == []
    kept = [{"name": "jaeger", "opentelemetry": {"port": 4317}}]
    assert yaml.safe_load(cluster.mesh) == {"accessLogFile": "/dev/stdout", "extensionProviders": kept}


@pytest.mark.parametrize("mesh", ["", "accessLogFile: /dev/stdout", "extensionProviders: []"])
def test_settings_without_such_a_provider_are_left_alone(mesh):
    with backend.use(Settings(mesh)) as cluster:
        components.remove_providers(Progress(lambda event: None, backend.now))
    assert cluster.mesh == mesh


class TwoControlPlanes(Answers):
    """Beside the default one stands canary, with a tag that leads to it, and one that leads to the default."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[list[str]] = []

    def kubernetes(self, method, path, body, query, content_type):
        selector = query["labelSelector"].split(",")
        if path.endswith("/deployments"):
            labels = [{"istio.io/rev": "canary"}]
        elif "istio.io/tag" in selector:
            labels = [
                {"istio.io/rev": rev, "istio.io/tag": tag} for tag, rev in (("prod", "canary"), ("old", "default"))
            ]
        else:
            assert "!istio.io/tag" in selector
            labels = [{"istio.io/rev": "canary"}, {"istio.io/rev": "half-made"}]
        return json.dumps({"kind": "List", "items": [{"metadata": {"labels": each}} for each in labels]})

    def run(self, argv, **_):
        self.ran.append(argv[1:])
        return backend.Completed(tuple(argv), 0, "", "", 0.0)


def test_other_control_planes_and_all_tags_are_removed_the_tags_first():
    said: list[str] = []
    with backend.use(TwoControlPlanes()) as cluster:
        components.remove_revisions(Progress(lambda event: said.append(event.stage), backend.now))
    assert cluster.ran == [
        ["tag", "remove", "old", "-y"],
        ["tag", "remove", "prod", "-y"],
        ["uninstall", "--revision", "canary", "-y"],
        ["uninstall", "--revision", "half-made", "-y"],
    ]
    assert "remove Istio's revision canary" in said


class WithReleases(Fake):
    """Helm's Secrets, by what they keep, and the objects of a base chart that may have been taken over."""

    def __init__(self, adopter: str, *kept: tuple[str, str, str, int]) -> None:
        self.adopter, self.kept, self.ran = adopter, kept, []

    def kubernetes(self, method, path, body, query, content_type):
        if path.endswith("/secrets"):
            assert query == {"labelSelector": "owner=helm"}
            items = [
                {
                    "metadata": {
                        "namespace": namespace,
                        "labels": {"name": name, "status": status, "version": str(number)},
                    }
                }
                for namespace, name, status, number in self.kept
            ]
            return json.dumps({"kind": "SecretList", "items": items})
        if path.endswith("/serviceaccounts/istio-reader-service-account"):
            return json.dumps({"metadata": {"annotations": {"meta.helm.sh/release-name": self.adopter}}})
        return json.dumps({"kind": "List", "items": []})

    def run(self, argv, **_):
        self.ran.append(" ".join(argv))
        return backend.Completed(tuple(argv), 0, "", "", 0.0)


@pytest.fixture(autouse=True)
def with_helm(monkeypatch):
    monkeypatch.setattr(components.release, "has_helm", lambda: True)


def removed(cluster: WithReleases) -> list[str]:
    with backend.use(cluster):
        progress = Progress(lambda event: None, backend.now)
        components.remove_releases(progress)
        components.take_back(progress)
    return cluster.ran


def test_helms_releases_are_uninstalled_in_whatever_state_they_are():
    kept = (("shop", "edge", "deployed", 1), ("mesh", "b", "superseded", 9), ("mesh", "b", "pending-upgrade", 10))
    assert removed(WithReleases("", *kept)) == [
        "helm uninstall b --namespace mesh --ignore-not-found",
        "helm uninstall edge --namespace shop --ignore-not-found",
    ]
    with backend.use(WithReleases("", *kept)):
        found = helm.release("b", "mesh")
    assert found == helm.Release("mesh", "b", "pending-upgrade", 10)


def test_what_helm_took_over_is_given_back_and_never_uninstalled():
    ran = removed(WithReleases("base", ("istio-system", "base", "deployed", 1)))
    assert ran[0] == "kubectl delete secrets --namespace istio-system --selector owner=helm,name=base"
    assert not [command for command in ran if "uninstall" in command]
    assert "customresourcedefinitions" in ran[1]
    assert "istio-reader-service-account" in ran[-1]
    assert all(command.endswith("meta.helm.sh/release-name- meta.helm.sh/release-namespace-") for command in ran[1:])


def test_where_helm_did_nothing_nothing_is_done():
    assert removed(WithReleases("")) == []


def test_in_somebody_elses_cluster_no_control_plane_is_touched(monkeypatch):
    monkeypatch.setattr(components.session, "owns_cluster", lambda: False)
    with backend.use(Fake()):
        components.remove_revisions(Progress(lambda event: None, backend.now))
        components.remove_providers(Progress(lambda event: None, backend.now))


class Configured(Fake):
    """The mesh's configuration, as a ConfigMap has it."""

    def __init__(self, mesh: str) -> None:
        self.mesh, self.patched = mesh, 0

    def kubernetes(self, method, path, body, query, content_type):
        assert path == "/api/v1/namespaces/istio-system/configmaps/istio"
        if method == "PATCH":
            self.mesh, self.patched = body["data"]["mesh"], self.patched + 1
        return json.dumps({"data": {"mesh": self.mesh, "meshNetworks": "networks: {}"}})


PROVIDERS = """
accessLogFile: /dev/stdout
extensionProviders:
# lab 28
- name: ask-http
  envoyExtAuthzHttp: {service: ext-authz.default.svc.cluster.local, port: 8000}
- name: ask-grpc
  envoyExtAuthzGrpc: {service: ext-authz.default.svc.cluster.local, port: 9000}
# end of lab 28
- name: jaeger
  opentelemetry: {service: jaeger-collector.istio-system.svc.cluster.local, port: 4317}
"""


def test_who_authorizes_is_taken_out_of_the_meshs_configuration_and_nobody_else():
    with backend.use(Configured(PROVIDERS)) as cluster:
        assert providers.names() == ["ask-grpc", "ask-http"]
        for _ in range(2):
            components.remove_providers(Progress(lambda event: None, backend.now))
        assert providers.names() == []
    config = yaml.safe_load(cluster.mesh)
    assert [each["name"] for each in config["extensionProviders"]] == ["jaeger"]
    assert config["accessLogFile"] == "/dev/stdout"
    assert cluster.patched == 1


@pytest.mark.parametrize("mesh", ["", "accessLogFile: /dev/stdout", "extensionProviders:"])
def test_a_mesh_without_providers_has_nobody_who_authorizes(mesh):
    with backend.use(Configured(mesh)):
        assert providers.names() == []


def test_what_a_lab_labelled_beside_istio_is_a_leftover_and_istios_own_is_not():
    class Labelled(Answers):
        def kubernetes(self, method, path, body, query, content_type):
            if path != "/api/v1/namespaces/istio-system/secrets":
                return super().kubernetes(method, path, body, query, content_type)
            assert query == {"labelSelector": "app.kubernetes.io/part-of=istio-lab"}
            return json.dumps({"kind": "SecretList", "items": [{"metadata": {"name": "bookinfo-certificate"}}]})

    with backend.use(Labelled({"/api/v1/namespaces": {"kind": "NamespaceList", "items": []}})):
        [left] = leftovers.find("default", [])
    assert (left.resource, left.namespace, left.name) == ("secrets", "istio-system", "bookinfo-certificate")


@pytest.mark.parametrize(
    ("cpu", "millicores"), [("100m", 100), ("2", 2000), (2, 2000), ("0.5", 500), ("1e3", 1_000_000), ("5k", 5_000_000)]
)
def test_processor_time_is_counted_whatever_its_suffix(cpu, millicores):
    assert istio._millicores(cpu) == millicores


@pytest.mark.parametrize(
    ("memory", "mebibytes"),
    [("128Mi", 128), ("2Ti", 2 << 20), ("500M", 476), ("1e9", 953), ("134217728", 128), ("1.5Gi", 1536), ("64Ki", 0)],
)
def test_memory_is_counted_whatever_its_suffix(memory, mebibytes):
    assert istio._mebibytes(memory) == mebibytes
