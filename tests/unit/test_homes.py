"""The unit group leaves the reader's home alone, and does not depend on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.settings import settings

ROOT = Path(__file__).resolve().parents[2]
pytest_plugins = ["pytester"]


def test_a_test_begins_in_an_empty_home(home):
    assert settings().home.parent == settings().cache.parent.parent == Path.home() == home
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "read", ["open(path)", "path.read_text()", "os.listdir(path.parent)", "list(path.parent.iterdir())"]
)
def test_a_read_of_the_readers_home_is_seen(pytester, monkeypatch, read):
    readers = pytester.mkdir("readers")
    (readers / "istio-lab").mkdir()
    (readers / "istio-lab" / "lab.json").write_text("{}")
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(readers))
    pytester.makeconftest((ROOT / "tests" / "unit" / "conftest.py").read_text())
    pytester.makepyfile(f"""
        import os
        READERS = {str(readers)!r}
        def test_that_reads():
            path = __import__("pathlib").Path(READERS, "istio-lab", "lab.json")
            {read}
        def test_that_does_not(home):
            assert os.environ["HOME"] == str(home)
    """)
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()
    assert outcome == {"passed": 2, "errors": 1}
