"""Forwards a unix socket of the host into a container.

An agent's socket usually belongs to another user and refuses the container's; a listener of our own, owned as the
container needs it, passes bytes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from types import TracebackType

log = logging.getLogger(__name__)

CHUNK = 64 << 10


def listen(path: str, uid: int, gid: int, mode: int) -> socket.socket:
    """A listening socket at `path`, owned as told; nobody can connect before that. The caller owns it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(path)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


class Forwarder:
    """Passes connections of one listener on to the socket `source`, until it is left. An async context manager; it
    owns the listener.
    """

    def __init__(self, listener: socket.socket, source: str) -> None:
        self._listener = listener
        self._source = source
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Forwarder:
        self._server = await asyncio.start_unix_server(self._accept, sock=self._listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served outside of a task")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._source)
        except OSError as error:
            log.warning("the agent at %s can't be reached: %s", self._source, error)
            writer.close()
            return
        try:
            await asyncio.gather(_pass(reader, upstream_writer), _pass(upstream_reader, writer))
        except asyncio.CancelledError:
            # Only __aexit__ cancels; asyncio's stream server would log the cancellation as an error of the connection.
            pass
        finally:
            writer.close()
            upstream_writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of `reader`, then end `writer`'s direction. A peer that went away ends it as well."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError as error:
        log.debug("agent connection ended: %s", error)
