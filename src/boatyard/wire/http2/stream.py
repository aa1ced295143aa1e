"""One exchange on an HTTP/2 connection: a header list, data and trailers each way."""

from __future__ import annotations

import asyncio
from typing import Protocol

from boatyard.wire.http2.frames import ErrorCode
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.limits import Http2Limits
from boatyard.wire.http2.outgoing import Outgoing

_PIECE = 262144
"""What is sent before looking again whether the other end reads."""


class StreamClosedError(ConnectionError):
    """The stream or its connection has ended before its time. `code` says how."""

    def __init__(self, reason: str, code: ErrorCode) -> None:
        super().__init__(reason)
        self.code = code


class Carrier(Protocol):
    """What a stream needs of its connection."""

    transport: asyncio.Transport
    limits: Http2Limits
    initial_receive_window: int
    unread: int
    withheld: bool

    @property
    def out(self) -> Outgoing: ...
    def send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None: ...
    def send_data(self, stream: Stream, prefix: bytes, data: bytes | memoryview, *, end: bool) -> None: ...
    def reset(self, stream: Stream, code: ErrorCode) -> None: ...
    def grant(self, stream: Stream, size: int) -> None: ...
    def grant_connection(self) -> None: ...


class Stream:
    """Made and fed by its connection. A subclass says what its data mean; it must give back what it has read."""

    def __init__(self, connection: Carrier, number: int) -> None:
        self.connection = connection
        self.id = number
        self.local_closed = False
        self.remote_closed = False
        self.closed: StreamClosedError | None = None
        """Why nothing goes either way any more; None after an orderly end."""
        self.send_window = connection.out.initial_window
        self.receive_window = connection.initial_receive_window
        self.held = 0
        """Received and not given back."""
        self._ungiven = 0
        self._writer: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    # What a subclass does with what arrives; called by the connection, must not block

    def headers_received(self, headers: Headers, *, end: bool) -> None:
        raise NotImplementedError

    def data_received(self, buffer: bytes, start: int, stop: int) -> None:
        """A part of `buffer`. It counts against the windows until it is given back."""
        raise NotImplementedError

    def ended(self) -> None:
        """The other end sends no more."""

    def failed(self, error: StreamClosedError) -> None:
        """Nothing goes either way any more."""

    # Receiving

    def give_back(self, size: int) -> None:
        """So many bytes were read: the other end may send as many more."""
        connection = self.connection
        size = min(size, self.held)
        self.held -= size
        connection.unread -= size
        self._ungiven += size
        if self._ungiven > connection.limits.stream_window // 2 and not self.remote_closed:
            connection.grant(self, self._ungiven)
            self._ungiven = 0
        if connection.withheld:
            connection.grant_connection()

    # Sending

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Header lists aren't held up by windows. StreamClosedError when the stream has ended."""
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        self.connection.send_headers(self, headers, end=end)

    async def send_data(self, prefix: bytes, data: bytes, *, end: bool = False) -> None:
        """Both together, undivided by another call's. Waits for windows and for the socket. StreamClosedError when
        the stream has ended; cancelled in the middle, it ends the stream, which is no use any more."""
        out = self.connection.out
        size = len(prefix) + len(data)
        if (
            size <= self.send_window
            and size <= out.window
            and not out.paused
            and self.closed is None
            and not self._turn.locked()
        ):
            self.connection.send_data(self, prefix, data, end=end)
            return
        async with self._turn:
            await self._send_slowly(prefix + data, end)

    async def _send_slowly(self, data: bytes, end: bool) -> None:
        out = self.connection.out
        position = 0
        size = len(data)
        view = memoryview(data)
        try:
            while True:
                if self.closed is not None:
                    raise self.closed.with_traceback(None)
                room = min(self.send_window, out.window, _PIECE)
                if out.paused or (room <= 0 and position < size):
                    await self._writable()
                    continue
                following = min(position + room, size)
                self.connection.send_data(self, b"", view[position:following], end=end and following == size)
                position = following
                if position == size:
                    return
        except asyncio.CancelledError:
            if position:
                self.reset(ErrorCode.CANCEL)
            raise

    async def _writable(self) -> None:
        """Wait until something has changed that kept it from sending."""
        self._writer = asyncio.get_running_loop().create_future()
        self.connection.out.blocked.add(self)
        try:
            await self._writer
        finally:
            self._writer = None
            self.connection.out.blocked.discard(self)

    def wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def reset(self, code: ErrorCode = ErrorCode.CANCEL, reason: str = "the stream was given up") -> None:
        """End it both ways, at once. Nothing happens when it has ended."""
        if self.closed is None and not (self.local_closed and self.remote_closed):
            self.connection.reset(self, code)
            self.close(StreamClosedError(reason, code))

    def close(self, error: StreamClosedError) -> None:
        """By the connection, or by this end."""
        if self.closed is None:
            self.closed = error
            self.wake_writer()
            self.failed(error)
