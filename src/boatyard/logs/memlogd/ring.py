"""The lines that a dump shows: the last ones, within bounds.

Without `fair` it is one queue: the oldest line of all goes first, whoever wrote it. With it, each source has a
queue, and the source that holds the most loses its oldest: a source that floods can only push out what is its own,
and those that say little keep their last words.

Lines are counted one by one. Bytes are those of whole chunks, because that is what memory they take.
"""

from __future__ import annotations

import heapq
from collections import deque

from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.chunk import Chunk, Held, Source, Sources


class _Queue:
    """Of one source, or (`source` None) of all."""

    __slots__ = ("bytes", "chunks", "lines", "source")

    def __init__(self, source: Source | None) -> None:
        self.source = source
        self.chunks: deque[Held] = deque()
        self.lines = 0
        self.bytes = 0


class Ring:
    """Never holds more than its bounds say."""

    def __init__(self, bounds: Bounds, sources: Sources) -> None:
        self._bounds = bounds
        self._sources = sources
        self._queues: dict[Source | None, _Queue] = {}
        self._sizes = _Sizes(bounds)
        self.lines = 0
        self.bytes = 0

    def add(self, chunk: Chunk) -> None:
        bounds = self._bounds
        chunk.source.held += 1  # first: what goes now must not take the last of the source's name with it
        key = chunk.source if bounds.fair else None
        queue = self._queues.get(key)
        if bounds.bytes and len(chunk.data) > bounds.bytes:
            chunk = chunk.later_part(bounds.bytes)
            while queue is not None and queue.chunks:  # what is older goes first
                self._drop_chunk(queue)
            queue = None
        if queue is None:
            queue = self._queues[key] = _Queue(key)
        queue.chunks.append(Held(chunk))
        self._grow(queue, chunk.count, len(chunk.data))
        if self.lines <= bounds.lines and (not bounds.bytes or self.bytes <= bounds.bytes):
            return
        while (excess := self.lines - bounds.lines) > 0:
            if bounds.fair:
                queue, lead = self._sizes.largest()
                # Not below the next largest, and not its last line while somebody has two.
                excess = min(excess, max(1, int(lead * bounds.lines)), max(1, queue.lines - 1))
            self._drop_lines(queue, excess)
        while bounds.bytes and self.bytes > bounds.bytes:
            if bounds.fair:
                queue, _ = self._sizes.largest()
            self._drop_oldest(queue)

    def contents(self) -> list[Held]:
        """All that is held, in the order of arrival."""
        held = [Held(one.chunk, one.skip) for queue in self._queues.values() for one in queue.chunks]
        if self._bounds.fair:
            held.sort(key=lambda one: one.chunk.index)
        return held

    def _grow(self, queue: _Queue, lines: int, size: int) -> None:
        queue.lines += lines
        queue.bytes += size
        self.lines += lines
        self.bytes += size
        if queue.source is not None and queue.chunks:
            self._sizes.changed(queue)

    def _drop_lines(self, queue: _Queue, count: int) -> None:
        """Of the oldest chunk only."""
        oldest = queue.chunks[0]
        if count >= oldest.chunk.count - oldest.skip:
            self._drop_chunk(queue)
        else:
            oldest.skip += count
            self._grow(queue, -count, 0)

    def _drop_oldest(self, queue: _Queue) -> None:
        """The oldest chunk; when it is the only one, its first half."""
        oldest = queue.chunks[0]
        if len(queue.chunks) > 1 or oldest.chunk.count - oldest.skip == 1:
            self._drop_chunk(queue)
            return
        left = oldest.chunk.count - oldest.skip
        later = oldest.chunk.later_part(len(oldest.chunk.data) // 2)
        queue.chunks[0] = Held(later, max(0, later.count - left))
        self._grow(queue, min(later.count, left) - left, len(later.data) - len(oldest.chunk.data))

    def _drop_chunk(self, queue: _Queue) -> None:
        held = queue.chunks.popleft()
        source = held.chunk.source
        source.held -= 1
        self._grow(queue, held.skip - held.chunk.count, -len(held.chunk.data))
        if not queue.chunks:
            del self._queues[queue.source]
        self._sources.release(source)


class _Sizes:
    """Which queue takes the largest share of the bounds. A heap with an entry for each change of a queue; entries
    that a later change made wrong are dropped when they come up."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._heap: list[tuple[float, int, int, _Queue]] = []
        self._serial = 0
        self._live: set[_Queue] = set()

    def changed(self, queue: _Queue) -> None:
        """`queue` has another size now, or another oldest chunk. Equal shares: the one whose oldest lines are
        older."""
        self._serial += 1
        heapq.heappush(self._heap, (-self._share(queue), queue.chunks[0].chunk.index, self._serial, queue))
        self._live.add(queue)
        if len(self._heap) > 4 * len(self._live) + 64:
            self._live = {each for each in self._live if each.chunks}
            self._heap = [
                (-self._share(each), each.chunks[0].chunk.index, number, each) for number, each in enumerate(self._live)
            ]
            heapq.heapify(self._heap)

    def largest(self) -> tuple[_Queue, float]:
        """The largest queue, and by what part of the bounds it exceeds the next one."""
        heap = self._heap
        self._drop_stale()
        first = heapq.heappop(heap)
        self._drop_stale(first[3])
        lead = -first[0] - (-heap[0][0] if heap else 0.0)
        heapq.heappush(heap, first)
        return first[3], lead

    def _drop_stale(self, apart_from: _Queue | None = None) -> None:
        """Until the top is right; entries of `apart_from` are double."""
        heap = self._heap
        while heap:
            share, index, _, queue = heap[0]
            if (
                queue is not apart_from
                and queue.chunks
                and -share == self._share(queue)
                and index == queue.chunks[0].chunk.index
            ):
                return
            heapq.heappop(heap)

    def _share(self, queue: _Queue) -> float:
        """A source's last line counts nothing: it goes only when nobody has two, and the oldest first."""
        if queue.lines == 1:
            return 0.0
        lines = queue.lines / self._bounds.lines
        return max(lines, queue.bytes / self._bounds.bytes) if self._bounds.bytes else lines
