"""A connection carried by something else: two async functions that move bytes, as an asyncio transport.

So HTTP/2 runs within a gRPC stream of another HTTP/2 connection, or on a container's standard input and output.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

_PIECE = 131072
_HIGH_WATER = 262144


class Tunnel(asyncio.Transport):
    """Owned by whoever made it, who awaits `run`: the protocol is served as long as that runs."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        receive: Callable[[], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
        *,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """`receive` gives the next bytes, none at the end; `send` returns when it may be called again. What they raise
        ends the connection. `info` is what get_extra_info says, such as who the "peer" is."""
        super().__init__(info)
        self._protocol = protocol
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._writing_paused = False
        self._something = asyncio.Event()
        """To write, or that it is closing."""
        self._reading = asyncio.Event()
        self._reading.set()
        self._closing = False
        self._aborted = asyncio.Event()

    async def run(self) -> None:
        """Move bytes until either end closes. Never raises what `receive` or `send` do: the protocol is told."""
        self._protocol.connection_made(self)
        error: Exception | None = None
        tasks = {
            self._loop.create_task(self._read()),
            self._loop.create_task(self._write()),
            self._loop.create_task(self._until_aborted()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            error = next((problem for task in done if isinstance(problem := _problem(task), Exception)), None)
        finally:
            self._closing = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._pieces.clear()
            self._size = 0
            self._protocol.connection_lost(error)

    async def _read(self) -> None:
        """Ends when the other end has; then what was written is still sent, where the protocol wants it."""
        while True:
            await self._reading.wait()
            data = await self._receive()
            if not data:
                break
            self._protocol.data_received(data)
        if not self._protocol.eof_received():
            self.close()
        await self._aborted.wait()

    async def _write(self) -> None:
        while True:
            if not self._pieces:
                if self._closing:
                    return
                self._something.clear()
                await self._something.wait()
                continue
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            for start in range(0, len(data), _PIECE):
                piece = data if len(data) <= _PIECE else data[start : start + _PIECE]
                await self._send(piece)
                self._size -= len(piece)
            if self._writing_paused and self._size <= self._low:
                self._writing_paused = False
                self._protocol.resume_writing()

    async def _until_aborted(self) -> None:
        await self._aborted.wait()

    # What the protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._pieces.append(bytes(data))
        self._size += len(data)
        self._something.set()
        if self._size > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """What was written is still sent."""
        self._closing = True
        self._something.set()

    def abort(self) -> None:
        self._closing = True
        self._aborted.set()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def is_reading(self) -> bool:
        return self._reading.is_set()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"{protocol!r} doesn't take streams")
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


def _problem(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
