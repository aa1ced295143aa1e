"""The socket on which descriptors are handed over.

One datagram is a name and, beside it, descriptors (SCM_RIGHTS): each is a source of that name. There is no answer.
What can't be a source is closed, and a line of memlogd's own says so.
"""

from __future__ import annotations

import array
import os
import socket

from boatyard.logs.memlogd.feed import Feed, refusal
from boatyard.logs.memlogd.loop import Loop
from boatyard.logs.memlogd.notices import Notices
from boatyard.logs.memlogd.store import Store

NAME_BYTES = 512
"""A longer name is cut off here, as LinuxKit's is."""
_SLOT = array.array("i").itemsize
_RIGHTS = socket.CMSG_SPACE(253 * _SLOT)
"""The most the kernel lets anybody send with one message."""
_MESSAGES_A_ROUND = 64


class Intake:
    """Owns the socket. `limit`: sources that may be open; what comes above is refused."""

    def __init__(self, loop: Loop, sock: socket.socket, store: Store, notices: Notices, limit: int) -> None:
        self._loop = loop
        self._socket = sock
        self._store = store
        self._notices = notices
        self._limit = limit
        sock.setblocking(False)
        loop.watch(sock.fileno(), self)
        self.feeds: set[Feed] = set()

    def ready(self, events: int) -> None:
        """Take what has come, but not all of a flood."""
        for _ in range(_MESSAGES_A_ROUND):
            if not self._receive():
                return

    def close(self) -> None:
        """Take nothing more. What a source left without a newline becomes a line."""
        self._loop.release(self._socket.fileno())
        self._socket.close()
        for feed in list(self.feeds):
            feed.give_up()

    def drain(self) -> bool:
        """Read all that was written until now; whether there was anything."""
        found = [feed.read() for feed in list(self.feeds)]
        return any(found)

    def _receive(self) -> bool:
        try:
            name, ancillary, flags, _ = self._socket.recvmsg(NAME_BYTES, _RIGHTS, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._notices.say(f"can't receive descriptors: {error.strerror}")
            return False
        if flags & socket.MSG_CTRUNC:
            self._notices.say(f"descriptors of {_shown(name)} were lost: too many are open")
        for descriptor in _descriptors(ancillary):
            self._take(name, descriptor)
        return True

    def _take(self, name: bytes, descriptor: int) -> None:
        reason = refusal(descriptor)
        if not reason and len(self.feeds) >= self._limit:
            reason = f"{len(self.feeds)} are open, and there is no room for more"
        if not reason:
            source = self._store.sources.get(name)
            try:
                self.feeds.add(Feed(self._loop, self._store, descriptor, source, self.feeds.discard))
                return
            except OSError as error:
                self._store.sources.release(source)
                reason = str(error.strerror)
        os.close(descriptor)
        self._notices.say(f"a descriptor of {_shown(name)} was refused: {reason}")


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _SLOT])
    return list(found)


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
