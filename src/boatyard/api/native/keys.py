"""The credentials of a request's client, asked for on the socket that it gave; see `client.credentials`."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import msgspec

from boatyard.client.credentials import LONGEST_LINE, Answer, Question
from boatyard.errors import DeniedError, InvalidError, UnavailableError
from boatyard.registry.credential import Credential


class ClientKeys:
    """`build.source.image.Keys` over a socket. Takes a copy of the descriptor. `descriptor` None: the client has no
    credentials."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor: int | None = None
        if descriptor is not None:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise InvalidError("what was given for credentials is not a socket")
            self._descriptor = os.dup(descriptor)
        self._turn = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._known: dict[str, Credential | None] = {}

    async def registry_credentials(self, host: str) -> Credential | None:
        async with self._turn:
            if host not in self._known:
                self._known[host] = await self._ask(host)
            return self._known[host]

    async def _ask(self, host: str) -> Credential | None:
        if self._descriptor is not None and self._writer is None:
            descriptor, self._descriptor = self._descriptor, None
            self._reader, self._writer = await asyncio.open_connection(
                sock=socket.socket(fileno=descriptor), limit=LONGEST_LINE
            )
        if self._reader is None or self._writer is None:
            return None
        try:
            self._writer.write(msgspec.json.encode(Question(host)) + b"\n")
            await self._writer.drain()
            line = await self._reader.readuntil(b"\n")
            answer = msgspec.json.decode(line, type=Answer)
        except (OSError, EOFError, asyncio.LimitOverrunError, msgspec.MsgspecError) as error:
            raise UnavailableError(f"the client doesn't answer for its credentials of {host}") from error
        if answer.error:
            raise DeniedError(f"the client's credentials of {host} can't be had: {answer.error}")
        found = Credential(answer.username, answer.password, answer.identity_token, answer.registry_token)
        return found if found != Credential() else None

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
