"""SSH agents of this client. The daemon may have keys listed and things signed, nothing else: it can't add, remove or
lock keys.

Specification: moby/buildkit, `session/sshforward`; OpenSSH, PROTOCOL.agent (draft-miller-ssh-agent).
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from boatyard._pb.sshforward_grpc import SSHBase
from boatyard._pb.sshforward_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse
from boatyard.session.metadata import one
from boatyard.session.sshforward import DEFAULT, ID, carry

log = logging.getLogger(__name__)

_LIST, _SIGN = 11, 13
_ALLOWED = (_LIST, _SIGN)
_FAILURE = struct.pack(">LB", 1, 5)
_LENGTH = struct.Struct(">L")
_LONGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class Agent:
    """The path of an agent's socket; `raw`: of another kind of socket, that bytes are carried to as they are."""

    path: str
    raw: bool = False


class SSH(SSHBase):
    def __init__(self, agents: Mapping[str, Agent]) -> None:
        """By id."""
        self._agents = agents

    async def CheckAgent(self, stream: Stream[CheckAgentRequest, CheckAgentResponse]) -> None:  # noqa: N802
        request = await stream.recv_message()
        self._agent(request.ID if request is not None else "")
        await stream.send_message(CheckAgentResponse())

    async def ForwardAgent(self, stream: Stream[BytesMessage, BytesMessage]) -> None:  # noqa: N802
        agent = self._agent(one(stream, ID))
        try:
            reader, writer = await asyncio.open_unix_connection(agent.path)
        except OSError as error:
            raise GRPCError(Status.UNAVAILABLE, f"failed to connect to {agent.path}: {error.strerror}") from error
        await stream.send_initial_metadata()
        try:
            if agent.raw:
                await carry(stream, reader, writer)
            else:
                await _serve(stream, reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise GRPCError(Status.UNAVAILABLE, f"the agent at {agent.path} broke off: {error}") from error
        finally:
            writer.transport.abort()

    def _agent(self, id: str) -> Agent:
        agent = self._agents.get(id or DEFAULT)
        if agent is None:
            raise GRPCError(Status.NOT_FOUND, f"unset ssh forward key {id}")
        return agent


async def _serve(stream: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Request by request; an agent answers each before it looks at the next."""
    async for request in _requests(stream):
        if request[_LENGTH.size] not in _ALLOWED:
            log.debug("a request (%d) to the SSH agent is refused", request[_LENGTH.size])
            await stream.send_message(BytesMessage(data=_FAILURE))
            continue
        writer.write(request)
        await writer.drain()
        length = await reader.readexactly(_LENGTH.size)
        size = _LENGTH.unpack(length)[0]
        if size > _LONGEST:
            raise GRPCError(Status.INTERNAL, "the SSH agent's answer is too long")
        await stream.send_message(BytesMessage(data=length + await reader.readexactly(size)))


async def _requests(stream: Any) -> AsyncIterator[bytes]:
    """Whole ones, each with its length."""
    buffer = bytearray()
    while (message := await stream.recv_message()) is not None:
        buffer += message.data
        while len(buffer) > _LENGTH.size:
            size = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if not _LENGTH.size < size <= _LENGTH.size + _LONGEST:
                raise GRPCError(Status.INVALID_ARGUMENT, "this is no request to an SSH agent")
            if len(buffer) < size:
                break
            request = bytes(buffer[:size])
            del buffer[:size]
            yield request
