"""Compress a stream on several threads.

gzip is made by ISA-L in blocks of one MiB that are independent of each other, on several threads; the result is one
gzip member that depends on the bytes and the level only, never on the number of threads or the time. zstd compresses on
its own threads, as deterministically. Specification: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, cast

import zstandard
from isal import isal_zlib

from boatyard.image.layer.stage import Stage

CHUNK = 1 << 20


class Sink(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


class Compressor:
    """Takes bytes by `write` and gives them, compressed, to `out`. What it is given must not be changed afterwards.
    From the second MiB on it works on threads of its own. `close` finishes the stream (and not `out`); `abort` gives it
    up."""

    def __init__(self, out: Sink, kind: str, level: int, *, threads: int | None = None) -> None:
        workers = threads or len(os.sched_getaffinity(0))
        if kind == "gzip":
            self._codec: _Codec = _Gzip(out, level, workers)
        elif kind == "zstd":
            self._codec = _Zstd(out, level, workers)
        else:
            self._codec = _Stored(out)
        self._depth = 2 * workers + 2
        self._pending: list[memoryview] = []
        self._pending_size = 0
        self._stage: Stage[object] | None = None

    def write(self, data: memoryview | bytes, /) -> int:
        view = memoryview(data)
        size = view.nbytes
        while view:
            if self._pending_size == CHUNK:
                self._hand_on(self._block())
            part = view[: CHUNK - self._pending_size]
            self._pending.append(part)
            self._pending_size += len(part)
            view = view[len(part) :]
        return size

    def _block(self) -> memoryview:
        block = self._pending[0] if len(self._pending) == 1 else memoryview(b"".join(self._pending))
        self._pending, self._pending_size = [], 0
        return block

    def _hand_on(self, block: memoryview) -> None:
        if self._stage is None:
            self._stage = Stage(self._codec.end, depth=self._depth, name="compress")
        self._stage.put(self._codec.begin(block))

    def close(self) -> None:
        try:
            if self._pending:
                block = self._block()
                if self._stage is None:
                    self._codec.end(self._codec.now(block))
                else:
                    self._stage.put(self._codec.begin(block))
            if self._stage is not None:
                stage, self._stage = self._stage, None
                stage.close()
            self._codec.finish()
        finally:
            self.abort()

    def abort(self) -> None:
        if self._stage is not None:
            self._stage.abort()
            self._stage = None
        self._codec.shut_down()


class _Codec(Protocol):
    """Blocks are begun in order and ended in order, the latter on another thread."""

    def begin(self, block: memoryview) -> object: ...
    def now(self, block: memoryview) -> object:
        """`begin` for a stream of a single block."""

    def end(self, begun: object) -> None: ...
    def finish(self) -> None: ...
    def shut_down(self) -> None: ...


class _Stored:
    def __init__(self, out: Sink) -> None:
        self._out = out

    def begin(self, block: memoryview) -> memoryview:
        return block

    now = begin

    def end(self, begun: object) -> None:
        self._out.write(cast(memoryview, begun))

    def finish(self) -> None:
        pass

    def shut_down(self) -> None:
        pass


class _Zstd:
    """zstd has threads of its own. Asked for at least one, it gives the same bytes however many there are."""

    def __init__(self, out: Sink, level: int, threads: int) -> None:
        self._out = out
        self._object = zstandard.ZstdCompressor(level=level, threads=threads).compressobj()

    def begin(self, block: memoryview) -> memoryview:
        return block

    now = begin

    def end(self, begun: object) -> None:
        if data := self._object.compress(cast(memoryview, begun)):
            self._out.write(data)

    def finish(self) -> None:
        self._out.write(self._object.flush())

    def shut_down(self) -> None:
        pass


class _Deflated(NamedTuple):
    data: bytes
    crc: int
    size: int


class _Gzip:
    def __init__(self, out: Sink, level: int, threads: int) -> None:
        self._out = out
        self._level = level
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        self._crc = 0
        self._size = 0

    def begin(self, block: memoryview) -> Future[_Deflated]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="deflate")
        return self._pool.submit(_deflate, block, self._level)

    def now(self, block: memoryview) -> _Deflated:
        return _deflate(block, self._level)

    def end(self, begun: object) -> None:
        deflated = begun.result() if isinstance(begun, Future) else cast(_Deflated, begun)
        self._crc = isal_zlib.crc32_combine(self._crc, deflated.crc, deflated.size)
        self._size += deflated.size
        self._out.write(self._head + deflated.data)
        self._head = b""

    def finish(self) -> None:
        # An empty last block, then the trailer.
        self._out.write(self._head + b"\x03\0" + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def shut_down(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _deflate(block: memoryview, level: int) -> _Deflated:
    """Raw deflate up to a byte boundary. It knows nothing of the blocks before, so they can be made at once."""
    if level in (1, 2, 3):
        fast = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        data = fast.compress(block) + fast.flush(isal_zlib.Z_SYNC_FLUSH)
    else:
        slow = zlib.compressobj(level, zlib.DEFLATED, -15)
        data = slow.compress(block) + slow.flush(zlib.Z_SYNC_FLUSH)
    return _Deflated(data, isal_zlib.crc32(block), len(block))
