"""Events on their way to one client: kept while it is slow, merged where only the newest counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from boatyard.client.documents.envelope import StreamEvent
from boatyard.progress import LogEvent, StatusEvent, WarningEvent

MAX_LOG_BACKLOG = 32 << 20
"""Characters of step output that wait for a client that doesn't read; more is dropped, and said to be."""
_ROOM = 1 << 20


class Feed:
    """One per streamed answer, used on the event loop."""

    def __init__(self, *, max_log_backlog: int = MAX_LOG_BACKLOG) -> None:
        self.news = asyncio.Event()
        """Set when there is something to take."""
        self._events: list[StreamEvent] = []
        self._statuses: dict[tuple[str, str], int] = {}
        """Where in `_events` the status of a transfer stands."""
        self._log_size = 0
        self._limit = max_log_backlog
        self._dropped = 0
        self._taken = asyncio.Event()

    def emit(self, event: StreamEvent) -> None:
        """Never waits."""
        if isinstance(event, StatusEvent):
            key = (event.vertex, event.id)
            at = self._statuses.get(key)
            if at is not None:
                self._events[at] = event
                return
            self._statuses[key] = len(self._events)
        elif isinstance(event, LogEvent):
            if self._log_size + len(event.data) > self._limit:
                self._dropped += len(event.data)
                return
            self._log_size += len(event.data)
        self._events.append(event)
        self.news.set()

    async def room(self) -> None:
        """Waits until the client has caught up: for those who can wait (replaying a log)."""
        while self._log_size > _ROOM or len(self._events) > 10_000:
            self._taken.clear()
            await self._taken.wait()

    def take(self) -> Sequence[StreamEvent]:
        """What waits."""
        if self._dropped:
            self._events.append(
                WarningEvent(
                    code="OutputNotShown",
                    short=f"{self._dropped} characters of output are not shown: they came faster than they were read",
                    detail="`boat builder logs` has all of it",
                )
            )
            self._dropped = 0
        events, self._events = self._events, []
        self._statuses.clear()
        self._log_size = 0
        self.news.clear()
        self._taken.set()
        return events
