"""A stream that somebody listens to while another one reads it: a hasher, a writer, a progress display."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class TappedStream(io.RawIOBase):
    """Passes every chunk that is read to `tap`, in order and before the reader gets it. Doesn't close the stream."""

    def __init__(self, stream: Readable, tap: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._tap = tap

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self._stream.read(len(view))
            if data:
                self._tap(data)
                view[: len(data)] = data
            return len(data)


def tapped(stream: Readable, tap: Callable[[bytes], object]) -> io.BufferedReader:
    return io.BufferedReader(TappedStream(stream, tap), 1 << 20)
