"""Where the tests of a running mesh begin: Bookinfo and its gateway, and nothing else that somebody left there."""

from __future__ import annotations

import pytest

from labkit.course import verbs


@pytest.fixture(scope="module")
def bookinfo_in_the_mesh() -> None:
    """`goto` takes away what is too much, `up` makes what is missing; a test removes what it adds to that."""
    verbs.goto("06", lambda event: None)
    verbs.up("bookinfo", lambda event: None)
