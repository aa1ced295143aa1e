"""A descriptor to read from and one to write to (a container's standard input and output, say), as a `Tunnel` wants a
connection.

Pipes and sockets; both ends are used on one event loop, without blocking it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from boatyard.wire.pipes import until_readable, write_whole
from boatyard.wire.tunnel import Tunnel

_PIECE = 1 << 17


class Duplex:
    """Owns the two descriptors, which may be one and the same. Whoever made it closes it."""

    def __init__(self, readable: int, writable: int) -> None:
        self._readable = readable
        self._writable = writable
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)

    async def receive(self) -> bytes:
        """The next bytes; none when the other end sends no more."""
        while True:
            try:
                return os.read(self._readable, _PIECE)
            except BlockingIOError:
                await until_readable(self._readable)
            except ConnectionResetError:
                return b""

    async def send(self, data: bytes) -> None:
        """BrokenPipeError when nobody reads any more."""
        await write_whole(self._writable, data)

    def close(self) -> None:
        for descriptor in {self._readable, self._writable} - {-1}:
            os.close(descriptor)
        self._readable = self._writable = -1


class ByteStream(Protocol):
    """What `Duplex` is, or something around one."""

    async def receive(self) -> bytes: ...
    async def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...


@asynccontextmanager
async def carried(protocol: asyncio.Protocol, duplex: ByteStream) -> AsyncIterator[asyncio.Task[None]]:
    """A protocol on these descriptors, connected. The task ends when the connection has; leaving the context waits for
    that, and closes the descriptors. Whoever leaves has asked the protocol to close, or the other end goes by itself;
    when cancelled, it is cut off."""
    running = asyncio.create_task(Tunnel(protocol, duplex.receive, duplex.send).run())
    try:
        await asyncio.sleep(0)  # its first step connects: nothing may be said before
        yield running
        await asyncio.wait((running,))
    finally:
        running.cancel()
        await asyncio.wait((running,))
        duplex.close()
