"""gRPC with an implementation that shares nothing with ours: grpcio, as client and as server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard._pb.wellknown import Any as AnyMessage
from boatyard.wire.grpc import details
from fixtures.grpcpair import FileSend, Secrets, connected, serving

GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
DIFF_COPY = "/moby.filesync.v1.FileSend/DiffCopy"
DETAIL = AnyMessage(type_url="github.com/moby/buildkit/errdefs.Source+json", value=b"{}")
LARGE = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


async def secret(stream: Any) -> None:
    request = await stream.recv_message()
    if request.ID == "missing":
        raise GRPCError(Status.NOT_FOUND, "no ü", [DETAIL])
    await stream.send_initial_metadata(metadata={"beginning": stream.metadata.get("asked", "")})
    await stream.send_message(GetSecretResponse(data=request.ID.encode()))
    await stream.send_trailing_metadata(metadata={"end-bin": b"\xff\x00"})


async def echo(stream: Any) -> None:
    async for message in stream:
        await stream.send_message(message)


class Peer:
    """A grpcio client on a thread, with messages as bytes."""

    def __init__(self, path: Path) -> None:
        self.channel = grpc.insecure_channel(f"unix:{path}", options=LARGE)

    def get_secret(self, name: str, **options: Any) -> tuple[GetSecretResponse, Any]:
        method = self.channel.unary_unary(GET_SECRET)
        answer, call = method.with_call(GetSecretRequest(ID=name).SerializeToString(), **options)
        return GetSecretResponse.FromString(answer), call

    def diff_copy(self, messages: list[bytes]) -> list[bytes]:
        coded = (BytesMessage(data=data).SerializeToString() for data in messages)
        return [BytesMessage.FromString(answer).data for answer in self.channel.stream_stream(DIFF_COPY)(coded)]


async def test_a_grpcio_client_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, Secrets(secret)) as (_, path):
        peer = Peer(path)
        answer, call = await asyncio.to_thread(peer.get_secret, "key", metadata=[("asked", "yes")])
        assert answer.data == b"key"
        assert ("beginning", "yes") in call.initial_metadata()
        assert ("end-bin", b"\xff\x00") in call.trailing_metadata()
        peer.channel.close()


async def test_a_grpcio_client_gets_errors_with_details(tmp_path: Path) -> None:
    async with serving(tmp_path, Secrets(secret)) as (_, path):
        peer = Peer(path)
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(peer.get_secret, "missing")
        error: Any = caught.value
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no ü")
        trailers = dict(error.trailing_metadata())
        assert details.decode(details.encode_binary(trailers["grpc-status-details-bin"])) == [DETAIL]
        peer.channel.close()


async def test_a_grpcio_client_streams_both_ways(tmp_path: Path) -> None:
    sent = [os.urandom(size) for size in (0, 1, 100_000, 16379, 5_000_000, 0)] + [b"x" * 1000] * 2000
    async with serving(tmp_path, FileSend(echo)) as (_, path):
        peer = Peer(path)
        assert await asyncio.to_thread(peer.diff_copy, sent) == sent
        peer.channel.close()


async def test_a_grpcio_client_is_told_that_its_message_is_too_long(tmp_path: Path) -> None:
    async with serving(tmp_path, FileSend(echo), Secrets(secret)) as (_, path):
        peer = Peer(path)
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(peer.diff_copy, [bytes(33 << 20)])
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await asyncio.to_thread(peer.get_secret, "still"))[0].data == b"still"
        peer.channel.close()


async def test_a_grpcio_client_sees_its_deadline_pass(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def never(stream: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(tmp_path, Secrets(never)) as (_, path):
        peer = Peer(path)
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(peer.get_secret, "x", timeout=0.2)
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(ended.wait(), 10)
        peer.channel.close()


async def test_a_grpcio_client_is_told_of_a_service_that_is_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path, FileSend(echo)) as (_, path):
        peer = Peer(path)
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(peer.get_secret, "x")
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        peer.channel.close()


@pytest.fixture
def grpcio_server(tmp_path: Path) -> Iterator[Path]:
    def answer(data: bytes, context: Any) -> bytes:
        name = GetSecretRequest.FromString(data).ID
        if name == "missing":
            context.abort(grpc.StatusCode.NOT_FOUND, "no ü")
        if name == "slow":
            threading_event(context).wait(20)
        context.send_initial_metadata((("beginning", dict(context.invocation_metadata()).get("asked", "")),))
        context.set_trailing_metadata((("end-bin", b"\x00"),))
        return GetSecretResponse(data=name.encode()).SerializeToString()

    def copy(messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from messages

    path = tmp_path / "grpcio"
    server = grpc.server(ThreadPoolExecutor(8), options=LARGE)
    handlers = {
        "moby.buildkit.secrets.v1.Secrets": {"GetSecret": grpc.unary_unary_rpc_method_handler(answer)},
        "moby.filesync.v1.FileSend": {"DiffCopy": grpc.stream_stream_rpc_method_handler(copy)},
    }
    for name, methods in handlers.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield path
    server.stop(0).wait()


def threading_event(context: Any) -> Any:
    """Set when the call is over."""
    from threading import Event

    event = Event()
    context.add_callback(event.set)
    return event


async def test_a_grpcio_server_answers_us(grpcio_server: Path) -> None:
    async with connected(grpcio_server) as channel:
        async with SecretsStub(channel).GetSecret.open(metadata={"asked": "yes"}) as call:
            await call.send_message(GetSecretRequest(ID="key"), end=True)
            assert (await call.recv_message()) == GetSecretResponse(data=b"key")
            await call.recv_trailing_metadata()
        assert call.initial_metadata is not None
        assert call.initial_metadata["beginning"] == "yes"
        assert call.trailing_metadata is not None
        assert call.trailing_metadata["end-bin"] == b"\x00"


async def test_errors_of_a_grpcio_server_reach_us(grpcio_server: Path) -> None:
    async with connected(grpcio_server) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(ID="missing"))
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "no ü")
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(ID="slow"), timeout=0.1)
        assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_a_grpcio_server_streams_both_ways(grpcio_server: Path) -> None:
    sent = [os.urandom(size) for size in (0, 1, 100_000, 16379, 5_000_000)] + [b"x" * 1000] * 2000
    async with connected(grpcio_server) as channel, FileSendStub(channel).DiffCopy.open() as call:
        await call.send_request()

        async def send() -> None:
            for data in sent:
                await call.send_message(BytesMessage(data=data))
            await call.end()

        sending = asyncio.create_task(send())
        assert [message.data async for message in call] == sent
        await sending
