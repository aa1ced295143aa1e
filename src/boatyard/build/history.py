"""The history of builds: what was asked, how it ended, everything it told, and the graph it solved.

A directory a build, `history/REF/`: `record.json`, `events.jsonl` (the build's progress events, one a line) and
`graphs` (what a step of it can be debugged from). Records of builds that were running when the daemon was killed are
found as "interrupted".

Recording never fails a build: what a full disk doesn't take is missing here, and the daemon's log says so.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from boatyard.errors import ConflictError, IntegrityError, InvalidError, NotFoundError, SolveError
from boatyard.progress import Event, VertexEvent, WarningEvent, encode

log = logging.getLogger(__name__)

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_events = msgspec.json.Decoder(Event)
READ_AT_ONCE = 1 << 20
"""Bytes of events."""


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`record.json`. Secrets' values never come here; build arguments do, as they do in an image's history.

    `status`: running, completed, failed, cancelled or interrupted. `results`: vertex digest -> ids of its outputs in
    the result store.
    """

    ref: str
    name: str
    status: str = "running"
    created: float
    completed: float | None = None
    options: dict[str, str] = {}
    exports: list[dict[str, str]] = []
    response: dict[str, str] = {}
    error: str = ""
    error_kind: str = ""
    """The class of `boatyard.errors`."""
    failed_vertex: str = ""
    steps: int = 0
    cached_steps: int = 0
    warnings: int = 0
    scope: str = ""
    trust_host_ca: bool = False
    pinned: bool = False
    results: dict[str, list[str]] = {}


class Recording:
    """A build being recorded. Owned by the build; `end` must be called."""

    def __init__(self, directory: Path, record: BuildRecord, clock: Callable[[], float]) -> None:
        self.record = record
        self._directory = directory
        self._clock = clock
        self._file: BinaryIO | None = None
        self._steps: dict[str, VertexEvent] = {}
        self._warnings = 0
        with self._failing():
            directory.mkdir()
            _write(directory, record)
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

    def add(self, event: Event) -> None:
        if self._file is not None:
            with self._failing():
                self._file.write(encode(event) + b"\n")
        if isinstance(event, VertexEvent):
            self._steps[event.digest] = event
        elif isinstance(event, WarningEvent):
            self._warnings += 1

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
        graphs: Sequence[bytes] = (),
        results: Mapping[str, Sequence[str]] | None = None,
    ) -> BuildRecord:
        """`graphs`: encoded definitions, one a platform."""
        with self._failing():
            if self._file is not None:
                self._file.flush()
        self._close()
        self.record = msgspec.structs.replace(
            self.record,
            status=status,
            completed=self._clock(),
            error=str(error) if error else "",
            error_kind=type(error).__name__ if error else "",
            failed_vertex=error.vertex if isinstance(error, SolveError) else "",
            response=dict(response or {}),
            steps=len(self._steps),
            cached_steps=sum(step.cached for step in self._steps.values()),
            warnings=self._warnings,
            results={digest: list(ids) for digest, ids in (results or {}).items()},
        )
        with self._failing():
            _write(self._directory, self.record)
            if graphs:
                (self._directory / "graphs").write_bytes(msgspec.msgpack.encode(graphs))
        return self.record


class History:
    """One per daemon. `max_age` in seconds and `max_entries` bound what is kept; pinned records always are."""

    def __init__(
        self,
        root: Path,
        *,
        max_age: float = 48 * 3600,
        max_entries: int = 50,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._max_age = max_age
        self._max_entries = max_entries
        self._clock = clock
        self._running: dict[str, Recording] = {}
        root.mkdir(parents=True, exist_ok=True)
        self._clear()

    def _clear(self) -> None:
        """Delete what was half made or half deleted when an earlier process ended."""
        for directory in self._root.iterdir():
            (directory / "record.json.new").unlink(missing_ok=True)
            if not (directory / "record.json").exists():
                shutil.rmtree(directory, ignore_errors=True)

    def begin(
        self,
        ref: str,
        name: str,
        options: Mapping[str, str],
        exports: list[dict[str, str]],
        scope: str,
        *,
        trust_host_ca: bool = False,
    ) -> Recording:
        directory = self._directory(ref)
        shutil.rmtree(directory, ignore_errors=True)
        record = BuildRecord(
            ref=ref,
            name=name,
            created=self._clock(),
            options=dict(options),
            exports=exports,
            scope=scope,
            trust_host_ca=trust_host_ca,
        )
        recording = self._running[ref] = Recording(directory, record, self._clock)
        return recording

    def ended(self, ref: str) -> None:
        self._running.pop(ref, None)
        self.expire()

    def records(self) -> list[BuildRecord]:
        """Newest first."""
        found = [record for path in self._root.iterdir() if (record := self._read(path))]
        return sorted(found, key=lambda record: record.created, reverse=True)

    def get(self, ref: str) -> BuildRecord:
        """By ref, by a unique beginning of one, or "latest". NotFoundError."""
        if ref in ("latest", "last", ""):
            if records := self.records():
                return records[0]
            raise NotFoundError("there is no build in the history yet", hint="build something: `boat build .`")
        if record := self._read(self._directory(ref)):
            return record
        if (self._directory(ref) / "record.json").exists():
            raise _damaged(ref)
        matching = [record for record in self.records() if record.ref.startswith(ref)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ConflictError(f"{ref!r} begins the refs of {len(matching)} builds", hint="give more of it")
        raise NotFoundError(f"no build {ref!r} in the history", hint="`boat builder history` lists what is kept")

    def events(self, ref: str) -> Iterator[Event]:
        """Everything a build told, in order. IntegrityError where a line is damaged. Blocks."""
        position = 0
        while True:
            found, after = self.read(ref, position)
            yield from found
            if after == position:
                return
            position = after

    def read(self, ref: str, position: int) -> tuple[list[Event], int]:
        """Some of what a build told, from a place in its record on (at first 0), and the place to go on from: the same
        when there is nothing more, or nothing yet. IntegrityError when what stands there is damaged. Blocks."""
        ref = self.get(ref).ref
        if recording := self._running.get(ref):
            recording.flush()
        try:
            with open(self._directory(ref) / "events.jsonl", "rb") as file:
                file.seek(position)
                lines = file.readlines(READ_AT_ONCE)
        except FileNotFoundError:
            return [], position
        found: list[Event] = []
        for line in lines:
            if not line.endswith(b"\n"):
                break  # the last line of a build that runs, or was killed, may be torn
            try:
                found.append(_events.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if found:
                    break  # these first
                raise _damaged(ref) from error
            position += len(line)
        return found, position

    def graphs(self, ref: str) -> list[bytes]:
        """The definitions a build solved, encoded, one a platform. NotFoundError if it didn't get as far."""
        try:
            data = (self._directory(self.get(ref).ref) / "graphs").read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"build {ref!r} left no graph behind", hint="only builds that got as far as a graph can be debugged"
            ) from error
        try:
            return msgspec.msgpack.decode(data, type=list[bytes])
        except msgspec.DecodeError as error:
            raise _damaged(ref) from error

    def pin(self, ref: str, pinned: bool = True) -> None:
        record = self.get(ref)
        _write(self._directory(record.ref), msgspec.structs.replace(record, pinned=pinned))

    def delete(self, ref: str) -> str:
        """The whole ref. ConflictError while it runs."""
        try:
            ref = self.get(ref).ref
        except IntegrityError:
            log.info("the damaged record of build %s is deleted", ref)
        if ref in self._running:
            raise ConflictError(f"build {ref} is running", hint="cancel it first")
        shutil.rmtree(self._directory(ref))
        return ref

    def expire(self) -> None:
        """Delete what is too old or too many."""
        now = self._clock()
        kept = 0
        for record in self.records():
            if record.pinned or record.ref in self._running:
                continue
            kept += 1
            if kept > self._max_entries or now - record.created > self._max_age:
                shutil.rmtree(self._directory(record.ref), ignore_errors=True)

    def usage(self) -> int:
        """Bytes on disk."""
        return sum(entry.stat().st_size for path in self._root.iterdir() for entry in os.scandir(path))

    def _directory(self, ref: str) -> Path:
        if not _REF.fullmatch(ref):
            raise InvalidError(
                f"invalid build ref {ref!r}", hint="letters, digits, dot, dash and underscore, at most 128"
            )
        return self._root / ref

    def _read(self, directory: Path) -> BuildRecord | None:
        try:
            record = msgspec.json.decode((directory / "record.json").read_bytes(), type=BuildRecord)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is damaged: %s", directory / "record.json", error)
            return None
        if record.status == "running" and record.ref not in self._running:
            return msgspec.structs.replace(record, status="interrupted")
        return record


def _write(directory: Path, record: BuildRecord) -> None:
    temporary = directory / "record.json.new"
    temporary.write_bytes(encode(record))
    os.replace(temporary, directory / "record.json")


def _damaged(ref: str) -> IntegrityError:
    return IntegrityError(
        f"the record of build {ref} is damaged on disk",
        hint=f"delete it with `boat builder history --rm {ref}`; images and cache are not affected",
    )
