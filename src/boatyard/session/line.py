"""Streaming calls whose messages stay bytes here: files travel in them, and protobuf objects would only be copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from grpclib.client import Channel, StreamStreamMethod

from boatyard.wire.grpc.call import ServerCall
from boatyard.wire.grpc.clientcall import ClientCall


class Raw(bytes):
    """A message, encoded."""

    @classmethod
    def FromString(cls, data: bytes) -> Raw:  # noqa: N802
        return cls(data)

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self


def open_call(channel: Channel, path: str, metadata: Sequence[tuple[str, str]]) -> ClientCall:
    """Of a method that streams both ways. To be entered."""
    return cast(ClientCall, StreamStreamMethod(channel, path, Raw, Raw).open(metadata=metadata))


class CallLine:
    """Satisfies `fsutil.transfer.Line` with a call, from either end."""

    def __init__(self, call: ClientCall | ServerCall) -> None:
        self._call = call

    async def receive(self) -> Sequence[bytes]:
        messages = await self._call.recv_encoded()
        if not messages and isinstance(self._call, ClientCall):
            await self._call.recv_trailing_metadata()  # raises what the other end failed with
        return messages

    async def send(self, messages: Sequence[bytes]) -> None:
        await self._call.send_encoded(messages)
