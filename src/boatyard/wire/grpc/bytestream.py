"""Bytes both ways in a call whose messages have nothing but `data`: what a tunnel needs of it."""

from __future__ import annotations

from typing import Any, Protocol

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.exceptions import GRPCError


class Call(Protocol):
    """Either end of a call that streams both ways."""

    async def recv_encoded(self) -> list[bytes]: ...
    async def send_message(self, message: Any) -> None: ...


class ByteStream:
    """Lives within its call. One task receives, one sends."""

    def __init__(self, call: Call, message: type[Any]) -> None:
        """`message` is a BytesMessage of one service or another."""
        self._call = call
        self._message = message

    async def receive(self) -> bytes:
        """All bytes that are there, at least one; none at the end. GRPCError when the call failed."""
        while messages := await self._call.recv_encoded():
            try:
                # Go's clients put every few kilobytes into a message of their own.
                data = b"".join([self._message.FromString(message).data for message in messages])
            except DecodeError as error:
                raise GRPCError(Status.INTERNAL, f"a message is no {self._message.__name__}: {error}") from error
            if data:
                return data
        return b""

    async def send(self, data: bytes) -> None:
        """GRPCError when the call is over."""
        await self._call.send_message(self._message(data=data))
