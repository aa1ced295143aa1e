"""A container's pseudo-terminal: received from a runtime that hands it over, or made here for one that doesn't.

crun sends the master of the one inside. runc does that only for containers that it leaves alone; in the foreground it
passes bytes between its own terminal and the container's, so it is given one, and resizes with it.

Specification: runc's and crun's --console-socket: one message with one descriptor (SCM_RIGHTS) over a unix stream.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import tty


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def open_pair() -> tuple[int, str]:
    """A terminal of the host: its master, and the path of the other end. Raw: the container's own does the echoing."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        return master, os.ttyname(slave)
    finally:
        os.close(slave)


async def receive(listener: socket.socket) -> int | None:
    """The master descriptor, which the caller owns; None when the runtime hung up without sending one. `listener`
    must not block.
    """
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
    for extra in descriptors[1:]:
        os.close(extra)
    return descriptors[0] if descriptors else None
