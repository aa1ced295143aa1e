"""This client's descriptors as streams: whatever they are, waiting for them can be given up.

A thread that waits for a pipe can't be cancelled, and who is at its other end may never go on. So pipes are waited for
on the event loop; files are read and written in threads, which take no longer than a disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from boatyard.errors import StorageError, UnavailableError
from boatyard.image.interruption import run_settled
from boatyard.wire.pipes import until_readable, write_whole

_PIECE = 1 << 19


async def pieces_of(descriptor: int) -> AsyncIterator[bytes]:
    """Until its end. StorageError when it can't be read."""
    mode = os.fstat(descriptor).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    try:
        while True:
            if waits:
                await until_readable(descriptor)
                data = os.read(descriptor, _PIECE)
            else:
                data = await run_settled(os.read, descriptor, _PIECE)
            if not data:
                return
            yield data
    except OSError as error:
        raise StorageError(f"can't read what is to be sent: {error.strerror}") from error


class Sink(Protocol):
    async def write(self, pieces: Sequence[bytes]) -> None:
        """StorageError when they can't be written, UnavailableError when nobody reads them any more."""


@contextmanager
def open_sink(descriptor: int) -> Iterator[Sink]:
    """For the descriptor, which stays the caller's."""
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        yield _File(descriptor)
        return
    # A description of its own: O_NONBLOCK would show at everybody who has the pipe open, too.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield _Pipe(own)
    finally:
        os.close(own)


class _File:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, pieces: Sequence[bytes]) -> None:
        try:
            await run_settled(self._write, pieces)
        except OSError as error:
            raise StorageError(f"can't write the output: {error.strerror}") from error

    def _write(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]


class _Pipe:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in pieces:
                await write_whole(self._descriptor, piece)
        except BrokenPipeError as error:
            raise UnavailableError("the program that reads the output has ended") from error
