"""The history of builds: what was asked, how it ended, everything it told, and the graph it solved.

A directory a build, `history/REF/` (`recording` says what is in it). Records of builds that were running when the
daemon was killed are found as "interrupted". Other faces keep documents of their own beside a record, as blobs
(`attachments`), which go with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from boatyard.build import attachments, following
from boatyard.build.attachments import Attachments
from boatyard.build.recording import BuildRecord, FrontendCall, Recording, write_record
from boatyard.errors import ConflictError, IntegrityError, InvalidError, NotFoundError, UnavailableError
from boatyard.progress import Event

__all__ = ["BuildRecord", "FrontendCall", "Recording"]

log = logging.getLogger(__name__)

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_events = msgspec.json.Decoder(Event)
_sources = msgspec.json.Decoder(dict[str, str])
READ_AT_ONCE = 1 << 20
"""Bytes of events."""
LINGER = 10.0
"""Seconds for which a build that is no part of the history can still be asked for what it told."""
MOST_CHANGES = 5_000
"""That wait for one watcher."""


class Change(Enum):
    """What happened to a record."""

    STARTED = "started"
    COMPLETED = "completed"
    """Or changed after that: pinned, given another attachment."""
    DELETED = "deleted"


class Watcher:
    """Hears of changes until it is closed. One per reader, used on the event loop, but for `changed`. Of one build, the
    newest change stands for those before it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._waiting: dict[str, Change] = {}
        self._news = asyncio.Event()
        self._overflowed = False

    def changed(self, ref: str, change: Change) -> None:
        """In any thread."""
        if threading.get_ident() == self._thread:
            self._note(ref, change)
        else:
            self._loop.call_soon_threadsafe(self._note, ref, change)

    def _note(self, ref: str, change: Change) -> None:
        if len(self._waiting) >= MOST_CHANGES:
            self._overflowed = True
        else:
            self._waiting.pop(ref, None)
            self._waiting[ref] = change
        self._news.set()

    async def take(self) -> Sequence[tuple[str, Change]]:
        """Wait for news. UnavailableError when there were more than can be kept for a reader that doesn't read."""
        await self._news.wait()
        if self._overflowed:
            raise UnavailableError("too many builds changed while the client didn't read of them")
        waiting, self._waiting = self._waiting, {}
        self._news.clear()
        return list(waiting.items())


@dataclass(frozen=True, slots=True)
class _Kept:
    created: float
    pinned: bool


class History:
    """One per daemon. `max_age` in seconds and `max_entries` bound what is kept; pinned records always are. What
    blocks, and says so, may be called in any thread; the rest belongs to the event loop."""

    def __init__(
        self,
        root: Path,
        *,
        max_age: float = 48 * 3600,
        max_entries: int = 50,
        clock: Callable[[], float] = time.time,
        discard: Callable[[Path], None] = lambda path: shutil.rmtree(path, ignore_errors=True),
    ) -> None:
        """`discard` deletes a directory that is no record any more; it may take its time."""
        self._root = root
        self._discard = discard
        self._max_age = max_age
        self._max_entries = max_entries
        self._clock = clock
        self._running: dict[str, Recording] = {}
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._watchers: set[Watcher] = set()
        self._kept: dict[str, _Kept] = {}
        """What of the records tells when they go, so that they needn't be read for that."""
        self.attachments = Attachments(root)
        root.mkdir(parents=True, exist_ok=True)
        self._clear()

    def _clear(self) -> None:
        """Delete what was half made or half deleted when an earlier process ended, and what is no part of the
        history."""
        for directory in self._root.iterdir():
            (directory / "record.json.new").unlink(missing_ok=True)
            attachments.clear(directory)
            record = self._read(directory)
            if not (directory / "record.json").exists() or (record and record.internal):
                shutil.rmtree(directory, ignore_errors=True)
            elif record:
                self._keep(record)

    # A build's own time

    def begin(
        self,
        ref: str,
        name: str,
        options: Mapping[str, str],
        exports: list[dict[str, str]],
        scope: str,
        *,
        frontend: str = "",
        trust_host_ca: bool = False,
        internal: bool = False,
    ) -> Recording:
        """`internal`: it will be no build of the past."""
        directory = self._directory(ref)
        if timer := self._lingering.pop(ref, None):
            timer.cancel()
        self._remove(ref)
        shutil.rmtree(directory, ignore_errors=True)
        record = BuildRecord(
            ref=ref,
            name=name,
            created=self._clock(),
            frontend=frontend,
            options=dict(options),
            exports=exports,
            scope=scope,
            trust_host_ca=trust_host_ca,
            internal=internal,
        )
        recording = self._running[ref] = Recording(directory, record, self._clock)
        if not internal:
            self._tell(ref, Change.STARTED)
        return recording

    def ended(self, ref: str, *, forget: bool = False) -> None:
        """After its recording has ended. `forget`: it turned out to be no build of the past."""
        recording = self._running.pop(ref, None)
        if recording is not None and (recording.record.internal or forget):
            if not recording.record.internal:
                recording.record = msgspec.structs.replace(recording.record, internal=True)
                write_record(self._directory(ref), recording.record)
                self._tell(ref, Change.DELETED)
            self._forget_later(ref, recording)
        else:
            if recording is not None:
                self._keep(recording.record)
            self._tell(ref, Change.COMPLETED)
        self.expire()

    def _keep(self, record: BuildRecord) -> None:
        self._kept[record.ref] = _Kept(record.created, record.pinned)

    def _forget_later(self, ref: str, recording: Recording) -> None:
        def forget() -> None:
            if recording.listeners:  # somebody still reads
                self._lingering[ref] = loop.call_later(LINGER, forget)
            else:
                self._lingering.pop(ref, None)
                self._remove(ref)

        loop = asyncio.get_running_loop()
        self._lingering[ref] = loop.call_later(LINGER, forget)

    def close(self) -> None:
        """What lingers is deleted."""
        for ref, timer in self._lingering.items():
            timer.cancel()
            shutil.rmtree(self._directory(ref), ignore_errors=True)
        self._lingering.clear()

    # Reading

    def running(self, ref: str) -> Recording | None:
        return self._running.get(ref)

    def records(self) -> list[BuildRecord]:
        """Newest first. Blocks."""
        found = [record for path in self._root.iterdir() if (record := self._read(path)) and not record.internal]
        return sorted(found, key=lambda record: record.created, reverse=True)

    def get(self, ref: str) -> BuildRecord:
        """By ref, by a unique beginning of one, or "latest". NotFoundError. Blocks."""
        if ref in ("latest", "last", ""):
            if records := self.records():
                return records[0]
            raise NotFoundError("there is no build in the history yet", hint="build something: `boat build .`")
        if record := self.find(ref):
            return record
        if (self._directory(ref) / "record.json").exists():
            raise _damaged(ref)
        matching = [record for record in self.records() if record.ref.startswith(ref)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ConflictError(f"{ref!r} begins the refs of {len(matching)} builds", hint="give more of it")
        raise NotFoundError(f"no build {ref!r} in the history", hint="`boat builder history` lists what is kept")

    def find(self, ref: str) -> BuildRecord | None:
        """By the whole ref; None when it isn't there, or damaged. Blocks."""
        return self._read(self._directory(ref))

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

    def follow(self, ref: str, *, pause: float = 0.0) -> AsyncGenerator[Sequence[Event], None]:
        """Everything a build told and tells, in batches, until it has ended: at most one in `pause` seconds. To be
        closed by who stops before. The errors of `read`."""
        recording = self._running.get(ref)
        return following.follow(recording, self.read, pause=pause) if recording else self.replay(ref)

    def replay(self, ref: str) -> AsyncGenerator[Sequence[Event], None]:
        """What a build has told by now, in batches. The errors of `read`."""
        return following.replay(ref, self.read)

    def sources(self, ref: str) -> Mapping[str, str]:
        """The source files that a build's steps and warnings point into: name -> text. Blocks."""
        if recording := self._running.get(ref):
            return recording.sources
        try:
            return _sources.decode((self._directory(ref) / "sources.json").read_bytes())
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise _damaged(ref) from error

    def failure(self, ref: str) -> bytes | None:
        """What a frontend outside of the builder said when it gave up (`FrontendError.document`). Blocks."""
        try:
            return (self._directory(ref) / "error").read_bytes()
        except FileNotFoundError:
            return None

    def graphs(self, ref: str) -> list[bytes]:
        """The definitions a build solved, encoded, one a platform. NotFoundError if it didn't get as far. Blocks."""
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

    def watch(self) -> Watcher:
        """To be given back to `unwatch`."""
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def _tell(self, ref: str, change: Change) -> None:
        for watcher in self._watchers:
            watcher.changed(ref, change)

    # Changing

    def pin(self, ref: str, pinned: bool = True) -> None:
        """Of a build that has ended; a running one is pinned when it has."""
        record = self.get(ref)
        if record.pinned != pinned:
            self._write(msgspec.structs.replace(record, pinned=pinned, generation=record.generation + 1))

    def attached(self, ref: str) -> None:
        """An ended build was given another attachment: those who watch are told."""
        record = self.get(ref)
        self._write(msgspec.structs.replace(record, generation=record.generation + 1))

    def _write(self, record: BuildRecord) -> None:
        if recording := self._running.get(record.ref):
            recording.record = msgspec.structs.replace(recording.record, pinned=record.pinned)
            record = recording.record
        write_record(self._directory(record.ref), record)
        if record.ref not in self._running:
            self._keep(record)
            self._tell(record.ref, Change.COMPLETED)

    def delete(self, ref: str) -> str:
        """The whole ref. ConflictError while it runs."""
        try:
            ref = self.get(ref).ref
        except IntegrityError:
            log.info("the damaged record of build %s is deleted", ref)
        if ref in self._running:
            raise ConflictError(f"build {ref} is running", hint="cancel it first")
        self._remove(ref)
        self._tell(ref, Change.DELETED)
        return ref

    def _remove(self, ref: str) -> None:
        self._kept.pop(ref, None)
        directory = self._directory(ref)
        gone = directory.with_name(f".{ref}-{os.urandom(4).hex()}")
        # Without its record, it is deleted by the next daemon, too.
        with suppress(FileNotFoundError):
            (directory / "record.json").unlink()
            directory.rename(gone)
            self._discard(gone)

    def expire(self) -> None:
        """Delete what is too old or too many."""
        now = self._clock()
        known = list(self._kept.items())  # at once: others may be deleted meanwhile, in threads
        newest_first = sorted(known, key=lambda item: item[1].created, reverse=True)
        unpinned = [(ref, kept) for ref, kept in newest_first if not kept.pinned and ref not in self._running]
        for number, (ref, kept) in enumerate(unpinned):
            if number >= self._max_entries or now - kept.created > self._max_age:
                self._remove(ref)
                self._tell(ref, Change.DELETED)

    def usage(self) -> int:
        """Bytes on disk. Blocks."""
        return sum(path.lstat().st_size for path in self._root.rglob("*") if path.is_file())

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


def _damaged(ref: str) -> IntegrityError:
    return IntegrityError(
        f"the record of build {ref} is damaged on disk",
        hint=f"delete it with `boat builder history --rm {ref}`; images and cache are not affected",
    )
