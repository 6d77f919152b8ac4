"""Random searches: the same in every `make test`; fresh in `make fuzz`, which prints its seed.

A deadline would measure the machine, which may have other work; what takes too long shows in pytest's durations.
"""

from __future__ import annotations

import secrets

import pytest
from hypothesis import settings

settings.register_profile("test", derandomize=True, deadline=None, print_blob=True, database=None)
# It says so itself, for where CI is set hypothesis would draw the same each time.
settings.register_profile("fuzz", derandomize=False, max_examples=1000, deadline=None, print_blob=True, database=None)
settings.load_profile("test")


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its options
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_profile == "fuzz" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.hypothesis_seed
    return None if seed is None else f"random searches: the same again with --hypothesis-seed={seed}"
