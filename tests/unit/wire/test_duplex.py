"""HTTP/2 and gRPC over two pipes, as over a container's standard input and output."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard.wire.duplex import Duplex, carried
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.grpc.server import GrpcServer
from fixtures.grpcpair import Secrets


async def echo(stream: Any) -> None:
    request = await stream.recv_message()
    await stream.send_message(GetSecretResponse(data=request.ID.encode()))


def pipes() -> tuple[Duplex, Duplex]:
    (there, to_there), (here, to_here) = os.pipe(), os.pipe()
    return Duplex(here, to_there), Duplex(there, to_here)


def sockets() -> tuple[Duplex, Duplex]:
    one, other = socket.socketpair()
    mine, theirs = one.detach(), other.detach()
    return Duplex(mine, mine), Duplex(theirs, theirs)


@pytest.mark.parametrize("made", [pipes, sockets])
async def test_calls_go_both_ways_and_the_end_is_seen(made: Any) -> None:
    mine, theirs = made()
    server = GrpcServer(lambda: [Secrets(echo)])
    channel = Channel()
    large = "x" * 3_000_000  # more than a pipe takes at once
    async with carried(server.connection(), theirs), carried(channel.protocol, mine):
        stub = SecretsStub(channel)
        for text in ("one", large):
            assert (await stub.GetSecret(GetSecretRequest(ID=text))).data == text.encode()
        channel.close()
    await server.stop(0)


async def test_calls_fail_when_the_other_end_goes() -> None:
    mine, theirs = pipes()
    channel = Channel()
    async with carried(channel.protocol, mine) as running:
        call = asyncio.create_task(SecretsStub(channel).GetSecret(GetSecretRequest(ID="x")))
        assert await theirs.receive()
        theirs.close()
        with pytest.raises(GRPCError):
            await call
        await running


async def test_a_cancelled_user_leaves_nothing_open() -> None:
    mine, theirs = pipes()
    channel = Channel()

    async def use() -> None:
        async with carried(channel.protocol, mine):
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    assert await theirs.receive()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    while await theirs.receive():
        pass
    assert channel.closed
    theirs.close()
