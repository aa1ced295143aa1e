"""What a process of the server has done, counted."""

from __future__ import annotations

from collections import Counter


class Metrics:
    """One per process; used on the event loop."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """By method, kind of route and status."""
        self.received = 0
        self.sent = 0
