"""One descriptor that was handed over, read to its end."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable

from boatyard.logs.memlogd.chunk import Source
from boatyard.logs.memlogd.lines import Cutter, Piece
from boatyard.logs.memlogd.loop import Loop
from boatyard.logs.memlogd.store import Store

READ = 1 << 16
_ENDED = (errno.EIO, errno.ECONNRESET)
"""What a pseudo-terminal and a socket say when the other end has gone."""
_O_PATH = 0o10000000


class Feed:
    """Owns the descriptor. It is read without waiting: somebody else may have a copy and take what was announced."""

    __slots__ = ("_cutter", "_descriptor", "_ended", "_loop", "_store", "source")

    def __init__(
        self, loop: Loop, store: Store, descriptor: int, source: Source, ended: Callable[[Feed], None]
    ) -> None:
        self._loop = loop
        self._store = store
        self._descriptor = descriptor
        self._cutter = Cutter(store.bounds.line_length, split=store.bounds.split)
        self._ended = ended
        self.source = source
        os.set_blocking(descriptor, False)
        loop.watch(descriptor, self)
        source.open += 1
        if source.open == 1:
            store.turn(source)

    def ready(self, events: int) -> None:
        self.read()

    def read(self) -> bool:
        """Take what there is, up to a bound; whether there was anything."""
        try:
            data = os.read(self._descriptor, READ)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EPIPE:  # /dev/kmsg, whose reader was too slow: the next record is there
                self._store.say(f"{_shown(self.source.name)}: the kernel overwrote records before they were read")
                return True
            if error.errno not in _ENDED:
                self._store.say(f"{_shown(self.source.name)} can't be read any more: {error.strerror}")
            data = b""
        if not data:
            self.end()
            return False
        self._take(self._cutter.cut(data))
        return True

    def end(self) -> None:
        """It came to its end."""
        self.give_up()
        self.source.open -= 1
        if not self.source.open:
            self._store.turn(self.source)
            self._store.sources.release(self.source)

    def give_up(self) -> None:
        """Read it no further. What it left without a newline becomes a line; readers hear nothing of an end."""
        self._take(self._cutter.end())
        self._loop.close(self._descriptor)
        self._ended(self)

    def _take(self, pieces: list[Piece]) -> None:
        for data, goes_on in pieces:
            self._store.take(self.source, data, goes_on)


def refusal(descriptor: int) -> str:
    """Why a descriptor can't be a source of lines; empty when it may be one."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if stat.S_ISBLK(mode):
        return "it is a disk"
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & _O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
        return "it can't be read"
    return ""


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
