"""Makes gRPC calls on one connection that somebody hands over: the face of grpclib's channel, for generated stubs."""

from __future__ import annotations

import asyncio
from typing import Any

from grpclib.client import Channel as GrpclibChannel
from grpclib.const import Cardinality
from grpclib.metadata import Deadline
from multidict import MultiDict

from boatyard.wire.grpc.clientcall import ClientCall
from boatyard.wire.grpc.limits import Budget, GrpcLimits
from boatyard.wire.grpc.messages import MessageStream
from boatyard.wire.grpc.metadata import MetadataLike
from boatyard.wire.http2.connection import Connection


class Channel(GrpclibChannel):
    """Owned by whoever made it, who closes it. `protocol` is for the connection's transport:

    channel = Channel()
    stream.adopt(channel.protocol)  # a hijacked connection
    await loop.create_unix_connection(lambda: channel.protocol, path)
    """

    # Not the constructor of grpclib's channel, which connects by itself.
    def __init__(self, *, authority: str = "localhost", secure: bool = False, limits: GrpcLimits | None = None) -> None:
        self._limits = limits or GrpcLimits()
        self._budget = Budget(self._limits.large_bytes)
        self._scheme = "https" if secure else "http"
        self._authority = authority
        self._gone = asyncio.Event()
        self.protocol = Connection(
            client=True, limits=self._limits.http2, make_stream=self._stream, on_lost=lambda _: self._gone.set()
        )

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: MetadataLike | None = None,
    ) -> ClientCall:
        if timeout is not None:
            limit = Deadline.from_timeout(timeout)
            deadline = limit if deadline is None else min(limit, deadline)
        return ClientCall(self, name, MultiDict(metadata or ()), cardinality, request_type, reply_type, deadline)

    def close(self) -> None:
        """Calls that are under way fail."""
        self.protocol.close()

    async def wait_closed(self) -> None:
        """Until the connection is gone, whoever closed it."""
        await self._gone.wait()

    @property
    def closed(self) -> bool:
        """No call can be made any more."""
        return self.protocol.ended is not None

    def __repr__(self) -> str:
        return f"Channel({self._authority!r})"

    def __del__(self) -> None:
        """Not grpclib's: the transport warns by itself."""

    # What its calls use

    @property
    def origin(self) -> tuple[str, str]:
        return self._scheme, self._authority

    def stream(self, number: int) -> MessageStream:
        return MessageStream(self.protocol, number, message_bytes=self._limits.message_bytes, budget=self._budget)

    def _stream(self, connection: Connection, number: int) -> MessageStream:
        raise AssertionError("a server begins no streams")
