"""From memlogd into files, for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from boatyard.errors import UnavailableError
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import CaughtUp, Event, Gap, Hello, Known, Lines, Lost
from boatyard.logs.following import Following
from boatyard.logs.logwrite.directory import Directory
from boatyard.logs.moment import SECOND
from boatyard.logs.request import DUMP_AND_FOLLOW, Request
from boatyard.logs.selection import Selection

OWN_PREFIX = b"logwrite"
"""Sources that are left out: what we say would make us say something."""
_TICK = 1.0


class Service:
    """One per logwrite."""

    def __init__(
        self,
        socket: str,
        directory: Directory,
        selection: Selection,
        complain: Callable[[str], None],
        ready: Callable[[], None],
    ) -> None:
        """`ready` is called once, when all that memlogd had is in files."""
        self._socket = socket
        self._directory = directory
        self._selection = selection
        self._complain = complain
        self._ready: Callable[[], None] | None = ready
        self._caught_up = False
        self._gathered: dict[bytes, list[Lines]] = {}
        """Lines that came together, to be written together."""

    def run(self, wake: int, stopping: Callable[[], bool]) -> None:
        """Until `stopping`, which `wake` becoming readable announces. ConflictError or StorageError at the
        beginning."""
        with self._directory.held():
            identity, numbers, going_on = self._directory.recover()
            continuity = Continuity(complete=True, identity=identity, numbers=numbers, open=going_on)
            request = Request(DUMP_AND_FOLLOW, sources=self._selection.sources, states=True)
            if identity is not None:
                self._directory.greet(identity)
            with Following(self._socket, request, continuity, wake) as following:
                connected = True
                while not stopping():
                    try:
                        for event in following.poll(_TICK):
                            self._take(event)
                        self._write()
                        if self._caught_up and self._ready is not None:
                            self._ready()
                            self._ready = None
                    except UnavailableError as error:
                        self._complain(error.message)
                    if following.connected != connected:
                        connected = following.connected
                        self._complain(f"{'reading from' if connected else 'waiting for'} memlogd at {self._socket}")
                    self._directory.tick()

    def _take(self, event: Event) -> None:
        if isinstance(event, CaughtUp):
            self._caught_up = True
        elif isinstance(event, Hello):
            self._write()
            self._directory.greet(event.identity)
        elif isinstance(event, Lines | Gap | Lost | Known):
            if event.source.startswith(OWN_PREFIX) or not self._selection.wants(event.source):
                return
            if isinstance(event, Lines):
                self._gathered.setdefault(event.source, []).append(event)
                return
            self._write(event.source)
            if isinstance(event, Gap):
                self._directory.tell_gap(event)
            elif isinstance(event, Lost):
                self._directory.tell_lost(event)
            else:
                self._directory.settle(event)

    def _write(self, *sources: bytes) -> None:
        """What was gathered of some sources, or of all."""
        for source in sources or list(self._gathered):
            for lines in _joined(self._gathered.pop(source, [])):
                self._directory.write(lines)


def _joined(gathered: list[Lines]) -> Iterator[Lines]:
    """The same lines in fewer pieces: those of one second (a file's lines tell no less) that follow each other."""
    at = 0
    while at < len(gathered):
        first, end = gathered[at], at + 1
        number = first.number + first.count
        while end < len(gathered):
            then = gathered[end]
            if then.number != number or not number or then.time // SECOND != first.time // SECOND:
                break
            number += then.count
            end += 1
        if end == at + 1:
            yield first
        else:
            data = b"".join([lines.data for lines in gathered[at:end]])
            yield Lines(first.source, first.time, first.number, number - first.number, data)
        at = end
