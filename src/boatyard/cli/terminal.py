"""This command's terminal joined to one in a container: keys go there, output comes here, sizes and signals follow.

The daemon hands over the master side of a pseudo-terminal; from then on no byte passes through the daemon.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from boatyard.errors import InvalidError

_PIECE = 65536
_SIGNAL_MILLISECONDS = 250
"""A signal that comes just before a wait begins is seen after this time at the latest."""


def require(stdin_terminal: bool, flag: str) -> None:
    if not stdin_terminal:
        raise InvalidError(
            f"{flag} needs a terminal, and standard input is none", hint=f"leave {flag} out, or run in a terminal"
        )


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """The terminal passes every key on as it is typed, and is what it was before afterwards, however the block ends."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _size_follows(terminal: int, master: int) -> Iterator[None]:
    def resize(_number: int = 0, _frame: FrameType | None = None) -> None:
        try:
            size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF, errno.ENOTTY):  # the other side has ended
                raise

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        resize()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def relay(master: int, *, watch: int, ended: Callable[[], bool]) -> None:
    """Copy both ways until the other side has ended: the master reports so, or `ended()` says so after `watch` became
    readable. Closes `master`. The terminal is raw meanwhile: Ctrl-C is a key like others."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        with raw(0), _size_follows(0, master):
            _copy(master, watch, ended)
    finally:
        os.close(master)


def _copy(master: int, watch: int, ended: Callable[[], bool]) -> None:
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(master, select.POLLIN)
    poller.register(watch, select.POLLIN)
    typed = b""
    while True:
        poller.modify(master, select.POLLIN | (select.POLLOUT if typed else 0))
        ready = dict(poller.poll(_SIGNAL_MILLISECONDS))
        if ready.get(master, 0) & ~select.POLLOUT and not _show(master):
            return
        if typed and ready.get(master, 0) & select.POLLOUT:
            typed = typed[os.write(master, typed[:_PIECE]) :]
        if 0 in ready:
            keys = os.read(0, _PIECE)
            typed += keys
            if not keys:  # the terminal hung up
                return
        if watch in ready and ended():
            while select.select([master], [], [], 0)[0] and _show(master):
                pass
            return


def _show(master: int) -> bool:
    """Pass output on. False when the other side has ended: Linux says EIO once the last holder of the terminal has
    gone."""
    try:
        data = os.read(master, _PIECE)
    except OSError as error:
        if error.errno == errno.EIO:
            return False
        raise
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:
            select.select([], [1], [])
    return bool(data)
