"""What a connection sends: frames put together, written in few pieces, no more than the other end takes."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from boatyard.wire.http2 import frames
from boatyard.wire.http2.headers import Headers, encode, list_size

_HEADER_SIZE = frames.HEADER.size
_FLUSH_AT = 65536
_HIGH_WATER = 262144
_OUR_FRAME_SIZE = 65536


class Sender(Protocol):
    """A stream, as far as sending goes."""

    id: int
    send_window: int

    def wake_writer(self) -> None: ...


class Outgoing:
    """One per connection. What is written within one turn of the event loop goes out together."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport = cast(asyncio.Transport, None)
        self.closed = False
        """Nothing more is written."""
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        """Of streams that are begun."""
        self.frame_size = frames.DEFAULT_FRAME_SIZE
        self.header_list: int | None = None
        """The longest header list that the other end takes."""
        self.paused = False
        """The other end doesn't read."""
        self.blocked: set[Sender] = set()
        """Streams that wait until something of that changes."""
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._scheduled = False

    def connect(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def take_frame_size(self, size: int) -> None:
        self.frame_size = min(size, _OUR_FRAME_SIZE)

    def fits(self, headers: Headers) -> bool:
        """Whether the other end takes a header list as long as this."""
        return self.header_list is None or list_size(headers) <= self.header_list

    def write(self, data: bytes) -> None:
        """A frame that no window holds up."""
        if self.closed:
            return
        self._pieces.append(data)
        self._size += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        self.write(frames.header_block(encode(headers), stream, end_stream=end, frame_size=self.frame_size))

    def data(self, stream: Sender, prefix: bytes, data: bytes | memoryview, *, end: bool) -> None:
        """Both together, in as many frames as it takes. At most as much as the windows allow."""
        number = stream.id
        size = len(prefix) + len(data)
        stream.send_window -= size
        self.window -= size
        pieces = self._pieces
        most = self.frame_size
        if size > most:
            view = memoryview(data)
            taken = most - len(prefix)
            pieces += (frames.HEADER.pack(most >> 8, most & 0xFF, 0, 0, number), prefix, view[:taken])
            self._size += _HEADER_SIZE
            while len(data) - taken > most:
                pieces += (frames.HEADER.pack(most >> 8, most & 0xFF, 0, 0, number), view[taken : taken + most])
                taken += most
                self._size += _HEADER_SIZE
            prefix, data = b"", view[taken:]
        last = len(prefix) + len(data)
        pieces += (frames.HEADER.pack(last >> 8, last & 0xFF, 0, 1 if end else 0, number), prefix, data)
        self._size += size + _HEADER_SIZE
        if self._size >= _FLUSH_AT:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._scheduled = False
        pieces = self._pieces
        if pieces and not self.transport.is_closing():
            self.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        pieces.clear()
        self._size = 0

    def wake_blocked(self) -> None:
        for stream in list(self.blocked):
            stream.wake_writer()
