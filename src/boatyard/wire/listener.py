"""A listening socket that speaks HTTP/1.1 and HTTP/2, told apart by a connection's first bytes.

An HTTP/2 client starts with a fixed preface (RFC 9113, 3.4) that no HTTP/1.1 request can start with.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from boatyard.wire.asgi import Application
from boatyard.wire.http1 import Http1Connection
from boatyard.wire.http2.frames import PREFACE
from boatyard.wire.limits import Limits

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""Seconds: two minutes until nobody is waited for any more."""


class Connection(Protocol):
    """What the server must know of a connection it handed to a protocol."""

    @property
    def busy(self) -> bool: ...
    def close_when_idle(self) -> None: ...
    def abort(self) -> None: ...


class Http2(Protocol):
    """Makes the protocol for a connection that begins with HTTP/2's preface, which it is given first. It is a
    `Connection`, too, and calls `on_lost` at its end."""

    def __call__(self, on_lost: Callable[[Any], None]) -> Any: ...


class Server:
    """Serves one application on any number of listening sockets. Made and stopped on the event loop."""

    def __init__(
        self,
        application: Application,
        *,
        limits: Limits | None = None,
        http2: Http2 | None = None,
    ) -> None:
        """Without `http2`, such a client is answered as one that sends no valid HTTP/1.1."""
        self.application = application
        self.limits = limits or Limits()
        self.http2 = http2
        self.connections: set[Connection] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._emptied: asyncio.Event = asyncio.Event()
        self.stopping = False

    async def listen(self, sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Take over a socket that is bound. Returns when connections are accepted."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"sock": sock, "backlog": 512, "ssl": tls}
        if tls is not None:
            options |= {"ssl_handshake_timeout": self.limits.header_timeout, "ssl_shutdown_timeout": self.limits.linger}
        make = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        self._listeners.append(await make(lambda: Doorway(self), **options))

    async def stop(self, grace: float) -> None:
        """Accept no more, let what runs be answered for `grace` seconds, then cut it off."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(grace):
                await self._until_empty()
        except TimeoutError:
            log.warning("cutting off %d connections that did not end in %g seconds", len(self.connections), grace)
            for connection in list(self.connections):
                connection.abort()
            await self._until_empty()

    async def _until_empty(self) -> None:
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()


class Doorway(asyncio.Protocol):
    """A connection until its first bytes say which protocol it speaks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = b""
        self._transport = cast(asyncio.Transport, None)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _notice_silent_deaths(transport.get_extra_info("socket"))
        if len(self._server.connections) >= self._server.limits.connections:
            self._transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                b"content-length: 21\r\n\r\ntoo many connections\n"
            )
            self._transport.close()
            return
        self._server.opened(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._server.limits.idle_timeout, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._seen += data
        if PREFACE.startswith(self._seen) and len(self._seen) < len(PREFACE):
            return
        self._stop_timer()
        server = self._server
        if server.http2 is not None and self._seen.startswith(PREFACE):
            protocol = server.http2(server.closed)
        else:
            protocol = Http1Connection(server.application, server.limits, server.closed)
        self._server.opened(protocol)
        self._server.closed(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._seen)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._server.closed(self)

    @property
    def busy(self) -> bool:
        return False

    def close_when_idle(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _notice_silent_deaths(sock: socket.socket) -> None:
    """Of a machine at the other end, by the kernel: a stopped process there still counts as alive."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        for level, name, value in _KEEPALIVE:
            sock.setsockopt(level, name, value)
