"""The log directory: a file for each source, what they take together, and what to do when the disk is full."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from boatyard.errors import ConflictError, StorageError
from boatyard.logs.events import Gap, Known, Lines, Lost
from boatyard.logs.logwrite import position, rotation
from boatyard.logs.logwrite.filename import stem
from boatyard.logs.logwrite.logfile import LogFile
from boatyard.logs.logwrite.policy import Policy
from boatyard.logs.logwrite.position import Position, Positions

_OPEN_FILES = 256
_FILES = 20_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_RETRY = 0.5
"""Seconds between two attempts while the disk is full."""
_TOTAL_INTERVAL = 5.0


class Directory:
    """One per logwrite. `complain` is told what goes wrong; `wait(seconds)` waits, and is False when logwrite is to
    end.

    When the disk is full, the oldest rotated files make room for the newest lines. When there is none left, nothing
    more is read from memlogd until there is room: it keeps the newest lines, and tells how many it couldn't.
    """

    def __init__(
        self,
        path: Path,
        policy: Policy,
        complain: Callable[[str], None],
        wait: Callable[[float], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._policy = policy
        self._complain = complain
        self._wait = wait
        self._clock = clock
        self._positions = Positions(path, sync=policy.sync == 0)
        self._files: dict[bytes, LogFile] = {}
        self._stems: set[str] = set()
        self._open: OrderedDict[LogFile, None] = OrderedDict()
        self._identity = ""
        self._synced = self._measured = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes here meanwhile. ConflictError when somebody does, StorageError when it can't be made."""
        lock = self.path / position.DIRECTORY / "lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"can't write in {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConflictError(
                f"another logwrite writes in {self.path}", hint="end it first, or choose another directory"
            ) from None
        try:
            yield
        finally:
            self.close()
            os.close(descriptor)

    def recover(self) -> tuple[str | None, dict[str, dict[bytes, int]], list[bytes]]:
        """Where an earlier logwrite stopped: the memlogd it read last, the last line of each source by the memlogd
        that counted it, and the sources of the last memlogd that had not ended."""
        numbers: dict[str, dict[bytes, int]] = {}
        last = self._positions.identity
        going_on = []
        for stored in self._positions.load():
            file = self._add(stored.source, stored)
            if stored.identity != last and not file.path.exists():
                del self._files[stored.source]
                self._positions.remove(file.stem)
                continue
            try:
                file.recover()
            except OSError as error:
                self._complain(f"{file.path} can't be read: {error.strerror}")
            numbers.setdefault(stored.identity, {})[stored.source] = file.number
            if stored.identity == last and not stored.ended:
                going_on.append(stored.source)
        return last, numbers, going_on

    def greet(self, identity: str) -> None:
        """Another memlogd counts from now on."""
        self._identity = identity
        self._persist(None, lambda: self._positions.store_identity(identity))

    def write(self, lines: Lines) -> None:
        file = self._file(lines.source)
        self._persist(file, lambda: file.write(lines, self._identity))

    def tell_gap(self, gap: Gap) -> None:
        file = self._file(gap.source)
        self._persist(file, lambda: file.tell_gap(gap, self._identity))

    def tell_lost(self, lost: Lost) -> None:
        file = self._file(lost.source)
        self._persist(file, lambda: file.tell_lost(lost.number))

    def settle(self, known: Known) -> None:
        file = self._file(known.source)
        self._persist(file, lambda: file.settle(self._identity, known.base, ended=not known.open))

    def tick(self) -> None:
        """What is to be done from time to time, and after all that came at once."""
        now = time.monotonic()
        if self._policy.sync is not None and now - self._synced >= self._policy.sync:
            self._synced = now
            for file in self._open:
                self._persist(file, file.sync)
        if self._policy.max_age:
            for file in list(self._open):
                self._persist(file, file.grow_old)
        if self._policy.max_total and now - self._measured >= _TOTAL_INTERVAL:
            self._measured = now
            self._limit_total()

    def close(self) -> None:
        for file in list(self._open):
            try:
                file.close()
            except OSError as error:
                self._complain(f"{file.path}: {error.strerror}")
        self._open.clear()

    def _file(self, source: bytes) -> LogFile:
        file = self._files.get(source) or self._add(source, self._positions.read(stem(source)))
        self._open[file] = None
        self._open.move_to_end(file)
        if len(self._open) > _OPEN_FILES:
            oldest, _ = self._open.popitem(last=False)
            oldest.close()
        if len(self._files) > _FILES:
            self._forget()
        return file

    def _add(self, source: bytes, stored: Position | None) -> LogFile:
        file = LogFile(self.path, source, self._policy, self._positions, self._complain, stored, self._clock)
        self._files[source] = file
        self._stems.add(file.stem)
        return file

    def _forget(self) -> None:
        """Sources that are not being written: their positions are on disk."""
        for source in [source for source, file in self._files.items() if file not in self._open][: _FILES // 2]:
            if self._files[source].settled:
                del self._files[source]

    def _persist(self, file: LogFile | None, action: Callable[[], None]) -> None:
        """Do it, whatever the disk says: wait while it is full; of anything else, say it once and go on without."""
        waiting = False
        while True:
            try:
                action()
            except OSError as error:
                if error.errno in _FULL:
                    if self._make_room():
                        continue
                    if not waiting:
                        self._complain(f"{self.path}: {error.strerror}; nothing is written until there is room")
                    waiting = True
                    if self._wait(_RETRY):
                        continue
                elif file is not None:
                    why = f"they could not be written: {error.strerror}"
                    if file.failure != why:
                        self._complain(f"{file.path}: {error.strerror}; its lines are dropped until that is over")
                    file.failure = why
                else:
                    self._complain(f"{self.path}: {error.strerror}")
            break
        if waiting:
            self._complain(f"{self.path}: there is room again")

    def _make_room(self) -> bool:
        try:
            files = rotation.rotated(self.path, self._stems)
            return rotation.remove_oldest(files, 1) > 0
        except OSError as error:
            self._complain(f"{self.path} can't be cleaned up: {error.strerror}")
            return False

    def _limit_total(self) -> None:
        try:
            files = rotation.rotated(self.path, self._stems)
            total = sum(size for _, size, _ in files) + sum(
                os.stat(file.path).st_blocks * 512 for file in self._files.values() if file.path.exists()
            )
            rotation.remove_oldest(files, total - self._policy.max_total)
        except OSError as error:
            self._complain(f"{self.path} can't be cleaned up: {error.strerror}")
