"""The sanitizers hide who and when, and nothing of what was found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbval.plugin import get_sanitize_patterns
from pytest_notebooks import sanitize_faults

RULES = (Path(__file__).parent.parent / "sanitize.cfg").read_text()


def sanitized(text: str) -> str:
    for regex, replacement in get_sanitize_patterns(RULES):
        text = re.sub(regex, replacement, text)
    return text


def test_every_rule_is_read_and_visible():
    assert sanitize_faults(RULES) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pod/reviews-v1-6987d4df6c-2xk7v", "pod/reviews-v1-7d8c86ffb-zzp9x"),
        ("reviews-v1-6987d4df6c ready", "reviews-v1-7d8c86ffb ready"),
        ("uid 0b3d6c4e-1b1f-4a7c-9d3e-111111111111", "uid 0b3d6c4e-1b1f-4a7c-9d3e-222222222222"),
        ("serial 3d33b02a73f7cd38adb3ce7dff83436b", "serial 82e6c82d7e29d295f5c88b0dbcd48c63"),
        ("10.244.0.7:9080", "10.244.0.12:9080"),
        ("node 172.18.0.2", "node 172.19.0.3"),
        ("until 2026-05-20T07:54:03Z", "until 2027-01-01T00:00:00.123Z"),
        ("at 07:54:03.1", "at 23:00:00"),
        ("after 1.25 s", "after 12 s"),
        ("<td>1.2\xa0s</td>", "<td>-0.0\xa0s</td>"),
        ("ratings  2/2  Running  0  45s", "ratings  2/2  Running  0  3m12s"),
        ("NAME          READY", "NAME   READY"),
        ("http://127.0.0.1:8080/productpage", "http://127.0.0.1:8081/productpage"),
    ],
)
def test_identity_is_hidden(one, other):
    assert sanitized(one) == sanitized(other) != one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("20 % ± 5 %: True", "20 % ± 5 %: False"),
        ("3/3 passed", "2/3 passed"),
        ("200", "503"),
        ("reviews-v1", "reviews-v2"),
        ("reviews-v1-6987d4df6c-2xk7v 2/2", "ratings-v1-6987d4df6c-2xk7v 2/2"),
        ("listens on 127.0.0.1", "listens on 0.0.0.0"),
        ("240.240.0.1", "93.184.215.14"),
        ("Istio 1.31.1", "Istio 1.31.0"),
        ("port 9080", "port 9081"),
        ("tcp-https", "tcp-grpcs"),
        ("6 deployments", "5 deployments"),
    ],
)
def test_a_result_is_never_hidden(one, other):
    assert sanitized(one) != sanitized(other)
