"""`python -m boatyard.daemon` is boatd."""

from __future__ import annotations

from boatyard.daemon.main import main

main()
