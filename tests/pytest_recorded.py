"""The recorded group: under `--nbval`, all notebooks on the recorded mesh, everything that they show compared.

It needs no container engine and no network. The notebooks get a home of their own, which nothing was done in before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from waiting import waiting

from labkit.course import availability
from labkit.settings import settings

HOME = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)  # before nbval starts a kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_recorded(item.config) and (lab := waiting(item.path)):
        pytest.skip(availability.why_unrecorded(lab))


def is_recorded(config: pytest.Config) -> bool:
    """Whether this run plays notebooks back: `--nbval-lax` runs them live."""
    return bool(config.option.nbval)


def pytest_configure(config: pytest.Config) -> None:
    if not is_recorded(config):
        return
    config.stash[HOME] = Path(tempfile.mkdtemp(prefix="istio-lab-"))
    for name in ("LABKIT_CLUSTER", "LABKIT_CACHE", "LABKIT_PORT", "LABKIT_RECORDER"):
        os.environ.pop(name, None)
    os.environ |= {"LABKIT_VENUE": "recorded", "LABKIT_HOME": str(config.stash[HOME]), "LABKIT_HEADLESS": "1"}
    settings.cache_clear()


def pytest_unconfigure(config: pytest.Config) -> None:
    if home := config.stash.get(HOME, None):
        shutil.rmtree(home, ignore_errors=True)
