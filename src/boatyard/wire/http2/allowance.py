"""How often something may happen."""

from __future__ import annotations

import time


class Allowance:
    """So many at once, and so many more a second."""

    def __init__(self, most: int, a_second: float) -> None:
        self._most = most
        self._a_second = a_second
        self._left = float(most)
        self._then = time.monotonic()

    def spend(self) -> bool:
        """False when there is none left."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._then) * self._a_second) - 1
        self._then = now
        return self._left >= 0
