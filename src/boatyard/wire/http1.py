"""One HTTP/1.1 connection of the server: requests in, one after the other, each an ASGI call.

h11 knows the grammar; this knows the socket: back-pressure both ways, time limits, pipelined requests, a client that
goes. A client that closes its sending side counts as gone, since a socket can't tell the two apart; after a hijack it
is only the end of its bytes. Specifications: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

import h11

from boatyard.wire.asgi import Application, ClientGoneError
from boatyard.wire.bulk import BulkBody
from boatyard.wire.exchange import Exchange
from boatyard.wire.limits import Limits
from boatyard.wire.peer import Peer, peer_of

log = logging.getLogger(__name__)


class Http1Connection(asyncio.Protocol):
    """Made by the listener for each connection; lives until it is closed or hijacked."""

    def __init__(self, application: Application, limits: Limits, on_closed: Callable[[Http1Connection], None]) -> None:
        self._application = application
        self._limits = limits
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.peer: Peer | None = None
        self.exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading_paused = False
        self._unparsed = 0
        self._header_begun = False
        self._held = False
        self._bulk: BulkBody | None = None
        self._lingering = False
        self._closing = False
        self._lost = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer = peer_of(transport.get_extra_info("socket"))
        self._arm(self._limits.idle_timeout, self._timed_out_idle)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self.exchange is None and not self._header_begun:
            self._header_begun = True
            self._arm(self._limits.header_timeout, self._timed_out_in_header)
        self._unparsed += len(data)
        self.h11.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.pause_writing()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._disarm()
        if self.exchange is not None:
            self.exchange.disconnect()
        self._on_closed(self)

    # What the server calls

    @property
    def busy(self) -> bool:
        return self.exchange is not None

    def close_when_idle(self) -> None:
        """Answer what is being answered, and no more after it."""
        self._closing = True
        if self.exchange is None and not self._lost:
            self.transport.close()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if not self._lost:
            self.transport.abort()

    # What the exchange calls

    def want_body(self) -> None:
        """The application waits for more of the body."""
        self._let_body_come()
        if self.exchange is None or self.exchange.has_news:
            return
        if self.h11.they_are_waiting_for_100_continue:
            self.write(self.h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        self.resume_reading()
        self._arm(self._limits.body_timeout, self._timed_out_in_body)

    def resume_reading(self) -> None:
        if self._reading_paused and not self._lost:
            self._reading_paused = False
            self.transport.resume_reading()

    def write(self, data: bytes | None) -> None:
        if data and not self._lost:
            self.transport.write(data)

    def release(self) -> tuple[asyncio.Transport, bytes]:
        """For a hijack: the transport and the bytes behind the request. This object forgets the connection, but for
        its end."""
        self._disarm()
        return self.transport, self.h11.trailing_data[0]

    def take_body(self, length: int | None, pieces: int, *, last: bool) -> BulkBody | None:
        """The request's body past h11, which knows of it nothing yet; `length` None: in chunks; `last`: no request is
        to follow. None when h11 has begun with the body."""
        if not self._held:
            return None
        self._held = False
        if self.h11.they_are_waiting_for_100_continue:
            self.write(self.h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        begun = self.h11.trailing_data[0]
        # An h11 that has seen a request without a body is where this one would be after the body.
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
        close = b"connection: close\r\n" if last else b""
        self.h11.receive_data(b"POST / HTTP/1.1\r\nhost: -\r\ncontent-length: 0\r\n%s\r\n" % close)
        while self.h11.their_state is not (h11.MUST_CLOSE if last else h11.DONE):
            self.h11.next_event()
        body = self._bulk = BulkBody(self, length, pieces, self._limits.body_timeout)
        self.transport.set_protocol(body)
        self.resume_reading()
        body.begin(begun)
        return body

    def body_taken(self, rest: bytes) -> None:
        """A body that was taken is complete; `rest`: bytes behind it."""
        self._bulk = None
        self.transport.set_protocol(self)
        self._unparsed = len(rest)
        if rest:
            self.h11.receive_data(rest)

    def body_refused(self, status: int, reason: str) -> None:
        """A body that was taken is no good, or doesn't come."""
        self._bulk = None
        self.transport.set_protocol(self)
        self._refuse(status, reason)

    def released_connection_lost(self) -> None:
        self._lost = True
        self._on_closed(self)

    # Reading

    def _advance(self) -> None:
        while not self._lingering:
            if self._held:
                if self._unparsed > self._limits.body_buffer:
                    self._pause_reading()
                return
            try:
                event = self.h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            if event is h11.NEED_DATA:
                self._unparsed = 0
                return
            if event is h11.PAUSED:
                if self._unparsed > self._limits.body_buffer:
                    self._pause_reading()
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data) and self.exchange is not None:
                self._disarm()
                if self.exchange.feed(bytes(event.data)) > self._limits.body_buffer:
                    self._pause_reading()
            elif isinstance(event, h11.EndOfMessage) and self.exchange is not None:
                self._disarm()
                self._unparsed = 0
                self.exchange.feed_end()
            elif isinstance(event, h11.ConnectionClosed):
                return

    def _begin(self, request: h11.Request) -> None:
        self._disarm()
        self._header_begun = False
        # The application may want the body in bulk: it stays as it is until it says so.
        self._held = self.h11.their_state is h11.SEND_BODY and _has_body(request)
        self.exchange = Exchange(self, request)
        self._task = self._loop.create_task(self._run(self.exchange))

    def _let_body_come(self) -> None:
        if self._held:
            self._held = False
            self.resume_reading()
            self._advance()

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._application(exchange.scope, exchange.receive, exchange.send)
        except (ClientGoneError, asyncio.CancelledError):
            if not self._lost and not self._lingering:
                self.transport.abort()
        except Exception:
            # The boundary of the application: whatever it raises, this connection and the server go on.
            log.exception("the application failed at %s %s", exchange.scope["method"], exchange.scope["path"])
            if exchange.hijacked:
                self.transport.abort()
            else:
                exchange.fail()
        if not exchange.hijacked:
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        self._let_body_come()
        self.exchange = self._task = None
        if self._lost or self._lingering or self.transport.is_closing():
            return
        if not exchange.finished:
            log.error(
                "the application did not finish its answer to %s %s", exchange.scope["method"], exchange.scope["path"]
            )
            exchange.fail()
            if not exchange.finished:
                self.transport.abort()
                return
        if self._bulk is not None:
            # It was answered before its body had come.
            self._bulk.give_back()
            self._bulk = None
            self.transport.set_protocol(self)
            self._linger()
        elif self.h11.their_state is h11.SEND_BODY:
            self._linger()
        elif self.h11.our_state is h11.DONE and self.h11.their_state is h11.DONE and not self._closing:
            self.h11.start_next_cycle()
            self._arm(self._limits.idle_timeout, self._timed_out_idle)
            if self.h11.trailing_data[0]:
                self._header_begun = True
                self._arm(self._limits.header_timeout, self._timed_out_in_header)
            self.resume_reading()
            self._advance()
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        """The bytes are no HTTP, or too many."""
        if self.exchange is not None:
            # In the middle of a body. The application learns that its client has gone.
            self.exchange.disconnect()
            if self.exchange.started:
                self.transport.abort()
                return
        if self.h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{reason}\n".encode()
            headers = [
                ("content-type", "text/plain; charset=utf-8"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            try:
                data = self.h11.send(h11.Response(status_code=status, headers=headers)) or b""
                data += self.h11.send(h11.Data(data=body)) or b""
                self.write(data + (self.h11.send(h11.EndOfMessage()) or b""))
            except h11.LocalProtocolError:
                self.transport.abort()
                return
        self._linger()

    def _linger(self) -> None:
        """Close so that the answer arrives: a socket that is closed with unread bytes resets the connection."""
        self._lingering = True
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._arm(self._limits.linger, self.transport.abort)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._lost:
            self._reading_paused = True
            self.transport.pause_reading()

    # Time

    def _arm(self, seconds: float, then: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out_idle(self) -> None:
        self.transport.close()

    def _timed_out_in_header(self) -> None:
        self._refuse(408, "the request's header did not arrive in time")

    def _timed_out_in_body(self) -> None:
        self._refuse(408, "the request's body stopped arriving")


def _has_body(request: h11.Request) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in request.headers
    )
