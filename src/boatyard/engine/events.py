"""What happens in the daemon, told to whoever watches: each event once, in order, the last ones also afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

REMEMBERED = 256
"""Events of the past that a new watcher can ask for."""
MOST_WAITING = 1024
"""Events that wait for one watcher; a slower one misses some."""


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is what it is about (image, builder, …), `action` what happened, `id` to which one. `time` in nanoseconds
    since the epoch."""

    kind: str
    action: str
    id: str
    time: int
    attributes: Mapping[str, str] = field(default_factory=dict)


class Events:
    """One per daemon, made on its event loop. `publish` may be called from any thread, the rest on the loop."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._past: deque[Event] = deque(maxlen=REMEMBERED)
        self._watchers: set[asyncio.Queue[Event]] = set()

    def publish(self, kind: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        event = Event(kind, action, id, self._clock(), attributes or {})
        self._loop.call_soon_threadsafe(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        self._past.append(event)
        for watcher in self._watchers:
            try:
                watcher.put_nowait(event)
            except asyncio.QueueFull:
                log.debug("a watcher of events is too slow, and misses %s %s", event.kind, event.action)

    @property
    def listeners(self) -> int:
        return len(self._watchers)

    @contextmanager
    def watch(self) -> Iterator[tuple[Sequence[Event], asyncio.Queue[Event]]]:
        """The past, and a queue of what comes: nothing is missed between the two."""
        queue: asyncio.Queue[Event] = asyncio.Queue(MOST_WAITING)
        self._watchers.add(queue)
        try:
            yield tuple(self._past), queue
        finally:
            self._watchers.discard(queue)
