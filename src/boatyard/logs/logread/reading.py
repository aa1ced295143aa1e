"""A dump, following, or both, through to the bytes that are printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from boatyard.logs import wording
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import CaughtUp, Event, Gap, Lines, Lost
from boatyard.logs.following import Following
from boatyard.logs.logread.output import Rendered, Tail
from boatyard.logs.request import DUMP, Request
from boatyard.logs.selection import Selection
from boatyard.logs.stream import Stream
from boatyard.logs.wording import OWN_NAME

_TICK = 0.5
_PATIENCE = 0.3
"""LinuxKit's memlogd doesn't say where a dump ends: so long without a line, and it has."""


class Reading:
    """`mode`: of `boatyard.logs.request`. `tail`: of what was there before, only so many lines; None for all of
    it."""

    def __init__(self, path: str, mode: int, selection: Selection, *, tail: int | None = None) -> None:
        self._path = path
        self._mode = mode
        self._selection = selection
        self._tail = Tail(tail) if tail is not None else None
        self._lost: list[Lost] = []

    def run(self, render: Rendered, write: Callable[[bytes], None]) -> None:
        """Until the dump ends, or `until` is over, or for ever. UnavailableError when nobody answers at the
        beginning; later it waits for memlogd to come back."""
        for lines in self._dump() if self._mode == DUMP else self._follow():
            write(render(lines))

    def _request(self) -> Request:
        # Exclusions are ours; patterns are matched again, because LinuxKit's memlogd doesn't.
        return Request(self._mode, sources=self._selection.sources, since=self._selection.since, states=True)

    def _dump(self) -> Iterator[Lines]:
        with Stream(self._path, self._request()) as stream:
            continuity = Continuity()
            while (frames := stream.read()) is not None:
                for frame in frames:
                    for event in continuity.take(frame):
                        yield from self._told(event)
        yield from self._rest()

    def _follow(self) -> Iterator[Lines]:
        until = self._selection.until
        with Following(self._path, self._request(), Continuity()) as following:
            following.connect()
            quiet = 0.0
            while not until or time.time_ns() <= until:
                came = False
                for event in following.poll(_PATIENCE if self._tail is not None else _TICK):
                    came = True
                    yield from self._told(event)
                quiet = 0.0 if came else quiet + _PATIENCE
                if self._tail is not None and following.plain and quiet:
                    yield from self._rest()
        yield from self._rest()

    def _told(self, event: Event) -> Iterator[Lines]:
        if isinstance(event, Lost):
            self._lost.append(event)
            return
        if self._lost:
            if text := wording.lost(self._lost):
                yield from self._own(text)
            self._lost.clear()
        if isinstance(event, Lines):
            lines = self._selection.apply(event)
            if lines is None:
                return
            if self._tail is not None:
                self._tail.put(lines)
            else:
                yield lines
        elif isinstance(event, CaughtUp):
            yield from self._rest()
        elif isinstance(event, Gap) and self._selection.wants(event.source):
            yield from self._own(wording.gap(event))

    def _rest(self) -> Iterator[Lines]:
        """The tail, when what was there before has ended."""
        if self._tail is not None:
            yield from self._tail.take()
            self._tail = None

    def _own(self, text: bytes) -> Iterator[Lines]:
        yield Lines(OWN_NAME, time.time_ns(), 0, 1, text)
