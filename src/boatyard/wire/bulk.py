"""A request's body received past h11: into two buffers in turn, one of which fills while the other is used.

Copies nothing but out of the kernel (and, for bodies in chunks, the framing away), so that bodies come in as fast as
somebody can hash them. Specification: RFC 9112, 7.1 (chunked transfer coding).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from boatyard.wire.asgi import ClientGoneError
from boatyard.wire.chunks import Chunks, MalformedChunkError

_SMALLEST = 4096
_RAW = 1 << 18


class Owner(Protocol):
    """The connection that lends its transport."""

    transport: asyncio.Transport

    def body_taken(self, rest: bytes) -> None: ...
    def body_refused(self, status: int, reason: str) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class BulkBody(asyncio.BufferedProtocol):
    """The protocol of its connection until the body has been received. The application iterates over it, once: pieces
    of `size` bytes, then a shorter one. A piece is good until the next one is asked for."""

    def __init__(self, owner: Owner, length: int | None, size: int, timeout: float) -> None:
        """`length` None: in chunks. `timeout`: seconds without a byte."""
        self._owner = owner
        self._left = length or 0
        self._chunks = Chunks() if length is None else None
        self._size = size if length is None else max(_SMALLEST, min(size, length))
        self._raw = memoryview(bytearray(_RAW if length is None else 0))
        self._free: list[bytearray] = []
        self._filling = bytearray(self._size)
        self._filled = 0
        self._ready: deque[tuple[bytearray, int]] = deque()
        self._given: bytearray | None = None
        self._ended = self._lost = self._paused = False
        self._news: asyncio.Future[None] | None = None
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def begin(self, data: bytes) -> None:
        """`data`: what came with the header."""
        self._arm()
        if self._chunks is not None:
            self._unframe(memoryview(data))
            return
        mine, rest = data[: self._left], data[self._left :]
        self._left -= len(mine)
        self._store(memoryview(mine))
        self._go_on(rest)

    def give_back(self) -> None:
        """Nobody wants the rest of it."""
        self._disarm()
        if self._paused:
            self._paused = False
            self._owner.transport.resume_reading()

    # What asyncio calls

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._chunks is not None:
            return self._raw
        return memoryview(self._filling)[self._filled : self._filled + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        self._arm()
        if self._chunks is not None:
            self._unframe(self._raw[:nbytes])
            return
        self._filled += nbytes
        self._left -= nbytes
        if self._filled == self._size:
            self._pass_on()
        self._go_on(b"")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self._owner.connection_lost(exc)

    # What the application calls

    def __aiter__(self) -> BulkBody:
        return self

    async def __anext__(self) -> memoryview:
        if self._given is not None:
            self._free.append(self._given)
            self._given = None
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            if self._lost:
                raise ClientGoneError("the client has gone")
            self._news = self._loop.create_future()
            try:
                await self._news
            finally:
                self._news = None
        self._given, filled = self._ready.popleft()
        if self._paused and not self._ready and not self._lost:
            self._paused = False
            self._arm()
            self._owner.transport.resume_reading()
        return memoryview(self._given)[:filled]

    # Filling

    def _unframe(self, data: memoryview) -> None:
        assert self._chunks is not None
        try:
            for piece in self._chunks.feed(data):
                self._store(piece)
        except MalformedChunkError as error:
            self._refuse(400, str(error))
            return
        self._go_on(self._chunks.rest)

    def _store(self, data: memoryview) -> None:
        while data:
            room = self._size - self._filled
            piece = data[:room]
            self._filling[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            data = data[room:]
            if self._filled == self._size:
                self._pass_on()

    def _pass_on(self) -> None:
        self._ready.append((self._filling, self._filled))
        self._filling = self._free.pop() if self._free else bytearray(self._size)
        self._filled = 0

    def _go_on(self, rest: bytes) -> None:
        """After bytes have come: end the body, or see whether there is room for more."""
        complete = self._chunks.complete if self._chunks is not None else not self._left
        if complete:
            self._disarm()
            self._ended = True
            self._flush()
            self._owner.body_taken(rest)
        elif self._ready and not self._paused and (self._given is not None or len(self._ready) > 1):
            # Whoever uses the last piece has one more waiting.
            self._paused = True
            self._disarm()
            self._owner.transport.pause_reading()
        if self._ready:
            self._wake()

    def _flush(self) -> None:
        if self._filled:
            self._ready.append((self._filling, self._filled))
            self._filling, self._filled = bytearray(0), 0

    def _lose(self) -> None:
        self._disarm()
        self._lost = True
        self._flush()
        self._wake()

    def _refuse(self, status: int, reason: str) -> None:
        self._lose()
        self._owner.body_refused(status, reason)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # Time

    def _arm(self) -> None:
        self._disarm()
        self._timer = self._loop.call_later(self._timeout, self._timed_out)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._refuse(408, "the request's body stopped arriving")
