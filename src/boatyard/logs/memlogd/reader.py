"""One reader's way through the lines: what was there when it came, then the backlog, and what it missed.

Knows nothing of sockets: it gives pieces of bytes, as large as they are worth sending, and is asked for the next
one when the last has gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boatyard.logs.memlogd.chunk import Chunk, Held, Source
from boatyard.logs.memlogd.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boatyard.logs.memlogd.form import Form

PIECE = 1 << 18
"""Bytes from which on no more is added to a piece."""


class Reader:
    """Owned by a connection, and lives as long. `wants` says of a source's name whether its lines are asked for."""

    def __init__(
        self,
        store: Store,
        form: Form,
        *,
        dump: bool,
        follow: bool,
        identity: str = "",
        orphan: bool = False,
        wants: Callable[[bytes], bool] | None = None,
        since: int = 0,
    ) -> None:
        self._store = store
        self._form = form
        self.follows = follow
        self._wants = wants
        self._since = since
        self._wanted: dict[Source, bool] = {}
        self.snapshot: deque[Held] = deque(store.ring.contents() if dump else ())
        """What was there when the reader came, and has not been sent yet."""
        self.position = store.end
        """Index of the next chunk from the backlog."""
        self.missed: dict[Source, tuple[int, int]] = {}
        """By source: the number of the first line that was dropped before this reader had it, and how many were."""
        self._first = form.hello(identity, orphan) + self._states()
        self._greeted = False
        self._stopping = False
        self._stop_told = False

    @property
    def done(self) -> bool:
        """Nothing will come any more."""
        if self._first or self.snapshot or self.missed or not self._greeted:
            return False
        return not self.follows or self._stop_told

    def miss(self, chunk: Chunk, skip: int = 0) -> None:
        """`chunk` is dropped, and this reader hasn't had it."""
        count = chunk.count - skip
        if not count or not self._is_wanted(chunk):
            return
        number, missed = self.missed.get(chunk.source, (chunk.number + skip, 0))
        self.missed[chunk.source] = (number, missed + count)

    def give_up_snapshot(self) -> None:
        """Somebody else needs the memory: what of it isn't sent is missed."""
        for held in self.snapshot:
            self.miss(held.chunk, held.skip)
        self.snapshot.clear()

    def stop(self) -> None:
        """memlogd ends: after what is there, nothing comes."""
        self._stopping = True

    def next_piece(self) -> bytes:
        """What to send now; empty when there is nothing."""
        pieces: list[bytes] = [self._first]
        size = len(self._first)
        self._first = b""
        if self.missed and not self.snapshot:
            size += self._tell_missed(pieces)
        while self.snapshot and size < PIECE:
            size += self._add(pieces, self.snapshot.popleft())
        if not self.snapshot and not self._greeted:
            self._greeted = True
            pieces.append(self._form.caught_up())
        if self.follows and not self.snapshot:
            end = self._store.end
            while self.position < end and size < PIECE:
                chunk = self._store.backlog.at(self.position)
                self.position += 1
                if chunk.count:
                    size += self._add(pieces, Held(chunk))
                elif self._wants is None or self._is_wanted(chunk):
                    source = chunk.source
                    pieces.append(self._form.state(source.name, source.base, chunk.number - 1, chunk.goes_on))
            if self._stopping and self.position == end and not self._stop_told:
                self._stop_told = True
                pieces.append(self._form.stopped())
        return b"".join(pieces)

    def _add(self, pieces: list[bytes], held: Held) -> int:
        if not self._is_wanted(held.chunk):
            return 0
        data = self._form.lines(held)
        pieces.append(data)
        return len(data)

    def _tell_missed(self, pieces: list[bytes]) -> int:
        now = self._store.clock()
        told = [self._form.gap(source.name, *missed, now) for source, missed in self.missed.items()]
        self.missed.clear()
        pieces += told
        return sum(map(len, told))

    def _states(self) -> bytes:
        if not self._form.state(b"", 0, 0, False):
            return b""
        return b"".join(
            self._form.state(*state)
            for state in self._store.sources.states()
            if self._wants is None or self._wants(state[0])
        )

    def _is_wanted(self, chunk: Chunk) -> bool:
        if chunk.time < self._since and chunk.count:
            return False
        if self._wants is None:
            return True
        wanted = self._wanted.get(chunk.source)
        if wanted is None:
            if len(self._wanted) > 10_000:
                self._wanted.clear()
            wanted = self._wanted[chunk.source] = self._wants(chunk.source.name)
        return wanted
