"""Bytes both ways in a call whose messages have nothing but `data`: what a tunnel needs of it."""

from __future__ import annotations

from typing import Any, Protocol


class Call(Protocol):
    """Either end of a call that streams both ways."""

    async def recv_message(self) -> Any: ...
    async def send_message(self, message: Any) -> None: ...


class ByteStream:
    """Lives within its call. One task receives, one sends."""

    def __init__(self, call: Call, message: type[Any]) -> None:
        """`message` is a BytesMessage of one service or another."""
        self._call = call
        self._message = message

    async def receive(self) -> bytes:
        """The next bytes; none at the end. GRPCError when the call failed."""
        while (message := await self._call.recv_message()) is not None:
            if message.data:
                return bytes(message.data)
        return b""

    async def send(self, data: bytes) -> None:
        """GRPCError when the call is over."""
        await self._call.send_message(self._message(data=data))
