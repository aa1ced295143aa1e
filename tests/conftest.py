"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more of the machine's other work than of the code: see bench/ for times.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
