"""Read tar streams: everything that image tools have ever written.

ustar, v7, star, PAX (with global headers and all three forms of GNU.sparse), GNU (long names, long links, old sparse,
base-256 numbers), xattrs as SCHILY and as LIBARCHIVE write them. Names are bytes. The stream needn't be seekable, and
memory doesn't grow with it.

Knows nothing of directories, layers or whiteouts. Specification: POSIX.1-2017 `pax`, GNU tar manual "Basic Tar Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol, cast

from boatyard.errors import LayerError
from boatyard.image.layer import pax

REGULAR, HARD_LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

MAX_METADATA = 1 << 20
"""Bytes of one PAX header or long name. Whatever needs more is not meant to be read."""
MAX_SPARSE_PIECES = 1 << 16

_BLOCK = 512
_BUFFER = 1 << 20
_ZEROS = bytes(_BLOCK)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_MAX_ID = (1 << 32) - 2
_WITHOUT_DATA = frozenset((HARD_LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO))


class Entry(NamedTuple):
    """One member. `kind` is one of the constants above. `name` and `link` are as they stand in the stream,
    unchecked."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of the file when unpacked, holes included."""
    mtime_ns: int
    link: bytes
    major: int
    minor: int
    xattrs: Mapping[bytes, bytes]
    sparse: tuple[tuple[int, int], ...] | None
    """Where the stored bytes go: (offset, length) in ascending order; the rest are holes. None: everything is
    stored."""


class ReadsInto(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


Source = ReadsInto | BinaryIO
"""A blocking stream of bytes."""


def reads_into(source: Source) -> Callable[[memoryview], int | None]:
    """How to fill a buffer from it, for streams that can only `read`, too."""
    if hasattr(source, "readinto"):
        return cast(ReadsInto, source).readinto

    def readinto(buffer: memoryview) -> int:
        data = source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    return readinto


@dataclass(slots=True)
class _Extended:
    """What the headers before an entry's own say."""

    name: bytes = b""
    link: bytes = b""
    records: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[tuple[bytes, bytes]] = field(default_factory=list)
    """GNU.sparse 0.0 repeats its keys."""


class TarReader:
    """One pass over a stream, entry by entry. Raises LayerError for whatever isn't tar. Not thread-safe.

    `open_end`: the stream may end within the padding of its last entry, as some programs leave it."""

    def __init__(self, stream: Source, *, open_end: bool = False) -> None:
        self._readinto = reads_into(stream)
        self._open_end = open_end
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._position = 0
        self._end = 0
        self._left = 0
        self._padding = 0
        self._sparse: tuple[tuple[int, int], ...] | None = None
        self._globals: dict[bytes, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self.offset = 0
        """Bytes of the stream that were handed out or skipped, up to the last buffer."""

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry, or None at the end. What wasn't read of the last one is skipped."""
        extended: _Extended | None = None
        while True:
            if self._left or self._padding:
                self._skip()
            if self._end - self._position < _BLOCK and not self._fill(_BLOCK):
                if self._end != self._position:
                    raise self._truncated()
                if extended is not None:
                    raise LayerError("the tar stream ends after an extended header")
                return None
            start = self._position
            fields = _HEADER.unpack_from(self._buffer, start)
            checksum = fields[6]
            if checksum == b"\0\0\0\0\0\0\0\0" and self._buffer.startswith(_ZEROS, start):
                self._position += _BLOCK
                self._check_end()
                return None
            view = self._view
            # Adler-32's lower half is one more than the sum of the bytes, modulo 65521; 256 bytes can't reach that.
            total = (
                (zlib.adler32(view[start : start + 256]) & 0xFFFF)
                + (zlib.adler32(view[start + 256 : start + 512]) & 0xFFFF)
                - 2
                - sum(checksum)
                + 256
            )
            self._position = start + _BLOCK
            if self._number(checksum, "checksum") != total and not self._signed_checksum_holds(start, checksum):
                raise LayerError(
                    f"the tar stream is damaged: a header's checksum is wrong (at byte {self.offset + start})"
                )
            kind = fields[7]
            size = self._number(fields[4], "size")
            if size < 0 or size > pax.MAX_SIZE:
                raise LayerError(f"a tar entry has an impossible size ({size})")
            if kind in b"xgXLK":
                if extended is None and kind != b"g":
                    extended = _Extended()
                self._read_extension(kind, self._metadata(size), extended)
            elif kind == b"V":  # GNU volume label: names no file
                self._left, self._padding = size, -size % _BLOCK
            else:
                return self._entry(start, fields, size, extended)

    def _read_extension(self, kind: bytes, data: bytes, extended: _Extended | None) -> None:
        if extended is None:
            self._globals.update(pax.records(data))
        elif kind == b"L":
            extended.name = data.partition(b"\0")[0]
        elif kind == b"K":
            extended.link = data.partition(b"\0")[0]
        elif kind == b"g":
            self._globals.update(pax.records(data))
        else:
            records = pax.records(data)
            extended.records.update(records)
            extended.pieces += [
                record for record in records if record[0] in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
            ]

    def _entry(self, start: int, fields: tuple[bytes, ...], size: int, extended: _Extended | None) -> Entry:
        kind = fields[7]
        name = fields[0].partition(b"\0")[0]
        link = fields[8].partition(b"\0")[0]
        if fields[9][:6] == b"ustar\0":
            prefix = fields[12]
            if fields[13][8:] == b"tar\0":  # star keeps times at the end of the prefix
                prefix = prefix[:131]
            if prefix[0]:
                name = prefix.partition(b"\0")[0] + b"/" + name
        number = self._number
        mode, uid, gid = number(fields[1], "mode") & 0o7777, number(fields[2], "uid"), number(fields[3], "gid")
        mtime_ns = number(fields[5], "mtime") * 1_000_000_000
        major = minor = 0
        if kind in b"34":
            major, minor = number(fields[10], "device"), number(fields[11], "device")
        xattrs = pax.NO_XATTRS
        stored = size
        sparse: tuple[tuple[int, int], ...] | None = None
        if kind == b"S":
            size, sparse = self._old_sparse(start, stored)
        if extended is not None or self._globals:
            extended = extended or _Extended()
            records = {**self._globals, **extended.records}
            name = records.get(b"path") or extended.name or name
            link = records.get(b"linkpath") or extended.link or link
            if value := records.get(b"size"):
                size = stored = pax.decimal(value, "size")
            if value := records.get(b"uid"):
                uid = pax.decimal(value, "uid")
            if value := records.get(b"gid"):
                gid = pax.decimal(value, "gid")
            if value := records.get(b"mtime"):
                mtime_ns = pax.nanoseconds(value)
            if value := records.get(b"SCHILY.devmajor"):
                major = pax.decimal(value, "device")
            if value := records.get(b"SCHILY.devminor"):
                minor = pax.decimal(value, "device")
            xattrs = pax.xattrs(records)
            if b"GNU.sparse.major" in records or b"GNU.sparse.size" in records:
                name = records.get(b"GNU.sparse.name") or name
                size, stored, sparse = self._pax_sparse(records, extended.pieces, stored)

        if kind in (b"\0", REGULAR, b"7", b"S"):
            kind = DIRECTORY if kind == b"\0" and name.endswith(b"/") else REGULAR
        elif kind == b"D":  # GNU: a directory with a listing of what was in it
            kind = DIRECTORY
        elif kind in _WITHOUT_DATA:
            stored = 0
        else:
            raise LayerError(f"tar entry {shown(name)} is of an unknown type {kind!r}")
        if kind != REGULAR:
            size, sparse = 0, None
        if not 0 <= uid <= _MAX_ID or not 0 <= gid <= _MAX_ID:
            raise LayerError(f"tar entry {shown(name)} belongs to nobody: {uid}:{gid}")
        if b"\0" in name or b"\0" in link:
            raise LayerError(f"tar entry {shown(name)} has a NUL byte in its name")
        self._left, self._padding, self._sparse = stored, -stored % _BLOCK, sparse
        return Entry(name, kind, mode, uid, gid, size, mtime_ns, link, major, minor, xattrs, sparse)

    def small_content(self) -> memoryview | None:
        """What is stored of the current entry, at once, if it is at most 512 KiB. Valid until the next call of any
        method."""
        size = self._left
        if size > _BUFFER // 2 or self._sparse is not None:
            return None
        if self._end - self._position < size and not self._fill(size):
            raise self._truncated()
        start = self._position
        self._position += size
        self._left = 0
        return self._view[start : start + size]

    def content(self) -> Iterator[tuple[int, memoryview]]:
        """What is stored of the current entry: (offset in the file, bytes). Each view is valid until the next step."""
        if self._sparse is None:
            position = 0
            while self._left:
                view = self._some(self._left)
                yield position, view
                position += len(view)
            return
        for offset, length in self._sparse:
            end = offset + length
            while offset < end:
                view = self._some(end - offset)
                yield offset, view
                offset += len(view)

    def drain(self) -> None:
        """Read the stream to its end, so that whoever digests it has seen all of it."""
        while self._fill(1):
            self._position = self._end

    # Buffer

    def _fill(self, size: int) -> bool:
        """Have at least `size` bytes from the position on; False when the stream ends before."""
        rest = self._end - self._position
        if rest and self._position:
            self._buffer[:rest] = self._buffer[self._position : self._end]
        self.offset += self._position
        self._position, self._end = 0, rest
        while self._end < size:
            count = self._readinto(self._view[self._end :])
            if not count:
                return False
            self._end += count
        return True

    def _some(self, wanted: int) -> memoryview:
        if self._position == self._end and not self._fill(1):
            raise self._truncated()
        start = self._position
        count = min(wanted, self._end - start)
        self._position += count
        self._left -= count
        return self._view[start : start + count]

    def _skip(self) -> None:
        padding = self._padding
        left = self._left + padding
        self._left = self._padding = 0
        while left > self._end - self._position:
            left -= self._end - self._position
            self._position = self._end
            if not self._fill(1):
                if self._open_end and left <= padding:
                    return
                raise self._truncated()
        self._position += left

    def _metadata(self, size: int) -> bytes:
        if size > MAX_METADATA:
            raise LayerError(f"a tar header is too large ({size} bytes)")
        padded = size + -size % _BLOCK
        if self._end - self._position < padded and not self._fill(padded):
            raise self._truncated()
        start = self._position
        self._position += padded
        return bytes(self._view[start : start + size])

    def _check_end(self) -> None:
        """After a block of zeros: a second one, or the end of the stream."""
        if self._end - self._position < _BLOCK and not self._fill(_BLOCK):
            if self._end != self._position:
                raise self._truncated()
            return
        if not self._buffer.startswith(_ZEROS, self._position):
            raise LayerError("the tar stream goes on after its end mark")

    def _truncated(self) -> LayerError:
        return LayerError(
            f"the tar stream is cut off after {self.offset + self._end} bytes", hint="make or fetch the archive again"
        )

    # Fields

    def _number(self, field: bytes, what: str) -> int:
        known = self._numbers.get(field)
        if known is not None:
            return known
        if field[0] & 0x80:
            bits = len(field) * 8 - 1
            value = int.from_bytes(field, "big") & ((1 << bits) - 1)
            if value >> (bits - 1):
                value -= 1 << bits
        else:
            digits = field.strip(b" ").partition(b"\0")[0].strip(b" ") or b"0"
            if not digits.isdigit():
                raise LayerError(f"a tar header has an unreadable {what}: {field!r}")
            try:
                value = int(digits, 8)
            except ValueError as error:
                raise LayerError(f"a tar header has an unreadable {what}: {field!r}") from error
        if len(self._numbers) > 4096:
            self._numbers.clear()
        self._numbers[field] = value
        return value

    def _signed_checksum_holds(self, start: int, checksum: bytes) -> bool:
        """Some historic tars summed signed characters."""
        block = bytearray(self._buffer[start : start + _BLOCK])
        block[148:156] = b" " * 8
        return self._number(checksum, "checksum") == sum(byte - 256 if byte > 127 else byte for byte in block)

    # Sparse files

    def _old_sparse(self, start: int, stored: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        block = bytes(self._buffer[start : start + _BLOCK])
        size = self._number(block[483:495], "size")
        found: list[tuple[int, int]] = []
        fields, more = block[386:482], block[482]
        while True:
            for index in range(0, len(fields), 24):
                if not fields[index]:
                    break
                offset = self._number(fields[index : index + 12], "sparse map")
                found.append((offset, self._number(fields[index + 12 : index + 24], "sparse map")))
            if not more:
                break
            if len(found) > MAX_SPARSE_PIECES:
                raise LayerError("a sparse file in the tar stream has too many pieces")
            block = self._metadata(_BLOCK)
            fields, more = block[:504], block[504]
        return size, _checked_pieces(found, size, stored)

    def _pax_sparse(
        self, records: Mapping[bytes, bytes], pieces: list[tuple[bytes, bytes]], stored: int
    ) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """(size of the file, bytes stored after the map, pieces)."""
        if b"GNU.sparse.major" in records:
            version = records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor", b"0")
            if version != (b"1", b"0"):
                raise LayerError(f"a sparse file in the tar stream is of an unknown version {version}")
            size = pax.decimal(records.get(b"GNU.sparse.realsize", b""), "size")
            values, used = self._sparse_lines(stored)
            stored -= used
        else:
            size = pax.decimal(records[b"GNU.sparse.size"], "size")
            if b"GNU.sparse.map" in records:
                texts = records[b"GNU.sparse.map"].split(b",") if records[b"GNU.sparse.map"] else []
            else:
                texts = [value for _, value in pieces]
                expected = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
                if any(key != expected[index % 2] for index, (key, _) in enumerate(pieces)):
                    raise LayerError("a sparse file in the tar stream has a map out of order")
            values = [pax.decimal(text, "sparse map") for text in texts]
        if len(values) % 2 or len(values) > 2 * MAX_SPARSE_PIECES:
            raise LayerError("a sparse file in the tar stream has an impossible map")
        found = list(zip(values[::2], values[1::2], strict=True))
        return size, stored, _checked_pieces(found, size, stored)

    def _sparse_lines(self, stored: int) -> tuple[list[int], int]:
        """Version 1.0: the map is the head of the data, one decimal number a line, the first of them the count of
        pieces."""
        lines: list[bytes] = []
        rest = b""
        used = 0
        wanted = 1
        while len(lines) < wanted:
            if used + _BLOCK > stored + -stored % _BLOCK or len(rest) > 32:
                raise LayerError("a sparse file in the tar stream has an impossible map")
            *complete, rest = (rest + self._metadata(_BLOCK)).split(b"\n")
            used += _BLOCK
            lines += complete
            if wanted == 1 and lines:
                wanted = 1 + 2 * pax.decimal(lines[0], "sparse map")
                if wanted > 2 * MAX_SPARSE_PIECES:
                    raise LayerError("a sparse file in the tar stream has too many pieces")
        return [pax.decimal(line, "sparse map") for line in lines[1:wanted]], used


def _checked_pieces(found: list[tuple[int, int]], size: int, stored: int) -> tuple[tuple[int, int], ...]:
    end = 0
    for offset, length in found:
        if length < 0 or offset < end or offset + length > size:
            raise LayerError("a sparse file in the tar stream has pieces that overlap or lie outside of it")
        end = offset + length
    if sum(length for _, length in found) != stored or size > pax.MAX_SIZE:
        raise LayerError("a sparse file in the tar stream has a map that doesn't fit its data")
    return tuple(piece for piece in found if piece[1])


def shown(name: bytes) -> str:
    """For messages."""
    return repr(name[:200].decode(errors="backslashreplace"))
