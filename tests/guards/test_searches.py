"""Random searches: `make test` finds today what it found yesterday; `make fuzz` looks elsewhere each time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pytest_searches

pytest_plugins = ["pytester"]

SEARCH = """
    from hypothesis import given, strategies as st
    @given(st.integers(0, 2**64))
    def test_search(number):
        print("drawn", number)
"""


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    """Where pytest finds the course's own plugins."""
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_searches.__file__).parent))


def drawn(pytester: pytest.Pytester, *options: str) -> tuple[list[str], str]:
    """What one run drew, and all that it said."""
    pytester.makepyfile(SEARCH)
    said = pytester.runpytest_subprocess("-p", "pytest_searches", "-rP", *options).stdout.str()
    return re.findall(r"drawn (\d+)", said), said


def test_one_run_draws_what_the_other_drew(pytester):
    first, second = drawn(pytester), drawn(pytester)
    assert first[0] == second[0] != []


@pytest.mark.parametrize("ci", ["", "true"])
def test_a_fuzz_draws_afresh_and_says_how_to_have_it_again(pytester, monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    first, said = drawn(pytester, "--hypothesis-profile=fuzz")
    second, _ = drawn(pytester, "--hypothesis-profile=fuzz")
    again, _ = drawn(pytester, "--hypothesis-profile=fuzz", re.search(r"--hypothesis-seed=\d+", said)[0])
    assert first == again != second
    assert len(first) >= 1000
