"""The sending side of a transfer: tells the list, and the contents of what is asked for.

A pure machine for one thread at a time: `feed` takes packets in, `produce` gives packets out, as many as somebody is
there to take.

Specification: tonistiigi/fsutil, `send.go`.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator

from boatyard.errors import BoatyardError, ConflictError, DeniedError, InvalidError
from boatyard.paths.beneath import open_directory
from boatyard.session.fsutil import packet
from boatyard.session.fsutil.entry import Entry

PIECE = 1 << 16
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Sender:
    """Of one transfer out of one directory; closed by whoever made it."""

    def __init__(self, root: int, entries: Iterator[Entry]) -> None:
        """`root` stays the caller's; `entries` are what is to be told of it."""
        self._root = root
        self._entries: Iterator[Entry] | None = entries
        self._count = 0
        self._offered: dict[int, str] = {}
        self._asked: deque[tuple[int, str]] = deque()
        self._id = -1
        self._file = -1
        self._path: str | None = None
        self._directory = -1
        self.finished = False
        """The receiver has everything, and was told that this is noticed."""
        self._farewell = False
        self.files = 0
        self.size = 0
        """Bytes of contents that were sent."""

    def close(self) -> None:
        self._entries = None  # and what that has open
        self._close_file()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def feed(self, messages: Iterable[bytes]) -> None:
        """InvalidError for what can't be; UnavailableError with what the receiver says when it failed."""
        for message in messages:
            type, id, data, _ = packet.decode(message)
            if type == packet.REQ:
                path = self._offered.pop(id, None)
                if path is None:
                    raise InvalidError(f"the receiver asks for a file (number {id}) that it was not offered")
                self._asked.append((id, path))
            elif type == packet.FIN:
                self._farewell = True
            elif type == packet.ERR:
                raise BoatyardError(f"the receiver failed: {data.decode('utf-8', 'replace')[:2000]}")
            else:
                raise InvalidError("the receiver sends files, but is the one that gets them")

    @property
    def idle(self) -> bool:
        """There is nothing to produce before the next message comes."""
        return self._entries is None and not self._asked and self._file < 0 and not self._farewell

    def produce(self, limit: int) -> list[bytes]:
        """Packets of at least so many bytes in all, if there are as many. ConflictError or DeniedError when something
        that was listed can't be read."""
        packets: list[bytes] = []
        size = 0
        while size < limit:
            if self._asked or self._file >= 0:
                size += self._contents(packets, limit - size)
            elif self._entries is not None:
                size += self._list(packets, limit - size)
            else:
                break
        if self._farewell and not self.finished:
            packets.append(packet.FINISHED)
            self.finished = True
        return packets

    def _list(self, packets: list[bytes], limit: int) -> int:
        assert self._entries is not None
        size = 0
        for entry in self._entries:
            message = packet.stat(entry)
            packets.append(message)
            size += len(message)
            if stat.S_ISREG(entry.mode):
                self._offered[self._count] = entry.path
            self._count += 1
            if size >= limit:
                return size
        packets.append(packet.END_OF_LIST)
        self._entries = None
        return size

    def _contents(self, packets: list[bytes], limit: int) -> int:
        size = 0
        while size < limit:
            if self._file < 0:
                if not self._asked:
                    break
                self._id, path = self._asked.popleft()
                self._file = self._open(path)
                self.files += 1
            piece = os.read(self._file, PIECE)
            packets.append(packet.data(self._id, piece))
            size += len(piece) + 16
            self.size += len(piece)
            if not piece:
                self._close_file()
            elif len(piece) < PIECE and self._at_end():
                packets.append(packet.data(self._id, b""))
                self._close_file()
        return size

    def _at_end(self) -> bool:
        return os.lseek(self._file, 0, os.SEEK_CUR) >= os.fstat(self._file).st_size

    def _open(self, path: str) -> int:
        above, _, name = path.rpartition("/")
        try:
            if above != self._path:
                if self._directory >= 0:
                    os.close(self._directory)
                    self._directory = -1
                self._path = None
                self._directory = open_directory(self._root, above)
                self._path = above
            descriptor = os.open(name, _READ, dir_fd=self._directory)
        except PermissionError as error:
            raise DeniedError(f"can't read /{path}: {error.strerror}") from error
        except OSError as error:
            raise ConflictError(f"/{path} changed while it was sent: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConflictError(f"/{path} changed while it was sent: it is no file any more")
        return descriptor

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
