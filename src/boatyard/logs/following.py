"""Reading on and on: a connection, and another one when it was lost."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

from boatyard.errors import UnavailableError
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import Event
from boatyard.logs.request import DUMP_AND_FOLLOW, Request
from boatyard.logs.stream import Stream

FIRST_PAUSE, LAST_PAUSE = 0.02, 1.0
"""Seconds between two attempts to reach memlogd: doubled each time."""


class Following:
    """One per reader, and lives as long as it reads. Use it as a context.

    The first connection is made as `request` says, the later ones from where the earlier ended. It never spins:
    without a memlogd it waits, as long as the caller says.
    """

    def __init__(self, path: str, request: Request, continuity: Continuity, wake: int = -1) -> None:
        """`wake`: a descriptor that ends every waiting when it becomes readable."""
        self._wake = wake
        self._path = path
        self._request = request
        self._continuity = continuity
        self._stream: Stream | None = None
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    @property
    def plain(self) -> bool:
        """It is LinuxKit's memlogd that answers."""
        return self._stream is not None and self._stream.plain

    @property
    def connected(self) -> bool:
        return self._stream is not None

    def connect(self) -> None:
        """Connect now. UnavailableError when nobody answers; later it will be tried again."""
        self._stream = Stream(self._path, self._request)

    def poll(self, timeout: float) -> Iterator[Event]:
        """What happens within `timeout` seconds, perhaps nothing; to be iterated to the end."""
        if self._stream is None and not self._connect(timeout):
            return
        assert self._stream is not None
        frames = self._stream.read(timeout, self._wake)
        if frames is None:
            self._disconnect()
            return
        try:
            for frame in frames:
                self._pause = FIRST_PAUSE
                yield from self._continuity.take(frame)
        except UnavailableError:
            self._disconnect()
            raise

    def _connect(self, timeout: float) -> bool:
        """Wait for the next attempt, and make it, unless that takes longer than `timeout`."""
        wait = self._retry_at - time.monotonic()
        if wait > 0:
            wake = [self._wake] if self._wake >= 0 else []
            if select.select(wake, [], [], min(wait, timeout))[0] or wait > timeout:
                return False
        try:
            self.connect()
        except UnavailableError:
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LAST_PAUSE)
            return False
        return True

    def _disconnect(self) -> None:
        if self._stream is None:
            return
        self._stream.__exit__()
        self._stream = None
        # A memlogd that ends each connection at once must not make us spin either.
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LAST_PAUSE)
        again = self._request
        self._request = Request(DUMP_AND_FOLLOW, sources=again.sources, since=again.since, states=again.states)
