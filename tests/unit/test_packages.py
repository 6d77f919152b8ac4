"""What is built from package registries, and from what."""

from __future__ import annotations

import re

import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.backend.answers import Completed
from labkit.cluster import downloads, packages
from labkit.cluster.packages import addons, build, go, istio, recipes, steps, tools
from labkit.cluster.packages.steps import STAMP, Step
from labkit.errors import LabError
from labkit.mesh.telemetry import names
from labkit.progress import Progress
from labkit.settings import ISTIO, ISTIO_HUB, settings

WORD = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


def quiet() -> Progress:
    return Progress(lambda event: None, lambda: 0.0)


# -- names ------------------------------------------------------------------------------------------
@given(st.lists(WORD, min_size=1), WORD)
def test_an_image_name_falls_into_repository_and_tag(path, tag):
    image = "/".join(["registry.example:5000", *path])
    assert (recipes.repository(image), recipes.tag(image)) == (path[-1], "latest")
    assert (recipes.repository(f"{image}:{tag}"), recipes.tag(f"{image}:{tag}")) == (path[-1], tag)
    assert recipes.tag(f"{image}:{tag}@sha256:{'0' * 64}") == tag


def test_an_image_without_a_recipe_is_refused_by_name():
    with pytest.raises(LabError) as caught:
        recipes.recipe("docker.io/library/mongo:8")
    assert "docker.io/library/mongo:8" in caught.value.what


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_each_recipe_has_its_dockerfile_and_its_parent(name):
    how = recipes.recipe(f"registry.example/{name}:v1.2.3")
    dockerfile = (recipes.DOCKERFILES / how.dockerfile / "Dockerfile").read_text()
    bases = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")} - {"scratch"}
    assert bases == ({how.parent} if how.parent else set())
    assert how.parent in {"", *recipes.SHARED}


# -- keys -------------------------------------------------------------------------------------------
def test_a_changed_parent_changes_the_image(monkeypatch):
    image = "docker.io/istio/pilot:1.31.1"
    before = build.key(image, recipes.recipe(image))
    monkeypatch.setitem(recipes.SHARED, "istio-lab/base", lambda: recipes.Recipe("base", arguments={"other": "1"}))
    assert build.key(image, recipes.recipe(image)) != before


def test_a_changed_program_changes_the_image(monkeypatch):
    image = "docker.io/fortio/fortio:latest_release"
    before = build.key(image, recipes.recipe(image))
    monkeypatch.setattr(recipes, "FORTIO", "0.0.1")
    assert build.key(image, recipes.recipe(image)) != before


class Engine(Fake):
    """Has the images whose keys it is given; counts builds."""

    def __init__(self, keys) -> None:
        self.keys, self.built = keys, []

    def run(self, argv, **_):
        if argv[:2] == ["docker", "build"]:
            self.built.append(argv[argv.index("--tag") + 1])
        return Completed(tuple(argv), 0, "\n".join(self.keys), "", 0)

    def which(self, program):
        return program


def test_an_image_whose_inputs_did_not_change_is_not_built():
    image = "docker.io/curlimages/curl:8.16.0"
    base = recipes.SHARED["istio-lab/base"]()
    keys = [build.key(image, recipes.recipe(image)), build.key("istio-lab/base", base)]
    with backend.use(Engine(keys)) as engine:
        build.build_images([image], lambda _: None)
    assert engine.built == []


# -- Go ---------------------------------------------------------------------------------------------
def test_replacements_by_a_folder_become_published_versions():
    theirs = {
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
            {"Old": {"Path": "a.example/b"}, "New": {"Path": "a.example/c", "Version": "v1.2.3"}},
        ]
    }
    lines = go.replacements(theirs, "v0.35.0")
    assert "replace k8s.io/api => k8s.io/api v0.35.0" in lines
    assert "replace a.example/b => a.example/c v1.2.3" in lines
    assert not any("k8s.io/api" in line for line in go.replacements(theirs, ""))
    assert go.replacements({"Replace": None}, "") == []


# -- Istio ------------------------------------------------------------------------------------------
VALUES = """\
defaults:
  env: {}
  telemetry:
    enabled: true
  global:
    hub: registry.istio.io/testing
    tag: latest
version: 1.0.0
appVersion: 1.0.0
"""
GO = "\tif !filterConfig.Metrics {\n\tbuilder.patchListeners()\n"


@pytest.fixture
def module(tmp_path):
    for path in istio.CHANGES:
        file = tmp_path / "module" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(GO if path.endswith(".go") else VALUES)
    return tmp_path / "module"


def test_the_charts_are_those_of_a_release_for_upstream_envoy(module):
    values = yaml.safe_load(istio.changed(module)[f"{istio.ISTIOD}/values.yaml"])["defaults"]
    assert values["global"] == {"hub": ISTIO_HUB, "tag": ISTIO}
    assert values["telemetry"]["enabled"] is False
    assert set(values["env"].values()) == {"false"}
    gateway = yaml.safe_load(istio.changed(module)["manifests/charts/gateways/istio-ingress/values.yaml"])["defaults"]
    assert gateway["global"] == {"hub": ISTIO_HUB, "tag": ISTIO}
    assert gateway["telemetry"]["enabled"] is True
    assert yaml.safe_load(istio.changed(module)[f"{istio.ISTIOD}/Chart.yaml"])["appVersion"] == ISTIO


def test_istiod_applies_telemetry_rules_to_what_upstream_envoy_counts(module):
    texts = istio.changed(module)
    assert "upstreamEnvoy ||" in texts["pilot/pkg/model/telemetry.go"]
    assert "builder.applyRequestStats()" in texts["pilot/pkg/networking/core/listener.go"]
    counted = texts[f"{istio.ISTIOD}/templates/request-stats.yaml"]
    added = {path: text for path, text in texts.items() if path.endswith("/request_stats.go")}
    assert {re.search(r"^package (\w+)$", text, re.MULTILINE)[1] for text in added.values()} == {"model", "core"}
    for reporter in ("source", "destination"):  # by which istiod finds them
        assert f'"reporter" "{reporter}"' in counted
        assert any(f'"{reporter}":' in text for text in added.values())


def test_charts_that_are_not_as_expected_are_refused(module):
    (module / istio.ISTIOD / "values.yaml").write_text(VALUES.replace("  env: {}\n", ""))
    with pytest.raises(LabError):
        istio.changed(module)


def test_the_archive_unpacks_like_a_release(tmp_path):
    source, istioctl, archive = tmp_path / "source", tmp_path / "istioctl", tmp_path / "istio.tar.gz"
    (source / "samples").mkdir(parents=True)
    (source / "samples" / "run.sh").write_text("true")
    (source / "samples" / "README.md").write_text("read")
    (source / "pilot").mkdir()
    istioctl.write_text("#!/bin/sh")
    istio._pack(archive, source, istioctl)
    folder = downloads.unpack(archive, tmp_path / "release")
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "manifest.yaml", "samples"]
    executable = [path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o100]
    assert sorted(executable) == ["istioctl", "run.sh"]


# -- Istio's Prometheus -----------------------------------------------------------------------------
ADDON = (
    f"data:\n  prometheus.yml: |\n    scrape_configs:\n{addons.JOB}      honor_labels: true\n    - job_name: others\n"
)


def test_prometheus_applies_the_rules_to_the_proxies_alone(tmp_path):
    manifest = tmp_path / "prometheus.yaml"
    manifest.write_text(ADDON)
    config = yaml.safe_load(yaml.safe_load(istio._prometheus(manifest))["data"]["prometheus.yml"])
    proxies, others = config["scrape_configs"]
    assert proxies["metric_relabel_configs"] == list(addons.rules())
    assert proxies["honor_labels"] is True
    assert others == {"job_name": "others"}


def test_an_addon_that_is_not_as_expected_is_refused(tmp_path):
    manifest = tmp_path / "prometheus.yaml"
    manifest.write_text(ADDON.replace("kubernetes-pods", "pods"))
    with pytest.raises(LabError):
        istio._prometheus(manifest)


def test_the_rules_are_part_of_the_archive_and_not_of_istios_commands(monkeypatch):
    archive, commands = istio.archive("linux", "amd64").key, istio.commands().key
    monkeypatch.setattr(addons, "job", lambda: "others")
    assert istio.archive("linux", "amd64").key != archive
    assert istio.commands().key == commands


def relabeled(sample: dict[str, str]) -> dict[str, str]:
    """Prometheus' `replace`: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config."""
    for rule in addons.rules():
        joined = ";".join(sample.get(label, "") for label in rule["source_labels"])
        if match := re.fullmatch(rule["regex"], joined, re.DOTALL):
            value = match.expand(rule["replacement"].replace("$", "\\"))
            sample = {**sample, rule["target_label"]: value}
            sample = {label: value for label, value in sample.items() if value}
    return sample


workloads = st.lists(WORD | st.just(""), min_size=4, max_size=5).map(";".join) | st.just("")
upstream = st.fixed_dictionaries(
    {
        "reporter": st.sampled_from(["source", "destination"]),
        "source": workloads,
        "destination": workloads,
        "source_principal": st.sampled_from(["", "spiffe://cluster.local/ns/default/sa/default"]),
        "destination_service": st.sampled_from(["", "reviews.default.svc.cluster.local", "api.example.com"]),
        "request_protocol": st.sampled_from(["HTTP/1.1", "HTTP/2", ""]),
        "response_code": st.sampled_from(["200", "503"]),
        "response_flags": st.sampled_from(["-", "UF,URX"]),
        "grpc_response_status": st.sampled_from(["", "0", "14"]),
    }
)
HISTOGRAMS = ("reporter", "source", "destination", "destination_service", "response_code")


@given(upstream)
def test_prometheus_reads_upstream_envoys_labels_as_the_direct_scrape_does(labels):
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    seen = relabeled({"__name__": f"envoy_{names.REQUESTS}", **labels})
    assert seen["__name__"] == names.REQUESTS
    assert not seen.keys() & {"source", "destination"}
    assert {label: seen[label] for label in names.LABELS} == names.series(f"envoy_{names.REQUESTS}{{{pairs}}}").labels


@given(upstream)
def test_prometheus_reads_upstream_envoys_histograms_as_the_direct_scrape_does(labels):
    known = {name: value for name, value in labels.items() if name in HISTOGRAMS} | {"le": "5"}
    pairs = ",".join(f'{name}="{value}"' for name, value in known.items())
    metric = f"{names.DURATIONS}_bucket"
    seen = relabeled({"__name__": f"envoy_{metric}", **known})
    assert (seen["__name__"], seen["le"]) == (metric, "5")
    assert {label: seen[label] for label in names.LABELS} == names.series(f"envoy_{metric}{{{pairs}}}").labels


def test_other_metrics_pass_prometheus_unchanged():
    other = {"__name__": "app_total", "source": "a;b;c;d", "destination_service": "x", "request_protocol": "HTTP/2"}
    assert relabeled(other) == other


# -- Python -----------------------------------------------------------------------------------------
def test_pins_are_taken_without_hashes_comments_and_markers():
    text = "# flask==0\nflask==3.1.0 \\\n    --hash=sha256:00==\ngevent==24.11.1 ; python_version > '3'\n"
    assert recipes.pinned(text) == ["flask==3.1.0", "gevent==24.11.1"]


# -- handed out -------------------------------------------------------------------------------------
def published(text: str) -> Step:
    def fill(into, _):
        (into / "kind").write_text(text)

    return Step(f"bin/{text}", (text,), fill)


@pytest.fixture
def kind(monkeypatch):
    monkeypatch.setattr(tools, "require", lambda: None)
    monkeypatch.setattr(recipes, "kind", lambda: published("one"))


def test_a_tool_is_installed_and_its_checksum_published(kind):
    path = packages.Packages().tool("kind", quiet())
    assert path == settings().bin / "kind"
    assert path.read_text() == "one"
    [checksum] = packages.Packages().mirror().rglob("*.sha256sum")
    assert checksum.with_suffix("").read_text() == "one"


def test_a_tool_that_changed_in_the_mirror_is_refused(kind):
    packages.Packages().tool("kind", quiet()).unlink()
    [checksum] = packages.Packages().mirror().rglob("*.sha256sum")
    checksum.with_suffix("").write_text("another")
    with pytest.raises(LabError):
        packages.Packages().tool("kind", quiet())


def test_a_tool_that_changed_where_it_is_used_is_replaced(kind):
    packages.Packages().tool("kind", quiet()).write_text("another")
    assert packages.Packages().tool("kind", quiet()).read_text() == "one"


def test_helm_is_packed_as_it_is_published_and_handed_out_of_that(monkeypatch):
    def fill(into, _):
        (into / "helm").write_text("built")

    monkeypatch.setattr(tools, "require", lambda: None)
    monkeypatch.setattr(recipes, "helm", lambda: Step("bin/helm", (), fill))
    path = packages.Packages().tool("helm", quiet())
    assert (path, path.read_text()) == (settings().bin / "helm", "built")
    [checksum] = packages.Packages().mirror().glob("helm-*.sha256sum")
    assert downloads.checksum_for(checksum.stem, checksum.read_text(), "") == downloads.sha256_of(
        checksum.with_suffix("")
    )


def test_only_this_machines_archive_is_built():
    with pytest.raises(LabError):
        packages.Packages().istio_archive(ISTIO, "darwin", settings().architecture, quiet())


def test_all_is_here_once_the_node_image_was_built_and_while_the_engine_holds_it(monkeypatch):
    assert not packages.Packages().is_here()
    monkeypatch.setattr(packages.Packages, "images", lambda self, progress: [])
    monkeypatch.setattr(packages.images, "preload", lambda *_, unpacked: "istio-lab/node:1")
    steps.builds().mkdir(parents=True)
    packages.Packages().node_image(quiet())
    held = {"istio-lab/node:1"}
    monkeypatch.setattr(packages.images, "exists", held.__contains__)
    assert packages.Packages().is_here()
    held.clear()
    assert not packages.Packages().is_here()


# -- the machine ------------------------------------------------------------------------------------
class Bare(Fake):
    def which(self, program):
        return None if program in ("go", "mvn") else program


def test_all_missing_tools_are_named_at_once():
    with backend.use(Bare()), pytest.raises(LabError) as caught:
        tools.require()
    assert "go, mvn" in caught.value.what
    assert "maven" in caught.value.fix


def test_a_steps_stamp_is_no_part_of_an_image(tmp_path):
    source, to = tmp_path / "source", tmp_path / "context" / "to"
    source.mkdir()
    (source / STAMP).write_text("")
    (source / "file").write_text("")
    build._copy(source, to)
    assert [path.name for path in to.iterdir()] == ["file"]
