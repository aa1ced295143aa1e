"""Streaming calls whose messages stay bytes here: files travel in them, and protobuf objects would only be copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpclib.client import Channel, StreamStreamMethod


class Raw(bytes):
    """A message, encoded."""

    @classmethod
    def FromString(cls, data: bytes) -> Raw:  # noqa: N802
        return cls(data)

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self


def method(channel: Channel, path: str) -> StreamStreamMethod[Raw, Raw]:
    return StreamStreamMethod(channel, path, Raw, Raw)


class CallLine:
    """Satisfies `fsutil.transfer.Line` with a call, from either end."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def receive(self) -> Sequence[bytes]:
        message = await self._call.recv_message()
        return [] if message is None else [message]

    async def send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await self._call.send_message(Raw(message))
