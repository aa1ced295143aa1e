"""Calls between our two ends, over a unix socket."""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard._pb.wellknown import Any as AnyMessage
from boatyard.errors import NotFoundError
from boatyard.wire.grpc.call import caller
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.http2.limits import Http2Limits
from fixtures.grpcpair import FileSend, Secrets, connected, pair, serving, until

MB = 1 << 20


async def echo(stream: Any) -> None:
    async for message in stream:
        await stream.send_message(message)


async def secret(stream: Any) -> None:
    request = await stream.recv_message()
    await stream.send_message(GetSecretResponse(data=request.ID.encode()))


async def test_a_unary_call_is_answered(tmp_path: Path) -> None:
    async with pair(tmp_path, Secrets(secret)) as channel:
        answer = await SecretsStub(channel).GetSecret(GetSecretRequest(ID="key"))
        assert answer.data == b"key"


async def test_messages_of_any_size_come_through_in_order(tmp_path: Path) -> None:
    sizes = [0, 1, 16379, 16380, 65531, 65536, MB, 3 * MB, 0, 5]
    sent = [BytesMessage(data=os.urandom(size)) for size in sizes]
    async with pair(tmp_path, FileSend(echo)) as channel, FileSendStub(channel).DiffCopy.open() as call:
        for message in sent:
            await call.send_message(message)
            assert await call.recv_message() == message
        await call.end()
        assert await call.recv_message() is None


async def test_both_sides_can_stream_at_once_more_than_any_window_holds(tmp_path: Path) -> None:
    piece = BytesMessage(data=b"x" * 300_000)
    async with pair(tmp_path, FileSend(echo)) as channel, FileSendStub(channel).DiffCopy.open() as call:

        async def send() -> None:
            for _ in range(200):
                await call.send_message(piece)
            await call.end()

        await call.send_request()
        sending = asyncio.create_task(send())
        received = [message async for message in call]
        await sending
    assert len(received) == 200
    assert all(message == piece for message in received)


async def test_calls_run_side_by_side_on_one_connection(tmp_path: Path) -> None:
    async with pair(tmp_path, Secrets(secret)) as channel:
        stub = SecretsStub(channel)
        answers = await asyncio.gather(*(stub.GetSecret(GetSecretRequest(ID=str(n))) for n in range(600)))
    assert [answer.data for answer in answers] == [str(n).encode() for n in range(600)]


async def test_a_stream_that_nobody_reads_does_not_hold_up_others(tmp_path: Path) -> None:
    async def never_read(stream: Any) -> None:
        await asyncio.Event().wait()

    async with (
        pair(tmp_path, FileSend(never_read), Secrets(secret)) as channel,
        FileSendStub(channel).DiffCopy.open() as call,
    ):

        async def fill() -> None:
            while True:
                await call.send_message(BytesMessage(data=bytes(100_000)))

        filling = asyncio.create_task(fill())
        for _ in range(50):
            await SecretsStub(channel).GetSecret(GetSecretRequest(ID="x"))
        assert not filling.done()
        filling.cancel()
        await call.cancel()


async def test_metadata_travel_both_ways(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        await stream.recv_message()
        assert stream.metadata.getall("include-patterns") == ["a", "b/*"]
        assert stream.metadata["x-bin"] == b"\x00\xff"
        await stream.send_initial_metadata(metadata={"beginning": "yes"})
        await stream.send_message(GetSecretResponse())
        await stream.send_trailing_metadata(metadata=[("end-bin", b"\x01")])

    async with pair(tmp_path, Secrets(method)) as channel:
        metadata = [("include-patterns", "a"), ("include-patterns", "b/*"), ("x-bin", b"\x00\xff")]
        async with SecretsStub(channel).GetSecret.open(metadata=metadata) as call:
            await call.send_message(GetSecretRequest())
            await call.recv_message()
            await call.recv_trailing_metadata()
            assert call.initial_metadata is not None
            assert call.initial_metadata["beginning"] == "yes"
            assert call.trailing_metadata is not None
            assert call.trailing_metadata["end-bin"] == b"\x01"


async def test_an_error_travels_with_its_text_and_details(tmp_path: Path) -> None:
    detail = AnyMessage(type_url="github.com/moby/buildkit/errdefs.Vertex+json", value=b'{"digest":"sha256:1"}')

    async def method(stream: Any) -> None:
        raise GRPCError(Status.FAILED_PRECONDITION, "100 % of ü\nfailed", [detail])

    async with pair(tmp_path, Secrets(method)) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest())
    error = caught.value
    assert (error.status, error.message, error.details) == (
        Status.FAILED_PRECONDITION,
        "100 % of ü\nfailed",
        [detail],
    )


async def test_an_error_after_messages_reaches_the_client_behind_them(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        await stream.send_message(BytesMessage(data=b"one"))
        raise GRPCError(Status.ABORTED, "no more")

    async with pair(tmp_path, FileSend(method)) as channel:
        with pytest.raises(GRPCError, match="no more"):
            async with FileSendStub(channel).DiffCopy.open() as call:
                await call.send_request()
                assert await call.recv_message() == BytesMessage(data=b"one")
                assert await call.recv_message() is None


async def test_a_client_that_sends_on_learns_how_its_call_ended(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        raise GRPCError(Status.PERMISSION_DENIED, "not you")

    async with pair(tmp_path, FileSend(method)) as channel:
        with pytest.raises(GRPCError, match="not you"):
            async with FileSendStub(channel).DiffCopy.open() as call:
                while True:
                    await call.send_message(BytesMessage(data=bytes(100_000)))


async def test_an_unexpected_error_is_logged_and_hidden(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def method(stream: Any) -> None:
        raise RuntimeError("the password is 1234")

    async with pair(tmp_path, Secrets(method)) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest())
    assert caught.value.status is Status.INTERNAL
    assert "1234" not in str(caught.value)
    assert "1234" in caplog.text


async def test_errors_are_translated_by_who_owns_the_services(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        raise NotFoundError("no such secret")

    def translate(error: Exception) -> GRPCError | None:
        return GRPCError(Status.NOT_FOUND, str(error)) if isinstance(error, NotFoundError) else None

    async with pair(tmp_path, Secrets(method), translate=translate) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest())
    assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "no such secret")


async def test_a_method_that_forgets_to_answer_is_an_internal_error(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        await stream.recv_message()

    async with pair(tmp_path, Secrets(method)) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest())
    assert caught.value.status is Status.INTERNAL


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    async with pair(tmp_path, Secrets(secret)) as channel:
        with pytest.raises(GRPCError) as caught:
            async with FileSendStub(channel).DiffCopy.open() as call:
                await call.send_message(BytesMessage())
                await call.recv_message()
    assert caught.value.status is Status.UNIMPLEMENTED


async def test_a_call_that_is_given_up_cancels_its_method(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def method(stream: Any) -> None:
        try:
            await stream.send_message(BytesMessage())
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with pair(tmp_path, FileSend(method)) as channel:
        async with FileSendStub(channel).DiffCopy.open() as call:
            await call.send_request()
            await call.recv_message()
            await call.cancel()
        await asyncio.wait_for(cancelled.wait(), 10)


async def test_a_client_that_goes_cancels_its_methods(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def method(stream: Any) -> None:
        begun.set()
        try:
            await stream.recv_message()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(tmp_path, FileSend(method)) as (_, path):
        async with connected(path) as channel:
            calling = asyncio.create_task(FileSendStub(channel).DiffCopy([]))
            waiting = asyncio.create_task(_hold(channel))
            await begun.wait()
        await asyncio.wait_for(cancelled.wait(), 10)
        for task in (calling, waiting):
            with pytest.raises(GRPCError):
                await task


async def _hold(channel: Any) -> None:
    async with FileSendStub(channel).DiffCopy.open() as call:
        await call.send_request()
        await call.recv_message()


async def test_a_deadline_ends_the_call_at_both_ends(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def method(stream: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with pair(tmp_path, Secrets(method)) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(), timeout=0.05)
        await asyncio.wait_for(cancelled.wait(), 10)
    assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_a_message_over_the_limit_is_refused_by_its_sender(tmp_path: Path) -> None:
    async with pair(tmp_path, FileSend(echo)) as channel:
        with pytest.raises(GRPCError, match="16777216") as caught:
            await FileSendStub(channel).DiffCopy([BytesMessage(data=bytes(17 * MB))])
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


async def test_a_message_over_the_limit_is_refused_by_its_receiver(tmp_path: Path) -> None:
    careless = GrpcLimits(message_bytes=100 * MB)
    async with serving(tmp_path, FileSend(echo), Secrets(secret)) as (_, path), connected(path, careless) as channel:
        with pytest.raises(GRPCError, match="16777216") as caught:
            await FileSendStub(channel).DiffCopy([BytesMessage(data=bytes(64 * MB))])
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        assert (await SecretsStub(channel).GetSecret(GetSecretRequest(ID="still"))).data == b"still"


async def test_large_messages_that_never_end_are_bounded_together(tmp_path: Path) -> None:
    limits = GrpcLimits(large_bytes=4 * MB)
    async with pair(tmp_path, FileSend(echo), limits=limits) as channel:
        stub = FileSendStub(channel)
        one = await stub.DiffCopy([BytesMessage(data=bytes(3 * MB))])
        assert len(one[0].data) == 3 * MB
        with pytest.raises(GRPCError, match="too many large messages"):
            await stub.DiffCopy([BytesMessage(data=bytes(9 * MB))])
        assert len((await stub.DiffCopy([BytesMessage(data=bytes(3 * MB))]))[0].data) == 3 * MB


async def test_who_calls_is_known(tmp_path: Path) -> None:
    async def method(stream: Any) -> None:
        await stream.recv_message()
        credentials = caller(stream).credentials
        assert credentials is not None
        await stream.send_message(GetSecretResponse(data=f"{credentials.pid} {credentials.uid}".encode()))

    async with pair(tmp_path, Secrets(method)) as channel:
        answer = await SecretsStub(channel).GetSecret(GetSecretRequest())
    assert answer.data == f"{os.getpid()} {os.geteuid()}".encode()


async def test_stopping_lets_a_running_call_finish_and_takes_no_other(tmp_path: Path) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def method(stream: Any) -> None:
        begun.set()
        await release.wait()
        await secret(stream)

    async with serving(tmp_path, Secrets(method)) as (server, path), connected(path) as channel:
        stub = SecretsStub(channel)
        running = asyncio.create_task(stub.GetSecret(GetSecretRequest(ID="late")))
        await begun.wait()
        stopping = asyncio.create_task(server.stop(30))
        await until(lambda: channel.closed)
        with pytest.raises(GRPCError) as caught:
            await stub.GetSecret(GetSecretRequest(ID="more"))
        assert caught.value.status is Status.UNAVAILABLE
        release.set()
        assert (await running).data == b"late"
        await stopping


async def test_stopping_cuts_off_what_does_not_end(tmp_path: Path) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def method(stream: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with serving(tmp_path, Secrets(method)) as (server, path), connected(path) as channel:
        running = asyncio.create_task(SecretsStub(channel).GetSecret(GetSecretRequest()))
        await begun.wait()
        await server.stop(0)
        assert cleaned.is_set()
        with pytest.raises(GRPCError):
            await running


async def test_calls_can_be_ended_all_at_once_and_their_clients_are_told(tmp_path: Path) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def method(stream: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with serving(tmp_path, Secrets(method)) as (server, path), connected(path) as channel:
        running = asyncio.create_task(SecretsStub(channel).GetSecret(GetSecretRequest()))
        await begun.wait()
        server.cancel_all()
        with pytest.raises(GRPCError, match="stopping") as caught:
            await running
        assert caught.value.status is Status.UNAVAILABLE
        assert cleaned.is_set()


async def test_details_that_a_client_does_not_take_are_left_out(tmp_path: Path) -> None:
    large = AnyMessage(type_url="x", value=bytes(10_000))

    async def method(stream: Any) -> None:
        raise GRPCError(Status.NOT_FOUND, "not here", [large])

    small = GrpcLimits(http2=Http2Limits(header_bytes=8000))
    async with serving(tmp_path, Secrets(method)) as (_, path), connected(path, small) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest())
    assert (caught.value.status, caught.value.message, caught.value.details) == (Status.NOT_FOUND, "not here", None)


async def test_no_more_methods_run_at_once_than_streams_are_allowed(tmp_path: Path) -> None:
    running = most = 0

    async def method(stream: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await stream.recv_message()
            await asyncio.sleep(0)
            await stream.send_message(GetSecretResponse())
        finally:
            running -= 1

    limits = GrpcLimits(http2=Http2Limits(streams=5))
    async with pair(tmp_path, Secrets(method), limits=limits) as channel:
        stub = SecretsStub(channel)
        await stub.GetSecret(GetSecretRequest())
        await asyncio.gather(*(stub.GetSecret(GetSecretRequest()) for _ in range(50)))
    assert 1 < most <= 5


async def test_a_channel_that_has_ended_says_so_again_and_again_at_no_cost(tmp_path: Path) -> None:
    async with pair(tmp_path, Secrets(secret)) as channel:
        channel.close()
        await channel.wait_closed()
        for _ in range(50):
            with pytest.raises(GRPCError) as caught:
                await SecretsStub(channel).GetSecret(GetSecretRequest())
            assert caught.value.status is Status.UNAVAILABLE
        cause = caught.value.__cause__
        assert cause is not None
        assert len(traceback.extract_tb(cause.__traceback__)) < 10
