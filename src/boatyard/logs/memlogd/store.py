"""What memlogd has: its sources, the ring that a dump shows, and the backlog that followers read on from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.chunk import Chunk, Source, Sources
from boatyard.logs.memlogd.ring import Ring
from boatyard.logs.wording import OWN_NAME

_OVERHEAD = 256
"""Bytes of memory a chunk takes beside its data."""


class Backlog:
    """The newest chunks in the order of arrival, as long as a follower has them before it, and within bounds. Chunk
    `index` is at hand when `first <= index < end`."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0
        self.first = 0

    @property
    def end(self) -> int:
        return self.first + len(self._chunks)

    @property
    def full(self) -> bool:
        return self._bytes > self._bound

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._bytes += len(chunk.data) + _OVERHEAD

    def at(self, index: int) -> Chunk:
        return self._chunks[index - self.first]

    def pop(self) -> Chunk:
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk.data) + _OVERHEAD
        self.first += 1
        return chunk

    def clear(self, end: int) -> None:
        self._chunks.clear()
        self._bytes = 0
        self.first = end


class Store:
    """One per memlogd. `clock` gives nanoseconds since 1970; it may be set back at any time, numbers are not."""

    def __init__(self, bounds: Bounds, clock: Callable[[], int]) -> None:
        self.bounds = bounds
        self.clock = clock
        self.sources = Sources()
        self._own = self.sources.get(OWN_NAME)
        self._own.open = 1
        self.ring = Ring(bounds, self.sources)
        self.backlog = Backlog(bounds.backlog)
        self.following = False
        """Whether anybody reads the backlog. The server keeps it up to date."""
        self.end = 0
        """Index of the next chunk."""

    def take(self, source: Source, data: bytes, goes_on: bool = False) -> None:
        """`data`: whole lines of `source`, complete now."""
        count = data.count(b"\n")
        chunk = Chunk(self.end, self.clock(), source, source.taken + 1, count, data, goes_on)
        source.taken += count
        self.ring.add(chunk)
        self._append(chunk)

    def turn(self, source: Source) -> None:
        """A descriptor of `source` came or went: followers that want to know are told, behind the lines before."""
        self._append(Chunk(self.end, self.clock(), source, source.taken + 1, 0, b"", source.open > 0))

    def say(self, text: str) -> None:
        """A line of memlogd's own."""
        self.take(self._own, text.replace("\n", "\\n").encode("utf-8", "surrogateescape") + b"\n")

    def _append(self, chunk: Chunk) -> None:
        self.end += 1
        if self.following:
            self.backlog.add(chunk)
        else:
            self.backlog.first = self.end
