"""For all unit tests."""

from __future__ import annotations

from hypothesis import settings

# A deadline measures the machine, which may have other work; what takes too long shows in pytest's durations.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
