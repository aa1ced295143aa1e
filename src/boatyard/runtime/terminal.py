"""Receives the pseudo-terminal that the runtime made inside a container.

Specification: runc's and crun's --console-socket: one message with one descriptor (SCM_RIGHTS) over a unix stream.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket

from boatyard.errors import UnavailableError


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


async def receive(listener: socket.socket) -> int:
    """The master descriptor, which the caller owns. `listener` must not block; it is left open."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listener)
    with connection:
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection.fileno(), _wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connection.fileno())
        size = array.array("i").itemsize
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(size * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % size])
    if not descriptors:
        raise UnavailableError("the runtime sent no terminal over its console socket")
    for extra in descriptors[1:]:
        os.close(extra)
    return descriptors[0]
