"""Digest a layer that begins as an earlier one did, from the place where they part.

A build that copies a tree again with one file changed makes a layer that shares all other files with the one before, as
hard links. What was hashed up to the first difference needn't be read again: the state of the hash at every MiB is
remembered with a mark of every entry. A mark stands for everything that goes into an entry: the very inode of a file
(which an immutable layer that still exists shares), the bytes of anything else.

Knows marks and offsets; what they are made of is `layer.diff`'s business.
"""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isal import isal_zlib

from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.digesting import Checksum
from boatyard.image.layer.stage import Stage

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 1 << 20
"""Bytes between two states."""
MOST_ENTRIES = 200_000
"""Of one layer that is remembered."""
MOST_TRACES = 16


@dataclass(slots=True)
class Trace:
    """`marks` and `starts` (offsets in the stream): one of each an entry. `states`: of hash and checksum after 0, 1, 2
    and so on chunks."""

    marks: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("Q"))
    states: list[tuple[_Hash, int]] = field(default_factory=list)

    def has(self, index: int, mark: int) -> bool:
        return index < len(self.marks) and self.marks[index] == mark

    def chunks_before(self, index: int) -> int:
        """How many states' worth of the stream is behind when an entry begins."""
        return min(self.starts[index] // CHUNK, len(self.states) - 1)


class TracingDigester:
    """A sink that hashes and remembers; it takes pieces of CHUNK bytes, but for the last. On a thread of its own; ends
    with `close` or `abort`."""

    def __init__(self, earlier: Sequence[Trace]) -> None:
        self.earlier = earlier
        self.trace = Trace()
        self._hash = hashlib.sha256()
        self._crc = 0
        self._stage: Stage[memoryview | bytes] | None = None
        self.trace.states.append((self._hash.copy(), 0))
        self.size = 0

    def resume(self, trace: Trace, chunks: int, entries: int) -> None:
        """Begin as if so many chunks of a trace had been written already. Before the first `write`."""
        self.trace = Trace(trace.marks[:entries], trace.starts[:entries], trace.states[: chunks + 1])
        state, self._crc = trace.states[chunks]
        self._hash = state.copy()
        self.size = chunks * CHUNK

    def entry(self, mark: int, start: int) -> None:
        """An entry of the stream begins."""
        self.trace.marks.append(mark)
        self.trace.starts.append(start)

    def write(self, data: memoryview | bytes, /) -> int:
        if self._stage is None:
            self._stage = Stage(self._update, depth=8, name="digest")
        self._stage.put(data)
        self.size += len(data)
        return len(data)

    def _update(self, data: memoryview | bytes) -> None:
        self._hash.update(data)
        self._crc = isal_zlib.crc32(data, self._crc)
        if len(data) == CHUNK:
            self.trace.states.append((self._hash.copy(), self._crc))

    def close(self) -> Digest:
        if self._stage is not None:
            stage, self._stage = self._stage, None
            stage.close()
        return digests.of_hash(self._hash)

    @property
    def checksum(self) -> Checksum:
        """After `close`."""
        return Checksum(self.size, self._crc)

    def abort(self) -> None:
        if self._stage is not None:
            self._stage.abort()
            self._stage = None


class Traces:
    """Of the layers that were digested last. Thread-safe. A layer must be forgotten before it is removed: its inodes
    may then be another file's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: dict[LayerId, Trace] = {}

    def all(self) -> tuple[Trace, ...]:
        """The newest first."""
        with self._lock:
            return tuple(reversed(self._traces.values()))

    def keep(self, layer: LayerId, trace: Trace) -> None:
        """Small layers and huge ones are not worth it."""
        if len(trace.states) > 1 and len(trace.marks) <= MOST_ENTRIES:
            with self._lock:
                self._traces[layer] = trace
                while len(self._traces) > MOST_TRACES:
                    del self._traces[next(iter(self._traces))]

    def forget(self, layer: LayerId) -> None:
        with self._lock:
            self._traces.pop(layer, None)
