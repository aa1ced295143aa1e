"""One call, seen from its server: what a service's method is given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, cast

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError
from grpclib.metadata import Deadline
from grpclib.protocol import Peer as GrpclibPeer
from grpclib.server import Stream

from boatyard.wire.grpc.messages import MessageStream
from boatyard.wire.grpc.metadata import CONTENT_TYPE, Metadata, MetadataLike, broken_off, write_metadata, write_status
from boatyard.wire.http2.frames import ErrorCode
from boatyard.wire.http2.headers import Headers
from boatyard.wire.http2.stream import Carrier, StreamClosedError
from boatyard.wire.peer import Peer, peer_of

log = logging.getLogger(__name__)

RESPONSE: Headers = [(":status", "200"), ("content-type", CONTENT_TYPE)]


class Caller(GrpclibPeer):
    """Who is at the other end of a call."""

    def __init__(self, connection: Carrier) -> None:
        super().__init__(connection.transport)

    @property
    def credentials(self) -> Peer | None:
        """The process, where it came over a unix socket of this machine; of a tunnel, whoever made that."""
        known = self._transport.get_extra_info("peer")
        return known if isinstance(known, Peer) else peer_of(self._transport.get_extra_info("socket"))


def caller(call: Stream[Any, Any]) -> Caller:
    """Of a call of this server."""
    return cast(Caller, call.peer)


class ServerCall(Stream[Any, Any]):
    """grpclib's server stream over a MessageStream. Owned by the server, which ends it when the method returns."""

    # Not the constructor of Stream: it reaches into grpclib's own connections.
    def __init__(
        self, stream: MessageStream, name: str, method: Handler, metadata: Metadata, deadline: Deadline | None
    ) -> None:
        fields = dict(stream.headers or ())
        self._messages = stream
        self._method_name = name
        self._cardinality: Cardinality = method.cardinality
        self._recv_type = method.request_type
        self._send_type = method.reply_type
        self.deadline = deadline
        self.metadata = cast(Any, metadata)
        self.user_agent = fields.get("user-agent")
        self.peer = Caller(stream.connection)

    async def recv_message(self) -> Any:
        try:
            data = await self._messages.receive()
        except StreamClosedError as error:
            raise broken_off(error) from error
        if data is None:
            return None
        try:
            return self._recv_type.FromString(data)
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"a message is no {self._recv_type.__name__}: {error}") from error

    async def recv_encoded(self) -> list[bytes]:
        """All messages that are there, as they are on the wire; waits for the first. Empty after the last."""
        try:
            return await self._messages.receive_some()
        except StreamClosedError as error:
            raise broken_off(error) from error

    async def send_encoded(self, messages: Iterable[bytes]) -> None:
        """Several messages of a streaming method, encoded already, after the initial metadata."""
        if not self._send_initial_metadata_done:
            await self.send_initial_metadata()
        try:
            await self._messages.send_some(messages)
        except StreamClosedError as error:
            raise broken_off(error) from error
        self._send_message_done = True

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        if self._send_initial_metadata_done:
            raise ProtocolError("Initial metadata was already sent")
        self._send_headers(RESPONSE + write_metadata(metadata))
        self._send_initial_metadata_done = True

    async def send_message(self, message: Any) -> None:
        if not isinstance(message, self._send_type):
            raise TypeError(f"{self._method_name} answers with {self._send_type!r}, not {type(message)!r}")
        if not self._send_initial_metadata_done:
            self._send_headers(RESPONSE)
            self._send_initial_metadata_done = True
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("Message was already sent")
        try:
            await self._messages.send(message.SerializeToString())
        except StreamClosedError as error:
            raise broken_off(error) from error
        self._send_message_done = True

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: Sequence[Any] | None = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        if self._send_trailing_metadata_done:
            raise ProtocolError("Trailing metadata was already sent")
        if status is Status.OK and not self.answered:
            raise ProtocolError("Unary response with OK status requires a single message to be sent")
        self._end(write_status(status, status_message or "", status_details) + write_metadata(metadata))

    def end(self, error: GRPCError | None) -> None:
        """By the server, when the method has returned. A client that doesn't wait for it is none of anybody's
        business."""
        try:
            if error is None:
                self._end(write_status(Status.OK, "", None))
            else:
                self._end(write_status(error.status, error.message or "", error.details))
        except GRPCError as problem:
            log.debug("the client of %s didn't wait for its end: %s", self._method_name, problem.message)

    def _end(self, trailers: Headers) -> None:
        beginning = [] if self._send_initial_metadata_done else RESPONSE
        if not self._messages.connection.out.fits(beginning + trailers):
            # A client that takes no long headers is still told the status.
            trailers = [(name, value[:1000]) for name, value in trailers if name in ("grpc-status", "grpc-message")]
        self._send_headers(beginning + trailers, end=True)
        self._send_trailing_metadata_done = True
        # Whatever the client still sends, nobody reads.
        self._messages.reset(ErrorCode.NO_ERROR, "the call has ended")

    async def cancel(self) -> None:
        if self._cancel_done:
            raise ProtocolError("Stream was already cancelled")
        self._messages.reset(ErrorCode.CANCEL)
        self._cancel_done = True

    @property
    def answered(self) -> bool:
        """As far as it has to be: one message, where the method answers with one."""
        return self._send_message_done or self._cardinality.server_streaming

    @property
    def over(self) -> bool:
        """Nothing can be answered any more."""
        return self._send_trailing_metadata_done or self._cancel_done or self._messages.closed is not None

    async def __aenter__(self) -> ServerCall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._messages.release()
        return None

    def _send_headers(self, headers: Headers, *, end: bool = False) -> None:
        try:
            self._messages.send_headers(headers, end=end)
        except StreamClosedError as error:
            raise broken_off(error) from error
