"""Digest a stream beside whoever makes it, and send one stream to several takers."""

from __future__ import annotations

import hashlib
from typing import Protocol

from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.layer.stage import Stage


class Sink(Protocol):
    def write(self, data: memoryview, /) -> object: ...


class Digester:
    """A sink that only counts and hashes. From the second piece on it does so on a thread of its own. Ends with `close`
    or `abort`."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._first: memoryview | None = None
        self._stage: Stage[memoryview] | None = None
        self.size = 0

    def write(self, data: memoryview, /) -> int:
        size = len(data)
        self.size += size
        if self._stage is not None:
            self._stage.put(data)
        elif self._first is None:
            self._first = data
        else:
            self._stage = Stage(self._hash.update, depth=8, name="digest")
            self._stage.put(self._first)
            self._stage.put(data)
        return size

    def close(self) -> Digest:
        if self._stage is not None:
            stage, self._stage = self._stage, None
            stage.close()
        elif self._first is not None:
            self._hash.update(self._first)
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

    def write(self, data: memoryview, /) -> int:
        for sink in self._sinks:
            sink.write(data)
        return len(data)
