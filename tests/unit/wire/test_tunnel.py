"""A connection carried by something else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard.wire.grpc.bytestream import ByteStream
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.grpc.server import GrpcServer
from boatyard.wire.peer import Peer
from boatyard.wire.tunnel import Tunnel
from fixtures.grpcpair import FileSend, Secrets, pair, until


async def answer(stream: Any) -> None:
    request = await stream.recv_message()
    await stream.send_message(GetSecretResponse(data=request.ID.encode()))


async def echo(stream: Any) -> None:
    async for message in stream:
        await stream.send_message(message)


async def serve_over(call: Any, *services: Any) -> None:
    """The client of `call` is the server of the connection that it carries."""
    server = GrpcServer(lambda: services)
    bytes_of = ByteStream(call, BytesMessage)
    await Tunnel(server.connection(), bytes_of.receive, bytes_of.send).run()


async def test_a_server_can_call_its_client_back_through_the_clients_call(tmp_path: Path) -> None:
    piece = BytesMessage(data=b"y" * 100_000)

    async def session(stream: Any) -> None:
        channel = Channel()
        bytes_of = ByteStream(stream, BytesMessage)
        tunnel = asyncio.create_task(Tunnel(channel.protocol, bytes_of.receive, bytes_of.send).run())
        stub = SecretsStub(channel)
        answers = await asyncio.gather(*(stub.GetSecret(GetSecretRequest(ID=str(n))) for n in range(50)))
        assert [one.data for one in answers] == [str(n).encode() for n in range(50)]
        async with FileSendStub(channel).DiffCopy.open() as call:
            await call.send_request()

            async def send() -> None:
                for _ in range(100):
                    await call.send_message(piece)
                await call.end()

            sending = asyncio.create_task(send())
            assert [message async for message in call] == [piece] * 100
            await sending
        channel.close()
        await tunnel

    async with pair(tmp_path, FileSend(session)) as channel, FileSendStub(channel).DiffCopy.open() as call:
        await call.send_request()
        await serve_over(call, Secrets(answer), FileSend(echo))


async def test_calls_through_a_tunnel_fail_when_what_carries_it_ends(tmp_path: Path) -> None:
    async def never(stream: Any) -> None:
        await asyncio.Event().wait()

    told: asyncio.Future[GRPCError] = asyncio.get_running_loop().create_future()

    async def session(stream: Any) -> None:
        channel = Channel()
        bytes_of = ByteStream(stream, BytesMessage)
        tunnel = asyncio.create_task(Tunnel(channel.protocol, bytes_of.receive, bytes_of.send).run())
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(ID="x"))
        told.set_result(caught.value)
        await tunnel

    async with pair(tmp_path, FileSend(session)) as channel, FileSendStub(channel).DiffCopy.open() as call:
        await call.send_request()
        serving = asyncio.create_task(serve_over(call, Secrets(never)))
        await call.end()
        assert (await asyncio.wait_for(told, 10)).status is Status.UNAVAILABLE
        await serving


class Lines(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.happened.append(data)
        self.transport.write(data.upper())

    def pause_writing(self) -> None:
        self.happened.append("paused")

    def resume_writing(self) -> None:
        self.happened.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.happened.append(exc)


async def test_what_was_written_before_the_end_is_still_sent() -> None:
    coming = [b"one", b"two", b""]
    sent: list[bytes] = []

    async def receive() -> bytes:
        return coming.pop(0)

    async def send(data: bytes) -> None:
        sent.append(data)

    protocol = Lines()
    await Tunnel(protocol, receive, send).run()
    assert b"".join(sent) == b"ONETWO"
    assert protocol.happened == [b"one", b"two", None]


async def test_writing_is_held_up_while_nothing_is_taken() -> None:
    gate = asyncio.Event()

    async def receive() -> bytes:
        await asyncio.Event().wait()
        return b""

    async def send(data: bytes) -> None:
        await gate.wait()

    protocol = Lines()
    tunnel = Tunnel(protocol, receive, send)
    running = asyncio.create_task(tunnel.run())
    await until(lambda: protocol.transport)
    tunnel.write(bytes(1_000_000))
    assert protocol.happened == ["paused"]
    gate.set()
    await until(lambda: len(protocol.happened) == 2)
    tunnel.close()
    await running
    assert protocol.happened == ["paused", "resumed", None]


async def test_an_error_of_what_carries_it_ends_the_connection_with_it() -> None:
    async def receive() -> bytes:
        raise GRPCError(Status.CANCELLED, "gone")

    async def send(data: bytes) -> None:
        """Nothing comes here."""

    protocol = Lines()
    await Tunnel(protocol, receive, send, info={"peer": Peer(1, 2, 3)}).run()
    assert isinstance(protocol.happened[-1], GRPCError)
    assert protocol.transport.get_extra_info("peer") == Peer(1, 2, 3)
