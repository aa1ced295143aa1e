"""A memlogd that is looked after: when it is killed, another one takes over its sockets and everything that is still
being written to.

The sockets are ours, so that nobody finds them closed in between; and of each descriptor that was handed over
through us we keep a copy, so that a writer isn't killed with its reader, and what its pipe holds is read by the
next one. What memlogd had read and not handed on is lost with it: its readers are told (`continuity.py`).
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import sys
import termios
from collections.abc import Callable, Sequence

from boatyard.errors import UnavailableError
from boatyard.logs.memlogd import sockets

_PROGRAM = "from boatyard.logs.memlogd.main import main; main()"
_QUEUED = 64
_PATIENCE = 10.0
"""Seconds for memlogd to take a descriptor; a few wait in the socket for one that isn't there yet."""


class Keeper:
    """Owns the sockets and the copies. `spawn` starts a program with descriptors 3 and 4 as given, and returns its
    process's number; whoever waits for that process calls `restart`."""

    def __init__(
        self,
        log_path: str,
        query_path: str,
        flags: Sequence[str],
        spawn: Callable[[list[str], tuple[int, int]], int],
    ) -> None:
        """ConflictError or StorageError when the sockets can't be had."""
        self._log = sockets.bind(log_path, socket.SOCK_DGRAM)
        try:
            self._query = sockets.bind(query_path, socket.SOCK_STREAM)
        except BaseException:
            self._log.unlink()
            raise
        self._log.socket.setblocking(False)
        self._path = log_path
        self._flags = tuple(flags)
        self._spawn = spawn
        self._kept: dict[int, str] = {}
        """Our copy of a descriptor, and the name it was handed over under."""
        self._ended: set[int] = set()
        """Copies of those that nobody writes to any more."""
        self._orphan = self._log.replaced or self._query.replaced
        self.pid = 0

    def start(self) -> int:
        """Start memlogd, and hand over what there is; its process's number."""
        waiting = self._take_waiting()
        flags = ["-quiet", *self._flags, *(["-orphan"] if self._orphan else [])]
        command = [sys.executable, "-c", _PROGRAM, "-fd-log=3", "-fd-query=4", *flags]
        self.pid = self._spawn(command, (self._log.socket.fileno(), self._query.socket.fileno()))
        self._orphan = True
        known = {_identity(descriptor) for descriptor in self._kept}
        try:
            for descriptor, name in list(self._kept.items()):
                self._send(name, descriptor)
            for name, descriptor in waiting:
                # Ours came through the queue as well: they were sent just now.
                if _identity(descriptor) not in known:
                    self._send(name, descriptor)
        except UnavailableError:
            os.kill(self.pid, signal.SIGKILL)  # it takes nothing: whoever waits for it starts another one
        finally:
            for _, descriptor in waiting:
                os.close(descriptor)
        return self.pid

    def open(self, name: str) -> int:
        """The writable end of a pipe whose other end memlogd has, and we a copy of; the caller's, close-on-exec."""
        readable, writable = os.pipe2(os.O_CLOEXEC)
        self._kept[readable] = name
        self._send(name, readable)
        return writable

    def release(self, *names: str) -> None:
        """Nobody writes to these any more; our copies go when memlogd has read what is left."""
        self._ended |= {descriptor for descriptor, name in self._kept.items() if name in names}
        self.tidy()

    def tidy(self) -> None:
        """Let go of what was read to its end."""
        for descriptor in list(self._ended):
            if not _unread(descriptor):
                self._ended.discard(descriptor)
                del self._kept[descriptor]
                os.close(descriptor)

    @property
    def unread(self) -> bool:
        """Whether something that was written is still to be read by memlogd."""
        return any(_unread(descriptor) for descriptor in self._kept)

    def close(self) -> None:
        """To be called when memlogd has ended for good."""
        self._log.unlink()
        self._query.unlink()
        self._log.socket.close()
        self._query.socket.close()
        for descriptor in self._kept:
            os.close(descriptor)
        self._kept.clear()

    def _send(self, name: str, descriptor: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_PATIENCE)
            try:
                sock.connect(self._path)
                socket.send_fds(sock, [name.encode()], [descriptor])
            except OSError as error:
                raise UnavailableError(
                    f"memlogd can't be reached at {self._path}: {error.strerror or error}"
                ) from error

    def _take_waiting(self) -> list[tuple[str, int]]:
        """Descriptors that were sent to a memlogd that is gone."""
        found: list[tuple[str, int]] = []
        for _ in range(_QUEUED):
            try:
                name, ancillary, _, _ = self._log.socket.recvmsg(
                    512, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                break
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    numbers = array.array("i")
                    numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                    found += [(name.decode("utf-8", "surrogateescape"), number) for number in numbers]
        return found


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _unread(descriptor: int) -> int:
    buffer = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, buffer)
    return int.from_bytes(buffer, sys.byteorder)
