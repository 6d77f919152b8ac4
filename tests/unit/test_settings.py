"""What the environment decides: made once, and nothing in it that is no setting gets any further."""

from __future__ import annotations

import os
from dataclasses import FrozenInstanceError

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit import settings
from labkit.errors import LabError

BINARY = os.fsdecode(b"\xff")
NO_SETTINGS = {
    "LABKIT_PORT": ["abc", "0", "99999", "65536", "-1", " 8080", "8080.0", "٣", "1e3", "8080\n"],
    "LABKIT_VENUE": ["foo", "context:", "Kind", "kind ", "context"],
    "LABKIT_SOURCE": ["relases", "releases,packages"],
    "LABKIT_DOWNLOADS": ["http://[::1", "mirror", "ftp://mirror", "http://", "file:///etc", "http://x:port",
                         "http://a b"],
    "LABKIT_GATEWAY": ["127.0.0.1:8080", "http://:::", "https://"],
    "LABKIT_REGISTRY": ["http://mirror", "mirror/path", "mirror:port", "user:s3cret@mirror", ":5000", "a b"],
    "LABKIT_CLUSTER": ["A", "-a", "a/b", "..", "a b", "a_b", "a" * 50, "a\n"],
    "LABKIT_NAMESPACE": ["A", "a.b", "-a", "a" * 64, "a/b", "--all"],
    "LABKIT_ISTIO": ["../../x", "1.31", "latest", "1.31.1/..", "v1.31.1", "--help"],
    "LABKIT_KIND": ["../x", "v0.31.0", "0.31"],
    "LABKIT_NODE_IMAGE": ["--privileged", "kindest/node", "kindest/node:v1.35.0@sha256:abc", "-v /:/host x:v1.2.3"],
    "LABKIT_HEADLESS": ["yes", "2"],
    "LABKIT_HOME": ["/etc/passwd", "/srv/" + "x" * 300, "/srv/a:b", "x/" * 3000],
    "LABKIT_CACHE": ["/etc/passwd", "/srv/" + "x" * 300, "/srv/a:b"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in NO_SETTINGS for value in NO_SETTINGS[name]])
def test_what_is_no_setting_is_refused_by_its_name(name, value):
    with pytest.raises(LabError) as raised:
        settings.read({name: value})
    assert raised.value.what.startswith((f"{name} cannot be", "The course cannot use the folder"))
    assert raised.value.why
    assert name in raised.value.fix
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", NO_SETTINGS)
def test_bytes_that_are_no_text_are_refused_and_can_be_printed(name):
    with pytest.raises(LabError) as raised:
        settings.read({name: f"/srv/{BINARY}"})
    str(raised.value).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LABKIT_PORT", "1"), ("LABKIT_PORT", "65535"), ("LABKIT_VENUE", "context:a b/c"),
        ("LABKIT_SOURCE", "packages"),
        ("LABKIT_DOWNLOADS", "https://user:s3cret@[::1]:8443/mirror/"), ("LABKIT_REGISTRY", "[::1]:5000"),
        ("LABKIT_REGISTRY", "mirror.example"), ("LABKIT_CLUSTER", "a.b-2"), ("LABKIT_ISTIO", "1.32.0-rc.1"),
        ("LABKIT_NODE_IMAGE", "mirror:5000/kindest/node:v1.36.0"), ("LABKIT_HOME", "/dev/null/home"),
        ("LABKIT_HOME", "/srv/it's \"ours\" ✓"),
    ],
)  # fmt: skip
def test_what_is_a_setting_is_taken(name, value):
    settings.read({name: value})


def test_what_is_empty_is_as_unset():
    assert settings.read(dict.fromkeys(NO_SETTINGS, "")) == settings.read({})


def test_a_relative_folder_is_the_same_one_wherever_a_kernel_starts(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert settings.read({"LABKIT_HOME": "build/home"}).home == settings.REPOSITORY / "build" / "home"


def test_settings_are_made_once_and_frozen(monkeypatch):
    made = settings.settings()
    monkeypatch.setitem(os.environ, "LABKIT_PORT", "1234")  # a test's own `setenv` would start anew
    assert settings.settings() is made
    with pytest.raises(FrozenInstanceError):
        made.port = 1234


def test_the_first_cell_says_it_in_three_lines(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PORT", "abc")
    try:
        InteractiveShell().run_cell("%load_ext labkit")
    finally:
        InteractiveShell.clear_instance()
    told = capsys.readouterr().out
    assert "LABKIT_PORT" in told
    assert len(told.strip().splitlines()) == 3
