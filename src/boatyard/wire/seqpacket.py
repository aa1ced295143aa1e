"""Packets with descriptors on unix SEQPACKET sockets (unix(7)), for an event loop.

A packet and its descriptors arrive together or not at all. What the packets say is the caller's business.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from typing import Protocol

from boatyard.wire.peer import Peer, peer_of

log = logging.getLogger(__name__)

MAX_PACKET = 65536
MAX_DESCRIPTORS = 16
_SLOT = array.array("i").itemsize
_PACKETS_A_TURN = 16


class PacketHandler(Protocol):
    """What is done with a listener's connections. Called on the event loop; must not block."""

    def packet(self, connection: PacketConnection, data: bytes, descriptors: Sequence[int]) -> None:
        """The callee owns the descriptors, which are close-on-exec."""

    def ended(self, connection: PacketConnection) -> None:
        """Called once, whoever closed it."""


class PacketConnection:
    """One accepted connection; it closes itself when the other end goes or sends what doesn't fit a packet."""

    def __init__(self, sock: socket.socket, peer: Peer, handler: PacketHandler, listener: PacketListener) -> None:
        self._socket = sock
        self.peer = peer
        self._handler = handler
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self.receive)
        self.closed = False

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Never waits; thread-safe. OSError when the other end has gone or takes nothing more."""
        if self.closed:
            raise OSError(errno.EPIPE, "the connection is closed")
        socket.send_fds(self._socket, [data], list(descriptors))

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._listener.forget(self)
        self._handler.ended(self)

    def receive(self) -> None:
        """Take what has come, but not all of a flood."""
        for _ in range(_PACKETS_A_TURN):
            if self.closed or not self._receive():
                return

    def _receive(self) -> bool:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                MAX_PACKET, socket.CMSG_SPACE(MAX_DESCRIPTORS * _SLOT), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.close()
            return False
        descriptors = _descriptors(ancillary)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            log.warning("process %d sent a packet with too many bytes or descriptors", self.peer.pid)
            data = b""
        if not data:
            close_all(descriptors)
            self.close()
            return False
        self._handler.packet(self, data, descriptors)
        return True


class PacketListener:
    """Accepts connections on a bound SEQPACKET socket, which it owns."""

    def __init__(self, sock: socket.socket, handler: PacketHandler, *, connections: int = 1024) -> None:
        self._socket = sock
        self._handler = handler
        self._limit = connections
        self._connections: set[PacketConnection] = set()
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(512)
        self._loop.add_reader(sock.fileno(), self._acceptable)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for connection in list(self._connections):
            connection.close()

    def forget(self, connection: PacketConnection) -> None:
        self._connections.discard(connection)

    def _acceptable(self) -> None:
        """All that wait at once: on a busy loop, one a turn would keep the last of a hundred waiting for seconds."""
        while self._accept():
            pass

    def _accept(self) -> bool:
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            # Out of descriptors, most likely: readable again at once, so the loop would spin without a pause.
            log.error("can't accept on the descriptor socket: %s", error)
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(1.0, self._accept_again)
            return False
        peer = peer_of(accepted)
        if peer is None or len(self._connections) >= self._limit:
            accepted.close()
            return True
        accepted.setblocking(False)
        connection = PacketConnection(accepted, peer, self._handler, self)
        self._connections.add(connection)
        # What was sent before the connection was accepted is there already.
        connection.receive()
        return True

    def _accept_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _SLOT])
    return list(found)
