"""What memlogd says itself, in lines of its own source: not more than a few a second, whatever others send."""

from __future__ import annotations

from boatyard.logs.memlogd.store import Store

A_SECOND = 20


class Notices:
    """Counts seconds by the store's clock: when that is set back, a second begins anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._second = 0
        self._said = 0
        self._silent = 0

    def say(self, text: str) -> None:
        second = self._store.clock() // 1_000_000_000
        if second != self._second:
            self._second, self._said = second, 0
            self.flush()
        self._said += 1
        if self._said <= A_SECOND:
            self._store.say(text)
        else:
            self._silent += 1

    def flush(self) -> None:
        """Say how much wasn't said."""
        if self._silent:
            self._store.say(f"and {self._silent} more like it")
            self._silent = 0
