"""Logs for the rest of Boatyard: descriptors are handed to a `LogSink`, and lines come back out of it.

No byte passes through whoever hands a descriptor over: memlogd reads it from then on. What comes back is an async
iterator, in which missing lines are told, and which lives on when memlogd is started anew.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from boatyard.errors import UnavailableError
from boatyard.logs import handover
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import Event, Gap, Lines, Lost
from boatyard.logs.following import FIRST_PAUSE, LAST_PAUSE
from boatyard.logs.places import LOG_SOCKET, QUERY_SOCKET
from boatyard.logs.request import DUMP, DUMP_AND_FOLLOW, Request
from boatyard.logs.selection import Selection
from boatyard.logs.stream import RECEIVE, Decoding


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, or (`missing` is not 0) what is said in place of lines that will never come. `time`: nanoseconds since
    1970. `number` counts a source's lines; 0 where they aren't counted. `goes_on`: the next line continues this one.
    `missing`: how many lines; -1 when nobody knows."""

    time: int
    source: str
    text: str
    number: int = 0
    goes_on: bool = False
    missing: int = 0


@dataclass(frozen=True, slots=True)
class LogSink:
    """A memlogd, by its sockets. A value: it holds nothing, and any number of them may name the same memlogd."""

    log_socket: str = LOG_SOCKET
    query_socket: str = QUERY_SOCKET

    def give(self, name: str, *descriptors: int) -> None:
        """Let memlogd read `descriptors` as the source `name`; the caller's own copies may be closed afterwards.
        UnavailableError without a memlogd, InvalidError for a name that is empty or too long."""
        handover.hand_over(self.log_socket, name, *descriptors)

    def open(self, name: str) -> int:
        """The writable end of a pipe that memlogd reads as the source `name`. It is the caller's, and
        close-on-exec."""
        return handover.open_source(self.log_socket, name)

    async def follow(
        self, *, since: int = 0, until: int | None = None, sources: Sequence[str] = ()
    ) -> AsyncIterator[LogLine]:
        """Lines that were there from `since` on and those that come, until `until` (nanoseconds since 1970; None: for
        ever). `sources` are patterns with `*`, `?` and `[..]`. UnavailableError when no memlogd answers at first."""
        async for event in self.events(since=since, until=until, sources=sources):
            if isinstance(event, Lines):
                name = event.source.decode("utf-8", "replace")
                last = event.count - 1
                for index, text in enumerate(event.data[:-1].split(b"\n")):
                    number = event.number + index if event.number else 0
                    goes_on = event.goes_on and index == last
                    yield LogLine(event.time, name, text.decode("utf-8", "replace"), number, goes_on)
            elif isinstance(event, Gap):
                name = event.source.decode("utf-8", "replace")
                yield LogLine(time.time_ns(), name, event.why, event.number, missing=event.count)
            elif isinstance(event, Lost) and event.number:
                name = event.source.decode("utf-8", "replace")
                yield LogLine(time.time_ns(), name, "memlogd was started anew", event.number + 1, missing=-1)

    async def events(
        self, *, since: int = 0, until: int | None = None, sources: Sequence[str] = ()
    ) -> AsyncIterator[Event]:
        """The same as they come: many lines at once, and what becomes of sources."""
        selection = Selection(sources=sources, since=since, until=until or 0)
        continuity = Continuity()
        following = until is None or until > time.time_ns()
        mode = DUMP_AND_FOLLOW if following else DUMP
        request = Request(mode, sources=sources, since=since, states=True)
        pause, first = FIRST_PAUSE, True
        while True:
            try:
                async for event in self._connection(request, continuity, until if following else None):
                    pause, first = FIRST_PAUSE, False
                    if isinstance(event, Lines):
                        chosen = selection.apply(event)
                        if chosen is not None:
                            yield chosen
                    elif not isinstance(event, Gap | Lost) or selection.wants(event.source):
                        yield event
            except UnavailableError:
                if first:
                    raise
            if not following or (until is not None and time.time_ns() > until):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _connection(self, request: Request, continuity: Continuity, until: int | None) -> AsyncIterator[Event]:
        """One connection, to its end or to the moment `until`."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, self.query_socket)
                await loop.sock_sendall(sock, request.encode())
            except OSError as error:
                raise UnavailableError(
                    f"memlogd can't be reached at {self.query_socket}: {error.strerror}",
                    hint="start one (`boat logd`)",
                ) from error
            decoding = Decoding()
            while True:
                left = None if until is None else (until - time.time_ns()) / 1e9
                if left is not None and left <= 0:
                    return
                try:
                    data = await asyncio.wait_for(loop.sock_recv(sock, RECEIVE), left)
                except TimeoutError:
                    return
                except ConnectionResetError:
                    return
                if not data:
                    return
                for frame in decoding.feed(data):
                    for event in continuity.take(frame):
                        yield event
