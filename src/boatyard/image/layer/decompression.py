"""Streams that decompress: gzip, zstd, bzip2 and xz, told by their first bytes.

Reading raises LayerError for what is damaged, cut off, or becomes longer than a limit. Specification: RFC 1952 (gzip),
RFC 8878 (zstd).
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import zstandard
from isal import igzip_lib

from boatyard.errors import LayerError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
DECOMPRESSED_LIMIT = 1 << 40
"""Bytes that one stream may become. Far beyond any layer; a bomb is more."""
AGAIN = "make or fetch the archive again"
_MAX_WINDOW = 1 << 27
"""What zstd's own command decompresses without being asked twice."""


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
                    raise LayerError(f"the {self._what} stream is cut off", hint=AGAIN)
            try:
                data = self._current.decompress(self._input, size)
            except _DAMAGE as error:
                raise LayerError(f"the {self._what} stream is damaged: {error}", hint=AGAIN) from error
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
                raise LayerError(f"the zstd stream is damaged: {error}", hint=AGAIN) from error
            if not data:
                if self._held != _SENTINEL:
                    raise LayerError("the zstd stream is cut off", hint=AGAIN)
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
