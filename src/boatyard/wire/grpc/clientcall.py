"""One call, seen from its client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol, cast

from grpclib.client import Stream
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, ProtocolError
from grpclib.metadata import Deadline

from boatyard import __version__
from boatyard.wire.grpc.messages import MessageStream
from boatyard.wire.grpc.metadata import (
    CONTENT_TYPE,
    Metadata,
    broken_off,
    http_problem,
    read_metadata,
    read_status,
    write_metadata,
    write_timeout,
)
from boatyard.wire.http2.connection import Connection
from boatyard.wire.http2.frames import ErrorCode
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.stream import StreamClosedError

_USER_AGENT = f"boatyard/{__version__}"


class Opener(Protocol):
    """What a call needs of its channel."""

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme and authority."""

    @property
    def protocol(self) -> Connection: ...
    def stream(self, number: int) -> MessageStream: ...


class ClientCall(Stream[Any, Any]):
    """grpclib's client stream over a MessageStream; lives within `async with`. Errors are GRPCError, whatever broke."""

    # Not the constructor of Stream: it is made for grpclib's own channel.
    def __init__(
        self,
        channel: Opener,
        name: str,
        metadata: Metadata,
        cardinality: Cardinality,
        send_type: type[Any],
        recv_type: type[Any],
        deadline: Deadline | None,
    ) -> None:
        self._opener = channel
        self._method_name = name
        self._to_send = metadata
        self._cardinality = cardinality
        self._send_type = send_type
        self._recv_type = recv_type
        self._deadline = deadline
        self._messages: MessageStream = cast(MessageStream, None)
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    async def send_request(self, *, end: bool = False) -> None:
        if self._send_request_done:
            raise ProtocolError("Request is already sent")
        if end and not self._cardinality.client_streaming:
            raise ProtocolError("Unary request requires a message to be sent before ending outgoing stream")
        scheme, authority = self._opener.origin
        headers: Headers = [
            (":method", "POST"),
            (":scheme", scheme),
            (":path", self._method_name),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", CONTENT_TYPE),
            ("user-agent", _USER_AGENT),
        ]
        if self._deadline is not None:
            headers.append(("grpc-timeout", write_timeout(self._deadline.time_remaining())))
        headers += write_metadata(self._to_send)
        protocol = self._opener.protocol
        try:
            async with asyncio.timeout(self._deadline.time_remaining() if self._deadline else None):
                stream = await protocol.open_stream(lambda _, number: self._opener.stream(number), headers, end=end)
        except TimeoutError as error:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the call's time is over") from error
        except StreamClosedError as error:
            raise broken_off(error) from error
        self._messages = cast(MessageStream, stream)
        self._send_request_done = True
        self._end_done = end
        if self._deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._deadline.time_remaining(), self._expire)

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        """GRPCError with the call's status when the other end has finished it already."""
        if not isinstance(message, self._send_type):
            raise TypeError(f"{self._method_name} takes {self._send_type!r}, not {type(message)!r}")
        if not self._send_request_done:
            await self.send_request()
        if self._end_done:
            raise ProtocolError("Stream is ended")
        end = end or not self._cardinality.client_streaming
        if self._messages.closed is not None or self._messages.trailers is not None:
            raise self._error(self._messages.closed)
        try:
            await self._messages.send(message.SerializeToString(), end=end)
        except StreamClosedError as error:
            raise self._error(error) from error
        self._send_message_done = True
        self._end_done = end

    async def end(self) -> None:
        """Nothing happens when the call is over."""
        if not self._send_request_done:
            raise ProtocolError("Request was not sent")
        if not self._cardinality.client_streaming:
            return
        if self._end_done:
            raise ProtocolError("Stream was already ended")
        self._end_done = True
        if self._messages.closed is None:
            try:
                await self._messages.send_data(b"", b"", end=True)
            except StreamClosedError as error:
                raise self._error(error) from error

    async def recv_initial_metadata(self) -> None:
        if not self._send_request_done:
            raise ProtocolError("Request was not sent yet")
        if self._recv_initial_metadata_done:
            raise ProtocolError("Initial metadata was already received")
        stream = self._messages
        while stream.headers is None:
            if stream.closed is not None:
                raise self._error(stream.closed)
            await stream.change()
        self._recv_initial_metadata_done = True
        problem = http_problem(stream.headers)
        if problem is not None:
            raise problem
        try:
            metadata = read_metadata(stream.headers)
        except ValueError as error:
            raise GRPCError(Status.INTERNAL, str(error)) from error
        if stream.trailers is stream.headers:
            self._trailers_only = True
            self.initial_metadata = cast(Any, type(metadata)())
            self.trailing_metadata = cast(Any, metadata)
            self._raise(read_status(stream.headers))
        else:
            self.initial_metadata = cast(Any, metadata)

    async def recv_message(self) -> Any:
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        try:
            data = await self._messages.receive()
        except StreamClosedError as error:
            raise self._error(error) from error
        if data is None:
            return None
        try:
            return self._recv_type.FromString(data)
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"a message is no {self._recv_type.__name__}: {error}") from error

    async def recv_encoded(self) -> list[bytes]:
        """All messages that are there, as they are on the wire; waits for the first. Empty after the last."""
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        try:
            return await self._messages.receive_some()
        except StreamClosedError as error:
            raise self._error(error) from error

    async def send_encoded(self, messages: Iterable[bytes]) -> None:
        """Several messages of a streaming method, encoded already. Errors as for `send_message`."""
        if self._end_done:
            raise ProtocolError("Stream is ended")
        if self._messages.closed is not None or self._messages.trailers is not None:
            raise self._error(self._messages.closed)
        try:
            await self._messages.send_some(messages)
        except StreamClosedError as error:
            raise self._error(error) from error
        self._send_message_done = True

    async def recv_trailing_metadata(self) -> None:
        if self._recv_trailing_metadata_done:
            raise ProtocolError("Trailing metadata was already received")
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        stream = self._messages
        while stream.trailers is None:
            if stream.closed is not None or stream.remote_closed:
                raise self._error(stream.closed)
            # Messages that nobody reads must not hold up the trailers behind them.
            stream.release()
            await stream.change()
        self._recv_trailing_metadata_done = True
        if not self._trailers_only:
            try:
                self.trailing_metadata = cast(Any, read_metadata(stream.trailers))
            except ValueError as error:
                raise GRPCError(Status.INTERNAL, str(error)) from error
        self._raise(read_status(stream.trailers))

    async def cancel(self) -> None:
        if not self._send_request_done:
            raise ProtocolError("Request was not sent yet")
        if self._cancel_done:
            raise ProtocolError("Stream was already cancelled")
        self._messages.reset(ErrorCode.CANCEL)
        self._cancel_done = True

    async def __aenter__(self) -> ClientCall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The call's status, where it is over and failed; otherwise it is given up."""
        if not self._send_request_done:
            return
        try:
            if error is None and not self._cancel_done and not self._recv_trailing_metadata_done:
                if not self._end_done:
                    await self.end()
                await self.recv_trailing_metadata()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._messages.reset(ErrorCode.CANCEL)
            self._messages.release()

    def _expire(self) -> None:
        self._expired = True
        self._messages.reset(ErrorCode.CANCEL, "the call's time is over")

    def _raise(self, error: GRPCError | None) -> None:
        if error is not None:
            raise error

    def _error(self, closed: StreamClosedError | None) -> GRPCError:
        """Why nothing goes any more."""
        if self._expired:
            return GRPCError(Status.DEADLINE_EXCEEDED, "the call's time is over")
        if self._messages.trailers is not None:
            told = read_status(self._messages.trailers)
            return told or GRPCError(Status.CANCELLED, "the other end has finished the call")
        if closed is not None:
            return broken_off(closed)
        return GRPCError(Status.INTERNAL, "the other end ended the call without a status")
