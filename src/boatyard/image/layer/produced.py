"""A stream to read from, made by somebody who writes: on a thread of its own, a few MiB ahead of the reader."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from boatyard.image.layer.tarstream import Source, reads_into

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20


class Sink(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


class _AbandonedError(Exception):
    """The reader has closed the stream: the producer is stopped by its next write."""


class Produced(io.RawIOBase):
    """Reads what `produce` writes to the sink it is given. What `produce` raises is raised by the read that comes to
    that place. Closing it early stops the producer."""

    def __init__(self, produce: Callable[[Sink], object], *, depth: int = 4) -> None:
        self._produce = produce
        self._queue: queue.Queue[memoryview | None] = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._abandoned = False
        self._current: memoryview | None = memoryview(b"")
        self._thread = threading.Thread(target=self._run, name="produce", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._produce(_Writing(self._take))
        except _AbandonedError:
            pass
        except BaseException as error:  # raised again where the reader is
            self._failure = error
        self._queue.put(None)

    def _take(self, data: memoryview | bytes) -> int:
        if self._abandoned:
            raise _AbandonedError
        self._queue.put(memoryview(data))
        return len(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            while not self._current:
                if self._current is None:
                    return self._end()
                self._current = self._queue.get()
            data = self._current
            count = min(len(view), len(data))
            view[:count] = data[:count]
            self._current = data[count:]
            return count

    def _end(self) -> int:
        if self._failure is not None:
            raise self._failure
        return 0

    def close(self) -> None:
        if not self.closed:
            self._abandoned = True
            while self._current is not None:
                self._current = self._queue.get()
            self._thread.join()
        super().close()


class _Writing:
    def __init__(self, write: Callable[[memoryview | bytes], int]) -> None:
        self.write = write


def pump(source: Source, sink: Sink) -> None:
    """Copy a stream to its end, in pieces that are written once and then belong to the sink."""
    readinto = reads_into(source)
    while True:
        buffer = memoryview(bytearray(CHUNK))
        used = 0
        while used < CHUNK and (count := readinto(buffer[used:])):
            used += count
        if used:
            sink.write(buffer[:used])
        if used < CHUNK:
            return
