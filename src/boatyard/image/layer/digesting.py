"""Digest a stream beside whoever makes it, see whether it is one that was digested before, and send one stream to
several takers."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol

from isal import isal_zlib

from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.layer.stage import Stage


class Sink(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


class Checksum(NamedTuple):
    """Tells a stream from a damaged one, at a tenth of what a digest costs."""

    size: int
    crc: int


class Checksummer:
    """A sink that only counts and sums up."""

    def __init__(self) -> None:
        self._size = 0
        self._crc = 0

    def write(self, data: memoryview | bytes, /) -> int:
        size = len(data)
        self._size += size
        self._crc = isal_zlib.crc32(data, self._crc)
        return size

    def close(self) -> Checksum:
        return Checksum(self._size, self._crc)


class Digester:
    """A sink that only counts, hashes and sums up; from the second piece on, on a thread of its own. Ends with `close`
    or `abort`."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._first: memoryview | bytes | None = None
        self._stage: Stage[memoryview | bytes] | None = None
        self._crc = 0
        self.size = 0

    def write(self, data: memoryview | bytes, /) -> int:
        size = len(data)
        self.size += size
        if self._stage is not None:
            self._stage.put(data)
        elif self._first is None:
            self._first = data
        else:
            self._stage = Stage(self._update, depth=8, name="digest")
            self._stage.put(self._first)
            self._stage.put(data)
        return size

    def _update(self, data: memoryview | bytes) -> None:
        self._hash.update(data)
        self._crc = isal_zlib.crc32(data, self._crc)

    @property
    def checksum(self) -> Checksum:
        """After `close`."""
        return Checksum(self.size, self._crc)

    def close(self) -> Digest:
        if self._stage is not None:
            stage, self._stage = self._stage, None
            stage.close()
        elif self._first is not None:
            self._update(self._first)
            self._first = None
        return digests.of_hash(self._hash)

    def abort(self) -> None:
        if self._stage is not None:
            self._stage.abort()
            self._stage = None


class Tee:
    """A sink that is several."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, data: memoryview | bytes, /) -> int:
        for sink in self._sinks:
            sink.write(data)
        return len(data)
