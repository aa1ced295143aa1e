"""A connection after HTTP has left it: bytes both ways, with half-closing and back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from boatyard.wire.adopted import Adopted

_READ_AHEAD = 262144


class RawStream(asyncio.Protocol):
    """Owned by whoever hijacked the connection, who closes it. One task reads, one writes."""

    def __init__(self, transport: asyncio.Transport, initial: bytes, on_lost: Callable[[], None]) -> None:
        """`initial` are bytes that came behind the request."""
        self.transport = transport
        self._buffer = bytearray(initial)
        self._on_lost = on_lost
        self._eof = False
        self._lost = False
        self._reader: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._reading_paused = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone, by either end."""
        transport.set_protocol(self)
        transport.resume_reading()

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes, at most `limit`; empty when the other end sends no more."""
        while not self._buffer and not self._eof:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        piece = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if self._reading_paused and len(self._buffer) < _READ_AHEAD // 2 and not self._lost:
            self._reading_paused = False
            self.transport.resume_reading()
        return piece

    async def write(self, data: bytes) -> None:
        """Waits while the other end takes no more. ConnectionResetError when it has gone."""
        if self._lost:
            raise ConnectionResetError("the other end has gone")
        self.transport.write(data)
        if self._writing_paused:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None
            if self._lost:
                raise ConnectionResetError("the other end has gone")

    def write_eof(self) -> None:
        """No more will be written; reading goes on."""
        if not self._lost and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """What was written is still sent."""
        self.transport.close()

    def adopt(self, protocol: asyncio.Protocol) -> None:
        """Hand the connection to `protocol`, with the bytes that nobody has read yet. This object is done then, but
        still notices the end of the connection."""
        self.transport.set_protocol(Adopted(protocol, self._connection_ended))
        protocol.connection_made(self.transport)
        if self._buffer:
            initial = bytes(self._buffer)
            self._buffer.clear()
            protocol.data_received(initial)
        if self._eof and not protocol.eof_received():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _READ_AHEAD and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._eof = True
        _wake(self._reader)
        return True

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        _wake(self._drained)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection_ended()

    def _connection_ended(self) -> None:
        self._lost = self._eof = True
        _wake(self._reader)
        _wake(self._drained)
        _wake(self.closed)
        self._on_lost()


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
