"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says more of the machine's other work than of the code: see bench/ for times.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell's background jobs ignore Ctrl-C, and so would every program that is started by them.
signal.signal(signal.SIGINT, signal.default_int_handler)
