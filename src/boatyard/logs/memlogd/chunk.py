"""Lines as they are kept: whole, in the pieces in which they were read."""

from __future__ import annotations


class Source:
    """A name under which lines arrive. They are numbered from `base` + 1 on as long as memlogd knows the name,
    whatever descriptors come and go under it. Owned by `Sources`."""

    __slots__ = ("base", "held", "name", "open", "taken")

    def __init__(self, name: bytes, base: int, taken: int) -> None:
        self.name = name
        self.base = base
        self.taken = taken
        """Number of its last line."""
        self.open = 0
        """Descriptors being read."""
        self.held = 0
        """Chunks in the ring."""


class Sources:
    """All names known. A name that is neither read nor has lines in the ring is remembered by its numbers only, and
    not for ever: `past` of them. One that was forgotten counts from behind its old numbers when it comes back, so
    that no reader takes its lines for those it had: numbers begin at 1 until the first name is forgotten, and
    higher then."""

    def __init__(self, past: int = 4096) -> None:
        self._known: dict[bytes, Source] = {}
        self._past: dict[bytes, tuple[int, int]] = {}
        self._limit = past
        self._base = 0

    def get(self, name: bytes) -> Source:
        source = self._known.get(name)
        if source is None:
            base, taken = self._past.pop(name, (self._base, self._base))
            source = self._known[name] = Source(name, base, taken)
        return source

    def release(self, source: Source) -> None:
        """To be called when `open` or `held` went down."""
        if source.open or source.held or self._known.get(source.name) is not source:
            return
        del self._known[source.name]
        if source.taken == source.base:
            return
        self._past[source.name] = (source.base, source.taken)
        if len(self._past) > self._limit:
            _, taken = self._past.pop(next(iter(self._past)))
            self._base = max(self._base, taken)

    def states(self) -> list[tuple[bytes, int, int, bool]]:
        """Name, base, number of the last line, whether a descriptor is open: of every name that is known."""
        return [
            *((name, base, taken, False) for name, (base, taken) in self._past.items()),
            *((source.name, source.base, source.taken, source.open > 0) for source in self._known.values()),
        ]


class Chunk:
    """Some lines of one source that were complete at one moment. `data` ends with a newline and has `count` of them;
    `number` is the first line's. `goes_on`: these are the beginning of a line that was split; the source's next line
    continues it. Never changed."""

    __slots__ = ("count", "data", "goes_on", "index", "number", "source", "time")

    def __init__(
        self, index: int, time: int, source: Source, number: int, count: int, data: bytes, goes_on: bool
    ) -> None:
        self.index = index
        """Counts chunks: the order of arrival."""
        self.time = time
        self.source = source
        self.number = number
        self.count = count
        self.data = data
        self.goes_on = goes_on

    def later_part(self, size: int) -> Chunk:
        """A copy of the last lines only: those that fit `size` bytes, and at least the last one."""
        start = self.data.find(b"\n", max(0, len(self.data) - size - 1), -1) + 1
        data = self.data[start:] if start else self.data[self.data.rfind(b"\n", 0, -1) + 1 :]
        count = data.count(b"\n")
        return Chunk(self.index, self.time, self.source, self.number + self.count - count, count, data, self.goes_on)


class Held:
    """A chunk somebody keeps, without its first `skip` lines."""

    __slots__ = ("chunk", "skip")

    def __init__(self, chunk: Chunk, skip: int = 0) -> None:
        self.chunk = chunk
        self.skip = skip

    def data(self) -> bytes:
        if not self.skip:
            return self.chunk.data
        return self.chunk.data[line_offset(self.chunk.data, self.skip) :]


def line_offset(data: bytes, lines: int) -> int:
    """Where the line after the first `lines` begins."""
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at
