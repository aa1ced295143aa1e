"""Whatever the windows are, messages come through whole, in order, and to the last."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.http2.limits import Http2Limits
from fixtures.grpcpair import FileSend, connected, serving

windows = st.builds(
    Http2Limits,
    stream_window=st.integers(1, 20) | st.integers(1000, 200_000),
    connection_window=st.integers(65535, 400_000),
    unread=st.integers(0, 100_000),
    frame_bytes=st.integers(16384, 200_000),
)
sizes = st.lists(st.integers(0, 40) | st.integers(16300, 16400) | st.integers(60_000, 300_000), max_size=6)


async def echo(stream: Any) -> None:
    async for message in stream:
        await stream.send_message(message)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(windows, windows, st.lists(sizes, min_size=1, max_size=4))
async def test_messages_come_through(
    tmp_path: Path, here: Http2Limits, there: Http2Limits, several: list[list[int]]
) -> None:
    async with (
        serving(tmp_path, FileSend(echo), limits=GrpcLimits(http2=there)) as (_, path),
        connected(path, GrpcLimits(http2=here)) as channel,
    ):

        async def exchange(lengths: list[int]) -> None:
            # With windows of a few bytes, long messages would be thousands of frames.
            tiny = min(here.stream_window, there.stream_window) < 1000
            sent = [
                BytesMessage(data=bytes([n % 256]) * (size % 500 if tiny else size)) for n, size in enumerate(lengths)
            ]
            async with FileSendStub(channel).DiffCopy.open() as call:
                await call.send_request()

                async def send() -> None:
                    for message in sent:
                        await call.send_message(message)
                    await call.end()

                sending = asyncio.create_task(send())
                assert [message async for message in call] == sent
                await sending

        async with asyncio.timeout(60):
            await asyncio.gather(*(exchange(lengths) for lengths in several))
        assert channel.protocol.unread == 0
