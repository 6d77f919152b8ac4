"""A process of the course's makes its settings once; a test that changes the environment is another process to them."""

from __future__ import annotations

from functools import wraps

import pytest

from labkit.settings import settings


def _forgetting(change):
    @wraps(change)
    def changed(*args, **kwargs):
        settings.cache_clear()
        return change(*args, **kwargs)

    return changed


for _name in ("setenv", "delenv", "undo"):
    setattr(pytest.MonkeyPatch, _name, _forgetting(getattr(pytest.MonkeyPatch, _name)))
