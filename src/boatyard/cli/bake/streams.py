"""The streams of several builds as one.

Builds share steps, and each tells of them all: a step is shown as the first one tells of it, and goes on with another
when that one gives up on it. When a build fails, the others are cancelled, and what they tell until they have ended is
shown, too.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType

from boatyard.cli.render.steps import is_cancellation
from boatyard.client.documents.builds import BuildResult
from boatyard.client.documents.envelope import StreamEvent
from boatyard.client.sync import Stream
from boatyard.errors import BoatyardError, UnavailableError
from boatyard.progress import LogEvent, StatusEvent, VertexEvent

Cancel = Callable[[str], None]
"""Asks for the end of the build of this name, and returns when it has come, or can't be asked for."""


@dataclass(slots=True)
class SharedSteps:
    """Which build tells of which step. One per display."""

    _tellers: dict[str, str] = field(default_factory=dict)
    _latest: dict[str, dict[str, VertexEvent]] = field(default_factory=dict)

    def shown(self, name: str, event: StreamEvent) -> Iterator[StreamEvent]:
        """What of an event of a build is shown."""
        if isinstance(event, VertexEvent):
            yield from self._vertex(name, event)
        elif isinstance(event, LogEvent | StatusEvent):
            if self._tellers.setdefault(event.vertex, name) == name:
                yield event
        else:
            yield event

    def _vertex(self, name: str, event: VertexEvent) -> Iterator[VertexEvent]:
        latest = self._latest.setdefault(event.digest, {})
        latest[name] = event
        teller = self._tellers.setdefault(event.digest, name)
        if teller == name:
            heir = self._heir(name, latest) if _given_up(event) else None
            if heir is None:
                yield event
            else:
                self._tellers[event.digest] = heir
                yield latest[heir]
        elif _runs_after(event, latest[teller]):
            self._tellers[event.digest] = name
            yield event

    def _heir(self, name: str, latest: Mapping[str, VertexEvent]) -> str | None:
        return next((each for each, told in latest.items() if each != name and not _given_up(told)), None)


def _given_up(event: VertexEvent) -> bool:
    return event.completed is not None and bool(event.error) and is_cancellation(event.error)


def _runs_after(event: VertexEvent, told: VertexEvent) -> bool:
    """Whether a step runs again, after what was shown of it had ended."""
    return told.completed is not None and event.started is not None and event.started > told.completed


class Gathered:
    """A stream of all streams; its result is each build's, by name. Owned by the command; as a context, it closes
    them."""

    def __init__(
        self, streams: Mapping[str, Stream[BuildResult]], cancel: Cancel, finished: Callable[[str], object]
    ) -> None:
        """`finished` is called with the name of each build that succeeded, when it has."""
        self._open = dict(streams)
        self._cancel = cancel
        self._steps = SharedSteps()
        self._results: dict[str, BuildResult] = {}
        self._stack = ExitStack()
        self._failure: BoatyardError | None = None
        self._finished = finished
        self.failed = ""
        """The build that failed first."""

    def __enter__(self) -> Gathered:
        for stream in self._open.values():
            self._stack.enter_context(stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def fileno(self) -> int:
        """Of one that is open; nobody joins terminals to builds that run together."""
        return next(iter(self._open.values())).fileno()

    @property
    def result(self) -> dict[str, BuildResult]:
        return dict(self._results)

    def poll(self, timeout: float | None) -> Sequence[StreamEvent] | None:
        """As `Stream.poll`: None after the last end, raising what the first build that failed failed with."""
        if not self._open:
            if self._failure is not None:
                raise self._failure
            return None
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            events = self._available()
            left = 0.0 if deadline is None else deadline - monotonic()
            if events or not self._open or (deadline is not None and left <= 0):
                return events
            self._wait(None if deadline is None else left)

    def _wait(self, timeout: float | None) -> None:
        poller = select.poll()
        for stream in self._open.values():
            poller.register(stream.fileno(), select.POLLIN)
        poller.poll(None if timeout is None else timeout * 1000)

    def _available(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for name, stream in list(self._open.items()):
            try:
                told = stream.poll(0)
            except BoatyardError as error:
                del self._open[name]
                self._fail(name, error)
                continue
            for event in told or ():
                events.extend(self._steps.shown(name, event))
            if told is None:
                del self._open[name]
                self._results[name] = stream.result
                self._finished(name)
        return events

    def _fail(self, name: str, error: BoatyardError) -> None:
        """The first failure counts; it ends all others."""
        if self._failure is not None:
            return
        self._failure, self.failed = error, name
        for other in list(self._open):
            try:
                self._cancel(other)
            except UnavailableError:
                self._open.pop(other).close()
            except BoatyardError:
                continue  # it has ended by itself
