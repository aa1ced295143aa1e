"""Following a build: everything it tells, from its beginning to its end, at the reader's own pace.

What is told is kept in memory while the reader keeps up. A reader that falls behind costs nothing: it goes on from the
file that the build is recorded in, and is let in on the news again once it has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from boatyard.build.recording import Recording
from boatyard.progress import Event, LogEvent, WarningEvent

MOST_WAITING = 2 << 20
"""Bytes, roughly, that wait in memory for one reader."""
EVENT_BYTES = 300

Read = Callable[[str, int], tuple[list[Event], int]]
"""Some of what a build told from a place in its record on, and the place to go on from. Blocks."""


async def replay(ref: str, read: Read) -> AsyncGenerator[Sequence[Event], None]:
    """All of a build that has ended, or of one that isn't recorded here any more."""
    position = 0
    while True:
        events, after = await asyncio.to_thread(read, ref, position)
        if events:
            yield events
        if after == position:
            return
        position = after


async def follow(recording: Recording, read: Read, *, pause: float = 0.0) -> AsyncGenerator[Sequence[Event], None]:
    """All of a build that runs, until it has ended. A batch comes at once, or `pause` seconds after the last one."""
    ref = recording.record.ref
    ear = _Ear(recording.position)
    recording.listeners.append(ear)
    position = 0
    loop = asyncio.get_running_loop()
    due = 0.0
    try:
        while True:
            # Up to where the ear listens from. The file is read beside the loop: meanwhile more may be told.
            while position < ear.start:
                events, after = await asyncio.to_thread(read, ref, position)
                if after == position:
                    break  # the disk has not taken it
                position = after
                if events:
                    yield events
            if position > ear.start:
                ear.skip(position)
            while not ear.overflowed:
                await ear.news.wait()
                # Whatever else is ready to run now may have something to say, too.
                await asyncio.sleep(0)
                await ear.rest(due)
                waiting, position = ear.take()
                due = loop.time() + pause
                if waiting:
                    yield waiting
                elif ear.over and not ear.overflowed:
                    return
            lost = recording.broken
            ear.restart(recording.position)
            if lost:
                yield [WarningEvent(code="OutputNotShown", short="output came faster than it was read, and is lost")]
    finally:
        recording.listeners.remove(ear)


class _Ear:
    """What one reader has not taken yet. Implements `recording.Listener`."""

    def __init__(self, start: int) -> None:
        self.start = start
        """Where in the record the first event that waits begins."""
        self.news = asyncio.Event()
        self._end = asyncio.Event()
        self.over = False
        self.overflowed = False
        self._waiting: list[tuple[Event, int]] = []
        self._size = 0

    def told(self, event: Event, position: int) -> None:
        if self.overflowed:
            return
        self._size += EVENT_BYTES + (len(event.data) if isinstance(event, LogEvent) else 0)
        if self._size > MOST_WAITING:
            self._waiting.clear()
            self.overflowed = True
        else:
            self._waiting.append((event, position))
        self.news.set()

    def ended(self) -> None:
        self.over = True
        self.news.set()
        self._end.set()

    async def rest(self, until: float) -> None:
        """Until that time of the event loop; there is nothing to wait for once the build has ended."""
        left = until - asyncio.get_running_loop().time()
        if left > 0 and not self.over:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._end.wait()

    def skip(self, position: int) -> None:
        """What waits and was read from the record is dropped."""
        self._waiting = [(event, at) for event, at in self._waiting if at > position]
        self.start = position

    def take(self) -> tuple[list[Event], int]:
        waiting, self._waiting = self._waiting, []
        self._size = 0
        if waiting:
            self.start = waiting[-1][1]
        if not self.over:
            self.news.clear()
        return [event for event, _ in waiting], self.start

    def restart(self, start: int) -> None:
        """Listen again, from here on."""
        self.overflowed = False
        self.start = start
        self._waiting.clear()
        self._size = 0
        if not self.over:
            self.news.clear()
