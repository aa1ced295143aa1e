"""memlogd from its sockets to its end: one loop, in one thread.

A round: what is ready is read, then every reader that keeps pace is handed what is new. A reader that doesn't take
it is left alone until it does; what the backlog can't keep for it is counted, source by source, and told when it
comes back.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial

from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.form import FrameForm, LineForm
from boatyard.logs.memlogd.intake import Intake
from boatyard.logs.memlogd.loop import Loop
from boatyard.logs.memlogd.notices import Notices
from boatyard.logs.memlogd.outlet import Outlet
from boatyard.logs.memlogd.query import Desk
from boatyard.logs.memlogd.reader import Reader
from boatyard.logs.memlogd.store import Store
from boatyard.logs.request import DUMP_AND_FOLLOW, FOLLOW, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boatyard.logs.memlogd.form import Form

SNAPSHOTS = 8
"""Dumps that may keep lines the ring has dropped. When there are more, the one that waits the longest gives up
its."""
LAGGING = 16
"""Readers that may be behind what the backlog keeps. When there are more, the one that waits the longest is
closed."""
_RESERVED = 64
"""Descriptors that sources can't have."""
_PAUSE = 0.5
_LAST_READS = 256
_LAST_CALL = 3.0
"""Seconds for readers to take what is left when memlogd stops."""


class Server:
    """One per memlogd. Owns both sockets, which are bound. `identity`: its name for itself, another one each time;
    `orphan`: the one before was killed; `descriptors`: how many this process may have open."""

    def __init__(
        self,
        log: socket.socket,
        query: socket.socket,
        bounds: Bounds,
        *,
        identity: str,
        orphan: bool,
        descriptors: int,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.loop = Loop()
        self.store = Store(bounds, clock)
        self._identity = identity
        self._orphan = orphan
        self._notices = Notices(self.store)
        self._json = LineForm(text=False)
        self._outlets: dict[Outlet, None] = {}
        self._round = 0
        self._handed_on = 0
        self._intake = Intake(self.loop, log, self.store, self._notices, descriptors - _RESERVED)
        self._desk = Desk(self.loop, query, self._notices, self._serve)

    def start(self) -> None:
        self.store.say("memlogd started")
        self._hand_on()

    def round(self, timeout: float | None = None) -> None:
        """Wait for something, and do what it asks for."""
        self._round += 1
        self.loop.round(_PAUSE if self._desk.paused else timeout)
        if self._desk.paused:
            self._desk.resume()
        if self._handed_on != self.store.end or self.store.following:
            self._hand_on()

    def mirror(self, descriptor: int, write: Callable[[memoryview], int]) -> None:
        """Write every line to a descriptor (which doesn't block, and is given away) as text."""
        reader = Reader(self.store, LineForm(text=True), dump=True, follow=True)
        outlet = Outlet(self.loop, descriptor, write, reader, self._mirror_gone)
        self.loop.watch(descriptor, outlet, 0)
        self._add(outlet)

    def stop(self) -> None:
        """Take what has been written until now, hand it on to all who read, and close everything."""
        self._intake.ready(0)
        for _ in range(_LAST_READS):
            if not self._intake.drain():
                break
            self._hand_on()
        self._intake.close()
        self._desk.close()
        self._notices.flush()
        for outlet in self._outlets:
            outlet.reader.stop()
        self._hand_on()
        end = time.monotonic() + _LAST_CALL
        while self._outlets and (left := end - time.monotonic()) > 0:
            self.loop.round(left)
        for outlet in list(self._outlets):
            outlet.close()
        self.loop.end()

    def _serve(self, sock: socket.socket, asked: Request, frames: bool) -> None:
        form: Form = FrameForm(asked.states) if frames else self._json
        reader = Reader(
            self.store,
            form,
            dump=asked.mode != FOLLOW,
            follow=asked.mode in (FOLLOW, DUMP_AND_FOLLOW),
            identity=self._identity,
            orphan=self._orphan,
            wants=_matcher(asked.sources) if asked.sources else None,
            since=asked.since,
        )
        descriptor = sock.detach()
        outlet = Outlet(self.loop, descriptor, partial(os.write, descriptor), reader, self._gone)
        self.loop.hand_on(descriptor, outlet, 0)
        self._desk.served += 1
        self._add(outlet)

    def _add(self, outlet: Outlet) -> None:
        self._outlets[outlet] = None
        if outlet.reader.follows:
            self.store.following = True
        outlet.pump(self._round)
        waiting = [each for each in self._outlets if each.reader.snapshot]
        if len(waiting) > SNAPSHOTS:
            min(waiting, key=_served).reader.give_up_snapshot()

    def _gone(self, outlet: Outlet) -> None:
        del self._outlets[outlet]
        self._desk.served -= 1

    def _mirror_gone(self, outlet: Outlet) -> None:
        del self._outlets[outlet]

    def _hand_on(self) -> None:
        self._handed_on = self.store.end
        for outlet in list(self._outlets):
            if not outlet.blocked:
                outlet.pump(self._round)
        self._trim()

    def _trim(self) -> None:
        """Let the backlog go as far as it can, and further than that when it is full."""
        backlog = self.store.backlog
        readers = [outlet.reader for outlet in self._outlets if outlet.reader.follows]
        self.store.following = bool(readers)
        if not readers:
            backlog.clear(self.store.end)
            return
        needed = min(reader.position for reader in readers)
        while backlog.first < needed:
            backlog.pop()
        while backlog.full:
            chunk = backlog.pop()
            for reader in readers:
                if reader.position <= chunk.index:
                    reader.miss(chunk)
                    reader.position = chunk.index + 1
        lagging = [outlet for outlet in self._outlets if outlet.reader.missed]
        if len(lagging) > LAGGING:
            min(lagging, key=_served).close()


def _served(outlet: Outlet) -> int:
    return outlet.served


def _matcher(patterns: tuple[str, ...]) -> Callable[[bytes], bool]:
    import fnmatch  # and with it re, which nobody else here needs

    def wants(name: bytes) -> bool:
        text = name.decode("utf-8", "surrogateescape")
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)

    return wants
