"""How layers are compressed, and streams that compress and decompress.

gzip is made by ISA-L in blocks of one MiB that are independent of each other, on several threads; the result is one
gzip member that depends on the bytes and the level only, never on the number of threads or the time. zstd compresses on
its own threads, as deterministically. Specification: RFC 1952 (gzip), RFC 8878 (zstd); media types in OCI image-spec,
layer.md.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, cast

import zstandard
from isal import igzip_lib, isal_zlib

from boatyard.errors import InvalidError, LayerError, UnsupportedError
from boatyard.image import spec
from boatyard.image.layer.stage import Stage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
DECOMPRESSED_LIMIT = 1 << 40
"""Bytes that one stream may become. Far beyond any layer; a bomb is more."""
_MAX_WINDOW = 1 << 27
"""What zstd's own command decompresses without being asked twice."""

_MEDIA_TYPES = {
    "tar": (spec.OCI_LAYER, spec.DOCKER_LAYER),
    "gzip": (spec.OCI_LAYER_GZIP, spec.DOCKER_LAYER_GZIP),
    "zstd": (spec.OCI_LAYER_ZSTD, spec.DOCKER_LAYER_ZSTD),
}
_LEVELS = {"tar": range(1), "gzip": range(10), "zstd": range(1, 23)}
_DEFAULT_LEVEL = {"tar": 0, "gzip": 2, "zstd": 3}


@dataclass(frozen=True, slots=True)
class Compression:
    """`kind` is "tar" (none), "gzip" or "zstd". Levels: gzip 0-9 (1-3 are ISA-L's, the fast ones), zstd 1-22; None is
    the default."""

    kind: str = "gzip"
    level: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _LEVELS:
            raise InvalidError(f"unknown compression {self.kind!r}", hint="use gzip, zstd or uncompressed")
        if self.level is not None and self.kind != "tar" and self.level not in _LEVELS[self.kind]:
            levels = _LEVELS[self.kind]
            raise InvalidError(
                f"{self.kind} has no level {self.level}", hint=f"levels go from {levels[0]} to {levels[-1]}"
            )

    @property
    def effective_level(self) -> int:
        return _DEFAULT_LEVEL[self.kind] if self.level is None or self.kind == "tar" else self.level

    @property
    def key(self) -> str:
        """Equal keys give equal bytes."""
        return "tar" if self.kind == "tar" else f"{self.kind}:{self.effective_level}"

    @staticmethod
    def of_key(key: str) -> Compression:
        kind, _, level = key.partition(":")
        return Compression(kind, int(level) if level else None)

    def media_type(self, *, docker: bool = False) -> str:
        return _MEDIA_TYPES[self.kind][docker]


def kind_of(media_type: str) -> str:
    """The kind of compression of a layer's media type. UnsupportedError for one that is no layer."""
    if media_type == spec.DOCKER_LAYER_FOREIGN:
        return "gzip"
    for kind, media_types in _MEDIA_TYPES.items():
        if media_type in media_types:
            return kind
    # Distribution-restricted layers of Windows images ("nondistributable") have suffixes as the others.
    if ".layer.nondistributable.v1.tar" in media_type:
        return {"gzip": "gzip", "zstd": "zstd"}.get(media_type.rpartition("+")[2], "tar")
    raise UnsupportedError(f"media type {media_type!r} is not that of a layer")


def detect(head: bytes) -> str:
    """The compression of a stream that starts so: "gzip", "zstd", "bzip2", "xz", or "tar" for all else. Six bytes are
    enough."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    if head.startswith(b"BZh"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "tar"


# Decompression

_DAMAGE: tuple[type[Exception], ...] = (cast(type[Exception], igzip_lib.IsalError), OSError, EOFError, lzma.LZMAError)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Decompressed(io.RawIOBase):
    """Several members or frames in a row are one stream; padding of zeros after the last one is nothing."""

    def __init__(self, source: Readable, make: Callable[[], _Decompressor], what: str, limit: int, head: bytes) -> None:
        self._source = source
        self._make = make
        self._what = what
        self._left = limit
        self._input = head
        self._current = make()
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size and not self._ended:
            if self._current.eof:
                rest = (self._current.unused_data or self._source.read(CHUNK)).lstrip(b"\0")
                while not rest:
                    if not (more := self._source.read(CHUNK)):
                        self._ended = True
                        return b""
                    rest = more.lstrip(b"\0")
                self._current, self._input = self._make(), rest
            if self._current.needs_input and not self._input:
                self._input = self._source.read(CHUNK)
                if not self._input:
                    raise LayerError(f"the {self._what} stream is cut off")
            try:
                data = self._current.decompress(self._input, size)
            except _DAMAGE as error:
                raise LayerError(f"the {self._what} stream is damaged: {error}") from error
            self._input = b""
            if data:
                self._left -= len(data)
                if self._left < 0:
                    raise LayerError(f"the {self._what} stream decompresses to more than the limit allows")
                return data
        return b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)


class _Plain(io.RawIOBase):
    """A stream of which some bytes were read to see what it is."""

    def __init__(self, source: BinaryIO, head: bytes) -> None:
        self._source = source
        self._head = head

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._head:
            return self._source.read(-1 if size is None else size)
        if size is None or size < 0:
            data, self._head = self._head + self._source.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            if not self._head and hasattr(self._source, "readinto"):
                return self._source.readinto(view) or 0
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)


_ZSTD_HEADER = 18
_SENTINEL = b"end of the stream"
_SENTINEL_FRAME = zstandard.ZstdCompressor().compress(_SENTINEL)


class _ZstdReader(io.RawIOBase):
    """zstandard's reader takes a frame that is cut off for its end. So one more frame is put after the stream: if the
    frames before it are whole, its content comes out last."""

    def __init__(self, source: Readable, limit: int, head: bytes) -> None:
        self._source = source
        self._left = limit + len(_SENTINEL)
        self._head = head
        self._tail = _SENTINEL_FRAME
        self._held = b""
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._stream = decompressor.stream_reader(
            cast(BinaryIO, _Function(self._compressed)), read_size=CHUNK, read_across_frames=True, closefd=False
        )

    def _compressed(self, size: int) -> bytes:
        data = self._source.read(size)
        if self._head:
            # zstd forgets the beginning of a header that comes in two parts, so it gets all of it at once.
            data, self._head = self._head + data, b""
            while len(data) < _ZSTD_HEADER and (more := self._source.read(size)):
                data += more
            if len(data) < _ZSTD_HEADER:
                data, self._tail = data + self._tail, b""
        if not data:
            data, self._tail = self._tail, b""
        return data

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size:
            try:
                data = self._stream.read(size)
            except zstandard.ZstdError as error:
                raise LayerError(f"the zstd stream is damaged: {error}") from error
            if not data:
                if self._held != _SENTINEL:
                    raise LayerError("the zstd stream is cut off")
                return b""
            self._left -= len(data)
            if self._left < 0:
                raise LayerError("the zstd stream decompresses to more than the limit allows")
            data = self._held + data
            self._held = data[-len(_SENTINEL) :]
            if len(data) > len(_SENTINEL):
                return data[: -len(_SENTINEL)]
        return b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)


class _Function:
    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def open_decompressed(source: BinaryIO, *, limit: int = DECOMPRESSED_LIMIT) -> BinaryIO:
    """The stream that is in `source` (gzip, zstd, bzip2, xz or plain, told by its first bytes). Reading raises
    LayerError when it is damaged, cut off, or becomes longer than `limit` bytes. The caller keeps `source`, and closes
    both."""
    head = b""
    while len(head) < 6 and (data := source.read(6 - len(head))):
        head += data
    kind = detect(head)
    stream: io.RawIOBase
    if kind == "zstd":
        stream = _ZstdReader(source, limit, head)
    elif kind == "tar":
        stream = _Plain(source, head)
    else:
        make: dict[str, Callable[[], _Decompressor]] = {
            "gzip": lambda: cast(_Decompressor, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)),
            "bzip2": bz2.BZ2Decompressor,
            "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW * 2),
        }
        stream = _Decompressed(source, make[kind], kind, limit, head)
    return cast(BinaryIO, stream)


# Compression


class Sink(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


class Compressor:
    """Takes bytes by `write` and gives them, compressed, to `out`. What it is given must not be changed afterwards.
    From the second MiB on it works on threads of its own. `close` finishes the stream (and not `out`); `abort` gives it
    up."""

    def __init__(self, out: Sink, compression: Compression, *, threads: int | None = None) -> None:
        workers = threads or len(os.sched_getaffinity(0))
        level = compression.effective_level
        if compression.kind == "gzip":
            self._codec: _Codec = _Gzip(out, level, workers)
        elif compression.kind == "zstd":
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


@contextmanager
def open_compressed(out: Sink, compression: Compression) -> Iterator[Compressor]:
    """A sink whose bytes come out of `out` compressed, finished when the context ends without an exception."""
    compressor = Compressor(out, compression)
    try:
        yield compressor
        compressor.close()
    finally:
        compressor.abort()
