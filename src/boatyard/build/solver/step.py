"""What an executing op tells, handed to every job that waits for it.

One `SharedStep` per execution. A job that joins late is told what it missed, up to a limit on log bytes that is stated
when reached.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TYPE_CHECKING

from boatyard.progress import Emit, Event, LogEvent, StatusEvent, WarningEvent

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

MOST_BACKLOG = 4 << 20
"""Bytes of log kept for jobs that join late."""
EVENT_BYTES = 200
"""What keeping a piece of log takes beside its text."""

_Told = Callable[[str], Event]
"""Makes an event for a vertex digest (jobs may know one execution under different digests)."""


class SharedStep:
    """Implements `types.StepContext`. Owned by an execution; lives as long as it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._listeners: list[tuple[str, Emit]] = []
        self._backlog: list[_Told] = []
        self._backlog_bytes = 0
        self._decoders: dict[int, IncrementalDecoder] = {}
        self._started: dict[str, float] = {}

    def join(self, vertex: str, emit: Emit) -> None:
        for told in self._backlog:
            emit(told(vertex))
        self._listeners.append((vertex, emit))

    def leave(self, vertex: str, emit: Emit) -> None:
        self._listeners.remove((vertex, emit))

    def log(self, data: bytes, stream: int = 1) -> None:
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        self._log(decoder.decode(data), stream)

    def end(self) -> None:
        """Nobody joins any more: what was kept for that is dropped. Bytes of an unfinished character come out as a
        replacement character."""
        for stream, decoder in self._decoders.items():
            self._log(decoder.decode(b"", True), stream)
        self._decoders.clear()
        self._started.clear()
        self._backlog.clear()
        self._backlog_bytes = 0

    def _log(self, text: str, stream: int) -> None:
        if not text:
            return
        now = self._clock()
        size = len(text) + EVENT_BYTES
        if self._backlog_bytes <= MOST_BACKLOG < self._backlog_bytes + size:
            notice = f"[output beyond {MOST_BACKLOG >> 20} MiB is not repeated to builds that joined late]\n"
            self._backlog.append(lambda vertex: LogEvent(vertex=vertex, stream=stream, data=notice, time=now))
        self._backlog_bytes += size
        self._tell(
            lambda vertex: LogEvent(vertex=vertex, stream=stream, data=text, time=now),
            keep=self._backlog_bytes <= MOST_BACKLOG,
        )

    def status(self, id: str, name: str = "", current: int = 0, total: int = 0, done: bool = False) -> None:
        now = self._clock()
        started = self._started.setdefault(id, now)
        completed = now if done else None
        self._tell(
            lambda vertex: StatusEvent(
                vertex=vertex,
                id=id,
                name=name or id,
                current=current,
                total=total,
                started=started,
                completed=completed,
            ),
            keep=done,
        )

    def warn(self, short: str, detail: str = "") -> None:
        self._tell(lambda vertex: WarningEvent(vertex=vertex, short=short, detail=detail), keep=True)

    def _tell(self, told: _Told, keep: bool) -> None:
        if keep:
            self._backlog.append(told)
        for vertex, emit in self._listeners:
            emit(told(vertex))


class ShownStep(SharedStep):
    """Work beside the graph that is shown as a step, under a digest of its own. Lives as long as the work."""

    def __init__(self, digest: str, name: str, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.digest = digest
        self.name = name
