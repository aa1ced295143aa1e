"""Packets with descriptors, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from boatyard.wire.seqpacket import PacketConnection, PacketListener, close_all


class Received:
    """A `PacketHandler` that keeps what comes."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.ends = 0

    def packet(self, connection: PacketConnection, data: bytes, descriptors: Sequence[int]) -> None:
        self.packets.append(data)
        close_all(descriptors)

    def ended(self, connection: PacketConnection) -> None:
        self.ends += 1


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "packets"))
        yield sock


async def test_a_crowd_that_came_at_once_is_heard_in_one_turn_of_the_loop(bound: socket.socket) -> None:
    received = Received()
    address = bound.getsockname()
    listener = PacketListener(bound, received)
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(200)]
    null = os.open(os.devnull, os.O_RDONLY)
    for number, client in enumerate(clients):
        client.connect(address)
        socket.send_fds(client, [b"%d" % number], [null])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert received.packets == [b"%d" % number for number in range(200)]
    for client in clients:
        client.close()
    os.close(null)
    listener.close()
    assert received.ends == 200


async def test_one_who_connects_and_goes_is_no_trouble(bound: socket.socket) -> None:
    received = Received()
    address = bound.getsockname()
    listener = PacketListener(bound, received)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(address)
        client.send(b"here")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert received.packets == [b"here"]
    listener.close()
