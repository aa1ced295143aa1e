"""The client's SSH agents: a unix socket of ours, of which each connection is one to an agent at the client's.

Specification: moby/buildkit, `session/sshforward`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from boatyard._pb.sshforward_grpc import SSHStub
from boatyard._pb.sshforward_pb2 import BytesMessage, CheckAgentRequest
from boatyard.session.failure import told
from boatyard.session.session import Session

log = logging.getLogger(__name__)

CHECK, FORWARD = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"
ID = "buildkit.ssh.id"
DEFAULT = "default"
MOST_CONNECTIONS = 64
"""To one agent at once."""
_PIECE = 32768
_UNREACHABLE = (Status.UNAVAILABLE, Status.CANCELLED, Status.DEADLINE_EXCEEDED)


async def has_agent(session: Session, id: str) -> bool:
    if not session.supports(FORWARD):
        return False
    with told(f"the client can't say whether it has the SSH agent {id!r}"):
        try:
            await SSHStub(session.channel).CheckAgent(CheckAgentRequest(ID=id or DEFAULT))
        except GRPCError as error:
            if error.status in _UNREACHABLE:
                raise
            return False  # clients say so in different ways
    return True


@asynccontextmanager
async def agent_socket(session: Session, id: str, directory: Path) -> AsyncIterator[str]:
    """The path of a socket that only this user can connect to, below `directory`. It is gone when the context is left,
    and its connections with it."""
    place = tempfile.mkdtemp(prefix="ssh-", dir=directory)
    path = os.path.join(place, "agent.sock")
    forward = _Forward(session, id or DEFAULT)
    try:
        server = await asyncio.start_unix_server(forward.connected, path)
        try:
            yield path
        finally:
            server.close()
            await forward.end()
            await server.wait_closed()
    finally:
        for remove, what in ((os.unlink, path), (os.rmdir, place)):
            try:
                remove(what)
            except FileNotFoundError:
                pass  # asyncio of later versions unlinks the socket itself


class _Forward:
    def __init__(self, session: Session, id: str) -> None:
        self._session = session
        self._id = id
        self._connections: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def end(self) -> None:
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with SSHStub(self._session.channel).ForwardAgent.open(metadata={ID: self._id}) as call:
                await call.send_request()
                await carry(call, reader, writer)
        except (GRPCError, StreamTerminatedError, OSError) as error:
            log.debug("a connection to the client's SSH agent %r broke off: %s", self._id, error)
        finally:
            writer.transport.abort()


async def carry(call: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Between a call, of either end, and a connection, until both have ended, or one has failed."""

    async def outward() -> None:
        while data := await reader.read(_PIECE):
            await call.send_message(BytesMessage(data=data))
        if hasattr(call, "end"):
            await call.end()

    async def inward() -> None:
        while (message := await call.recv_message()) is not None:
            writer.write(message.data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    tasks = [asyncio.ensure_future(outward()), asyncio.ensure_future(inward())]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
