"""One source's file: found where it was left, written in whole lines, rotated.

What fails with an OSError has written some whole lines or none, and remembers which: it can be tried again as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from boatyard.logs import moment
from boatyard.logs.events import Gap, Lines
from boatyard.logs.logwrite import rotation
from boatyard.logs.logwrite.filename import stem
from boatyard.logs.logwrite.policy import Policy
from boatyard.logs.logwrite.position import Position, Positions, last_number
from boatyard.logs.wording import one_line

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MOMENT = len("2026-11-23T19:24:32Z")


class LogFile:
    """Of one source; `position` is where an earlier logwrite left it, as it was stored. `complain` says to somebody
    what went wrong without stopping us; `clock` gives seconds since 1970."""

    def __init__(
        self,
        directory: Path,
        source: bytes,
        policy: Policy,
        positions: Positions,
        complain: Callable[[str], None],
        position: Position | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.stem = stem(source)
        self.path = directory / f"{self.stem}.log"
        self._name = one_line(source)
        self._policy = policy
        self._positions = positions
        self._complain = complain
        self._stored = position
        self._clock = clock
        self._descriptor = -1
        self._inode = (0, 0)
        self._size = 0
        self._born = position.born if position else int(clock())
        self._identity = position.identity if position else ""
        self.number = position.number if position else 0
        """Of the last line that is in the file."""
        self._trusted = False
        """What is stored holds for the file as it is."""
        self._rotation_due = False
        self._taken = 0
        self._already: tuple[bytes, int] | None = None
        """Of a memlogd that doesn't count: the last second in the file, and how many lines it has of that second."""
        self.failure = ""
        """Why lines are missing since `number`."""
        self.dirty = False
        """Something was written since the last fsync."""

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    @property
    def settled(self) -> bool:
        """The source ended, and what is stored says so."""
        return self._stored is not None and self._stored.ended

    def recover(self) -> None:
        """Find out how far the file goes, before anything is written to it. What an interrupted write left of a
        line is cut off: memlogd still has the whole line."""
        position = self._stored
        if position is None:
            return
        for path in (self.path, Path(f"{self.path}.0")):
            try:
                with open(path, "r+b", buffering=0) as file:
                    status = os.fstat(file.fileno())
                    if status.st_ino != position.inode or status.st_size < position.offset:
                        continue
                    data = _read_from(file.fileno(), position.offset)
                    whole = data.rfind(b"\n") + 1
                    if whole < len(data):
                        file.truncate(position.offset + whole)
                        data = data[:whole]
            except (FileNotFoundError, IsADirectoryError):
                continue
            if position.identity:
                self.number = last_number(data, position.number, self._name)
            elif data:
                last = data[data.rfind(b"\n", 0, -1) + 1 :][:_MOMENT]
                self._already = last, data.count(b"\n" + last) + data.startswith(last)
            return

    def write(self, lines: Lines, identity: str) -> None:
        """All of `lines`; those that are in the file already are left out."""
        number, data = lines.number, lines.data
        if number and identity != self._identity:
            self._identity, self.number, self._trusted = identity, number - 1, False
        if number and number <= self.number:
            seen = self.number - number + 1
            if seen >= lines.count:
                return
            data, number = data[_line_offset(data, seen) :], self.number + 1
        elif not number and self._is_there_already(lines):
            return
        if self.failure:
            if not number:
                self._tell(b"lines of %b are missing here: %b" % (self._name, self.failure.encode()))
            elif number > self.number + 1:
                self.tell_gap(Gap(self.source, self.number + 1, number - self.number - 1, self.failure), identity)
            self.failure = ""
        begin = b"%b %b " % (moment.seconds(lines.time).encode(), self._name)
        rendered = begin + data[:-1].replace(b"\n", b"\n" + begin) + b"\n"
        self._prepare(identity, number)
        while rendered:
            piece, rendered = self._fitting(rendered)
            try:
                self._write(piece)
            finally:
                if number:
                    self.number += self._taken
            if self._size > self._policy.max_size:
                self._rotate_if_possible()

    def tell_gap(self, gap: Gap, identity: str) -> None:
        """A line that says which lines are missing here; the next one is expected behind them."""
        last = gap.number + gap.count - 1
        if identity == self._identity and last <= self.number:
            return
        what = b"%d %b of %b" % (gap.count, b"line" if gap.count == 1 else b"lines", self._name)
        numbers = b"numbers %d to %d: %b" % (gap.number, last, gap.why.encode())
        self._prepare(identity, gap.number)
        self._tell(b"%b %b missing here, %b" % (what, b"is" if gap.count == 1 else b"are", numbers))
        self.number = last

    def tell_lost(self, number: int) -> None:
        """A line that says that memlogd took what came after line `number` with it."""
        self._prepare(self._identity, self.number + 1)
        what = b"lines of %b after number %d that it had not handed on are lost" % (self._name, number)
        if not number:
            what = b"if %b had lines before, they are lost" % self._name
        self._tell(b"memlogd was started anew: " + what)

    def settle(self, identity: str, base: int, *, ended: bool) -> None:
        """Note that the source ended, or that it goes on."""
        stored = self._stored
        if stored is None or stored.identity != identity:
            if ended:
                return
            # It may be lost before its first line is here: then somebody has to know that it was.
            self._identity, self.number, self._trusted = identity, base, False
            stored = Position(self.source, identity, base, 0, 0, self._born, ended)
        elif stored.ended == ended:
            return
        else:
            stored = Position(
                self.source, stored.identity, stored.number, stored.inode, stored.offset, stored.born, ended
            )
        self._positions.store(self.stem, stored)
        self._stored = stored

    def grow_old(self) -> None:
        """Rotate when the file's time is over, and there is something in it."""
        if self._policy.max_age and self._clock() - self._born > self._policy.max_age:
            self._open()
            if self._size:
                self._rotate()
            self._born = int(self._clock())

    def sync(self) -> None:
        if self._descriptor >= 0 and self.dirty:
            os.fsync(self._descriptor)
        self.dirty = False

    def close(self) -> None:
        if self._descriptor >= 0:
            if self._policy.sync is not None:
                self.sync()
            os.close(self._descriptor)
        self._descriptor = -1

    def _is_there_already(self, lines: Lines) -> bool:
        """By the second it was written in: a line without a number has nothing better."""
        if self._already is None:
            return False
        second, count = self._already
        now = moment.seconds(lines.time).encode()
        if now > second or (now == second and not count):
            self._already = None
            return False
        if now == second:
            self._already = second, count - 1
        return True

    def _tell(self, text: bytes) -> None:
        self._write(b"%b logwrite %b\n" % (moment.seconds(int(self._clock() * moment.SECOND)).encode(), text))

    def _prepare(self, identity: str, number: int) -> None:
        """Have the right file open, and its position stored, for the line `number` (0: of a memlogd without
        numbers)."""
        if self._rotation_due:
            self._rotate()
        self.grow_old()
        self._open()
        goes_on = identity == self._identity and number in (0, self.number + 1)
        if goes_on and self._trusted and self._stored is not None and not self._stored.ended:
            return
        self._identity, self.number = identity, max(number - 1, 0)
        self._store()

    def _store(self) -> None:
        self._trusted = False
        position = Position(
            self.source, self._identity, self.number, self._inode[1], self._size, self._born, ended=False
        )
        self._positions.store(self.stem, position)
        self._stored, self._trusted = position, True

    def _fitting(self, rendered: bytes) -> tuple[bytes, bytes]:
        """Up to the line with which the file gets too large, and the rest."""
        room = self._policy.max_size - self._size
        if len(rendered) <= room:
            return rendered, b""
        end = rendered.index(b"\n", max(room, 0)) + 1
        return rendered[:end], rendered[end:]

    def _write(self, data: bytes) -> None:
        """All of it; when the disk is full in the middle of a line, that line is taken back. `_taken`: how many lines
        are in the file now."""
        written, view = 0, memoryview(data)
        try:
            while written < len(data):
                written += os.write(self._descriptor, view[written:])
        finally:
            whole = written if written == len(data) else data.rfind(b"\n", 0, written) + 1
            if whole < written:
                os.ftruncate(self._descriptor, self._size + whole)
            self._size += whole
            self._taken = data.count(b"\n", 0, whole)
            self.dirty = self.dirty or whole > 0

    def _open(self) -> None:
        """The file at `path`, which may not be the one that was open: that may have been moved, or removed."""
        if self._descriptor >= 0:
            try:
                status = os.stat(self.path, follow_symlinks=False)
                if (status.st_dev, status.st_ino) == self._inode:
                    return
            except FileNotFoundError:
                pass
            self.close()
            self._trusted = False
        try:
            self._descriptor = os.open(self.path, _FLAGS, 0o644)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, _FLAGS, 0o644)
        status = os.fstat(self._descriptor)
        if (status.st_dev, status.st_ino) != self._inode or status.st_size < self._size:
            self._trusted = False
        self._inode = (status.st_dev, status.st_ino)
        self._size = status.st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            # Somebody else's, or torn by a power cut: our lines begin on a line of their own.
            self._trusted = False
            try:
                self._write(b"\n")
            except OSError:
                self.close()
                raise

    def _rotate(self) -> None:
        if self._policy.sync is not None:
            self.sync()
        rotation.shift(self.path, self._policy.max_files)
        self._rotation_due = False
        self._born = int(self._clock())
        self._open()
        self._store()
        if self._policy.compress and self._policy.max_files > 0:
            try:
                rotation.compress(Path(f"{self.path}.0"))
            except OSError as error:
                self._complain(f"{self.path}.0 stays as it is: {error.strerror}")

    def _rotate_if_possible(self) -> None:
        """What was to be written is written: rotation can wait for the next time."""
        try:
            self._rotate()
        except OSError as error:
            self._rotation_due = True
            self._complain(f"{self.path} can't be rotated now: {error.strerror}")


def _read_from(descriptor: int, offset: int) -> bytes:
    pieces = []
    while piece := os.pread(descriptor, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _line_offset(data: bytes, lines: int) -> int:
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at
