"""A build being recorded: what it is, everything it tells, and how it ended, in a directory of its own.

`record.json` says what was asked and how it ended, `events.jsonl` holds the progress events, one a line, `graphs` what
a step can be debugged from, and `sources.json` the source files that graphs and warnings point into.

Recording never fails a build: what a full disk doesn't take is missing here, and the daemon's log says so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from boatyard.errors import BoatyardError, BuildError, ExitError, FrontendError, SolveError
from boatyard.progress import Event, LogEvent, VertexEvent, WarningEvent, encode

log = logging.getLogger(__name__)


class FailurePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of a file in `sources.json`."""

    filename: str
    start: int
    end: int


class FrontendCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a frontend was asked for."""

    frontend: str
    options: dict[str, str]


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`record.json`. Secrets' values never come here; build arguments do, as they do in an image's history.

    `status`: running, completed, failed, cancelled or interrupted. `results`: vertex digest -> ids of its outputs in
    the result store. `frontend` "" is a graph, or a frontend of the client's own.
    """

    ref: str
    name: str
    status: str = "running"
    created: float
    completed: float | None = None
    frontend: str = ""
    options: dict[str, str] = {}
    exports: list[dict[str, str]] = []
    response: dict[str, str] = {}
    error: str = ""
    error_kind: str = ""
    """The class of `boatyard.errors`."""
    error_reason: str = ""
    """Without the name of the step that failed, where `error` has it."""
    error_hint: str = ""
    error_place: FailurePlace | None = None
    exit_code: int | None = None
    """Of the process that failed the build."""
    failed_vertex: str = ""
    steps: int = 0
    completed_steps: int = 0
    cached_steps: int = 0
    warnings: int = 0
    scope: str = ""
    trust_host_ca: bool = False
    pinned: bool = False
    internal: bool = False
    """No build of the past: the record goes with the build."""
    results: dict[str, list[str]] = {}
    platforms: list[str] = []
    """Of the graphs, in their order."""
    requests: list[FrontendCall] = []
    """Of a frontend of the client's own, to those of the builder."""
    generation: int = 0
    """Counts the changes that were made to the record of an ended build."""


MOST_OUTPUT = 256 << 20
"""Bytes of what steps print that are kept of one build."""


class Listener(Protocol):
    """Hears what a build tells while it is recorded."""

    def told(self, event: Event, position: int) -> None:
        """`position`: the size of `events.jsonl` once this event is in it."""

    def ended(self) -> None: ...


class Recording:
    """Owned by the build; `end` must be called. Used on the event loop, but for `flush`."""

    def __init__(self, directory: Path, record: BuildRecord, clock: Callable[[], float]) -> None:
        self.record = record
        self.sources: dict[str, str] = {}
        """File name -> text."""
        self.position = 0
        """Bytes of `events.jsonl`."""
        self.listeners: list[Listener] = []
        self._directory = directory
        self._clock = clock
        self._file: BinaryIO | None = None
        self._steps: dict[str, VertexEvent] = {}
        self._warnings = 0
        self._printed = 0
        self._full = False
        with self._failing():
            directory.mkdir()
            write_record(directory, record)
            self._file = open(directory / "events.jsonl", "wb", buffering=256 << 10)  # noqa: SIM115

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What the disk refuses ends the recording, not the build."""
        try:
            yield
        except OSError as error:
            log.warning("build %s can't be recorded: %s", self.record.ref, error)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # told already; it is closed all the same
                file.close()

    @property
    def broken(self) -> bool:
        """The disk has refused something: not all that was told can be read again."""
        return self._file is None and self.record.status == "running"

    def add(self, event: Event) -> None:
        if isinstance(event, LogEvent) and not self._has_room(event):
            return
        if self._file is not None:
            line = encode(event) + b"\n"
            with self._failing():
                self._file.write(line)
                self.position += len(line)
        if isinstance(event, VertexEvent):
            self._steps[event.digest] = event
        elif isinstance(event, WarningEvent):
            self._warnings += 1
        for listener in self.listeners:
            listener.told(event, self.position)

    def _has_room(self, event: LogEvent) -> bool:
        """What a step prints without end must not fill the disk."""
        self._printed += len(event.data)
        if self._printed <= MOST_OUTPUT:
            return True
        if not self._full:
            self._full = True
            short = f"the output from here on is not kept: it is more than {MOST_OUTPUT >> 20} MiB"
            self.add(WarningEvent(vertex=event.vertex, code="OutputLimit", short=short))
        return False

    def flush(self) -> None:
        """So that readers find what was told so far. Thread-safe."""
        file = self._file
        if file is not None and not file.closed:
            with suppress(OSError, ValueError):  # the next `add` meets it, too; or it was closed meanwhile
                file.flush()

    def end(
        self,
        status: str,
        *,
        error: BaseException | None = None,
        response: Mapping[str, str] | None = None,
        graphs: Sequence[tuple[str, bytes]] = (),
        results: Mapping[str, Sequence[str]] | None = None,
        requests: Sequence[FrontendCall] = (),
    ) -> BuildRecord:
        """`graphs`: platforms and encoded definitions."""
        with self._failing():
            if self._file is not None:
                self._file.flush()
        self._close()
        steps = self._steps.values()
        self.record = msgspec.structs.replace(
            self.record,
            status=status,
            completed=self._clock(),
            response=dict(response or {}),
            steps=len(steps),
            completed_steps=sum(step.completed is not None for step in steps),
            cached_steps=sum(step.cached for step in steps),
            warnings=self._warnings,
            results={digest: list(ids) for digest, ids in (results or {}).items()},
            requests=list(requests),
            platforms=[platform for platform, _ in graphs],
        )
        if error is not None:
            self._add_error(error)
        with self._failing():
            write_record(self._directory, self.record)
            if graphs:
                (self._directory / "graphs").write_bytes(msgspec.msgpack.encode([data for _, data in graphs]))
            if self.sources:
                (self._directory / "sources.json").write_bytes(msgspec.json.encode(self.sources))
            if isinstance(error, FrontendError):
                (self._directory / "error").write_bytes(error.document)
        for listener in list(self.listeners):
            listener.ended()
        return self.record

    def _add_error(self, error: BaseException) -> None:
        exit_error = caused(error, ExitError)
        source = error.source if isinstance(error, BuildError) else None
        place = None
        if source is not None:
            self.sources.setdefault(source.filename, source.text)
            place = FailurePlace(filename=source.filename, start=source.start, end=source.end)
        self.record = msgspec.structs.replace(
            self.record,
            error=str(error),
            error_kind=type(error).__name__,
            error_reason=str(error.__cause__) if isinstance(error, SolveError) and error.__cause__ else "",
            error_hint=(error.hint or "") if isinstance(error, BoatyardError) else "",
            error_place=place,
            exit_code=exit_error.exit_code if exit_error else None,
            failed_vertex=error.vertex if isinstance(error, SolveError | FrontendError) else "",
        )


def caused(error: BaseException | None, kind: type[ExitError]) -> ExitError | None:
    """The error itself, or the first one that led to it, of a kind."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


def write_record(directory: Path, record: BuildRecord) -> None:
    temporary = directory / "record.json.new"
    temporary.write_bytes(encode(record))
    os.replace(temporary, directory / "record.json")
