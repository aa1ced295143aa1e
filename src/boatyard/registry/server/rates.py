"""How often somebody may: buckets that fill at a steady rate. Pure, but for its state.

Each process has its own; the settings are divided among them.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST = 20_000
"""Somebodies that are remembered: the one seen longest ago is forgotten."""


class Rates:
    """`rate` a second on average, `burst` at once. A rate of 0 is no limit."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def shortage(self, who: str, now: float) -> float:
        """Seconds until something would be allowed; nothing counts."""
        left, seen = self._left.get(who, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        return 0.0 if left >= 1 or not self._rate else (1 - left) / self._rate

    def wait(self, who: str, now: float, *, cost: float = 1.0) -> float:
        """Seconds until this is allowed; 0: it is, and counts."""
        if not self._rate:
            return 0.0
        left, seen = self._left.pop(who, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        allowed = left >= cost
        self._left[who] = (left - cost if allowed else left, now)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)
        return 0.0 if allowed else (cost - left) / self._rate
