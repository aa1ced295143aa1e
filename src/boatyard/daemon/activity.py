"""What keeps the daemon from being idle: requests at work, and jobs in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from boatyard.api.engine.version import split
from boatyard.client.documents.envelope import PREFIX
from boatyard.wire.asgi import Application, Receive, Scope, Send

QUIET = 0.5
_NO_WORK = frozenset(
    (*(f"{PREFIX}/{name}" for name in ("ping", "version", "info", "shutdown")), "/_ping", "/version", "/info")
)
"""Asking how the daemon is, is no work."""


class Activity:
    """One per daemon, used on its event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, when_quiet: Callable[[], object] | None = None
    ) -> None:
        """`when_quiet` is called each time QUIET seconds have passed since the last work, once."""
        self._clock = clock
        self._when_quiet = when_quiet
        self._timer: asyncio.TimerHandle | None = None
        self._last = clock()
        self.running = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        self.running += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            yield
        finally:
            self.running -= 1
            self._last = self._clock()
            if not self.running and self._when_quiet is not None:
                self._timer = asyncio.get_running_loop().call_later(QUIET, self._when_quiet)

    def idle_left(self, seconds: float) -> float:
        """How long until it has been idle for `seconds`; all of them while something is at work."""
        return seconds if self.running else self._last + seconds - self._clock()

    async def until_idle(self, seconds: float) -> None:
        while (left := self.idle_left(seconds)) > 0:  # noqa: ASYNC110 -- it waits for a moment, which moves
            await asyncio.sleep(left)


class Counted:
    """Requests to `application` as activity."""

    def __init__(self, application: Application, activity: Activity) -> None:
        self._application = application
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if split(scope["path"])[1] in _NO_WORK:
            await self._application(scope, receive, send)
            return
        with self._activity.working():
            await self._application(scope, receive, send)
