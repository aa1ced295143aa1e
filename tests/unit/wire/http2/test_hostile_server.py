"""Servers that mean harm: the daemon is the client of whoever holds a session with it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from boatyard._pb.filesync_grpc import FileSendStub
from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.http2.limits import Http2Limits
from fixtures.grpcpair import connected, until
from fixtures.rawhttp2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    RawClient,
    block,
    frame,
    message,
)

WORD = struct.Struct(">L")
LIMITS = GrpcLimits(http2=Http2Limits(handshake_timeout=0.3, linger=0.2))
GREETING = frame(SETTINGS, 0, 0)
OK = ((":status", "200"), ("content-type", "application/grpc"))

Script = Callable[[RawClient], Awaitable[None]]


@asynccontextmanager
async def calling(directory: Path, script: Script) -> AsyncIterator[Channel]:
    """A channel to a server that reads the first request's header list, and then does what the script says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = RawClient(reader, writer)
        try:
            await reader.readexactly(24)
            await script(raw)
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(directory / "s"))
    try:
        async with connected(directory / "s", LIMITS) as channel:
            yield channel
    finally:
        server.close()


def saying(*data: bytes) -> Script:
    async def script(raw: RawClient) -> None:
        raw.send(GREETING)
        await raw.until(HEADERS)
        raw.send(*data)

    return script


async def failure(directory: Path, script: Script) -> GRPCError:
    async with calling(directory, script) as channel:
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(), timeout=20)
        return caught.value


ANSWERS = {
    "an answer that isn't gRPC": (
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(((":status", "200"), ("content-type", "text/html")))),
        Status.UNKNOWN,
    ),
    "an HTTP error": (frame(HEADERS, END_HEADERS | END_STREAM, 1, block(((":status", "503"),))), Status.UNAVAILABLE),
    "no status at all": (frame(HEADERS, END_HEADERS | END_STREAM, 1, block(OK)), Status.UNKNOWN),
    "a status that is none": (
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block((*OK, ("grpc-status", "many")))),
        Status.UNKNOWN,
    ),
    "an end without trailers": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) + frame(DATA, END_STREAM, 1),
        Status.INTERNAL,
    ),
    "half a message": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) + frame(DATA, END_STREAM, 1, message(b"abc")[:-1]),
        Status.INTERNAL,
    ),
    "a message that is none": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) + frame(DATA, 0, 1, message(b"\xff\xff\xff")),
        Status.INTERNAL,
    ),
    "a message of 64 MB": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) + frame(DATA, 0, 1, b"\0" + WORD.pack(64 << 20)),
        Status.RESOURCE_EXHAUSTED,
    ),
    "a compressed message": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) + frame(DATA, 0, 1, b"\1" + WORD.pack(1) + b"x"),
        Status.UNIMPLEMENTED,
    ),
    "metadata that are no base64": (
        frame(HEADERS, END_HEADERS, 1, block((*OK, ("x-bin", "%")))),
        Status.INTERNAL,
    ),
    "headers in the middle": (
        frame(HEADERS, END_HEADERS, 1, block(OK)) * 2,
        Status.INTERNAL,
    ),
    "a refusal": (frame(RST, 0, 1, WORD.pack(7)), Status.UNAVAILABLE),
    "an unknown reset": (frame(RST, 0, 1, WORD.pack(99)), Status.INTERNAL),
    "a farewell": (frame(GOAWAY, 0, 0, WORD.pack(0) + WORD.pack(0) + b"bye"), Status.UNAVAILABLE),
    "a push": (frame(PUSH, END_HEADERS, 1, WORD.pack(2) + block(OK)), Status.INTERNAL),
    "a stream of its own": (frame(HEADERS, END_HEADERS, 2, block(OK)), Status.INTERNAL),
    "an answer to nothing": (frame(HEADERS, END_HEADERS, 9, block(OK)), Status.INTERNAL),
    "a header bomb": (
        frame(HEADERS, END_HEADERS, 1, b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 16000),
        Status.RESOURCE_EXHAUSTED,
    ),
    "continuations without end": (
        frame(HEADERS, 0, 1, block(OK)) + frame(CONTINUATION, 0, 1) * 100,
        Status.RESOURCE_EXHAUSTED,
    ),
    "too many settings": (frame(SETTINGS, 0, 0) * 500, Status.RESOURCE_EXHAUSTED),
    "garbage": (b"\xff" * 100, Status.INTERNAL),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_can_not_be_is_an_error(tmp_path: Path, name: str) -> None:
    data, status = ANSWERS[name]
    error = await failure(tmp_path, saying(data))
    assert error.status is status
    assert error.message


async def test_a_server_that_closes_is_an_error(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        raw.send(GREETING)
        await raw.until(HEADERS)
        raw.writer.close()

    assert (await failure(tmp_path, script)).status is Status.UNAVAILABLE


async def test_a_server_that_speaks_no_http2_is_an_error(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        raw.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert (await failure(tmp_path, script)).status is Status.INTERNAL


async def test_a_server_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        """It only reads."""

    assert (await failure(tmp_path, script)).status is Status.INTERNAL


async def test_a_server_that_allows_no_streams_keeps_a_call_waiting_no_longer_than_its_deadline(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 3, 0)))

    async with calling(tmp_path, script) as channel:
        await until(lambda: channel.protocol.peer_streams == 0)
        with pytest.raises(GRPCError) as caught:
            await SecretsStub(channel).GetSecret(GetSecretRequest(), timeout=0.1)
    assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_a_server_that_never_reads_keeps_a_call_waiting_with_one_message(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        raw.send(GREETING)
        await asyncio.Event().wait()

    async with calling(tmp_path, script) as channel:
        with pytest.raises(GRPCError) as caught:
            async with FileSendStub(channel).DiffCopy.open(timeout=0.5) as call:
                while True:
                    await call.send_message(BytesMessage(data=bytes(1 << 20)))
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert channel.protocol.transport.get_write_buffer_size() < 1 << 20
        channel.protocol.abort()


async def test_windows_that_shrink_below_nothing_are_waited_for(tmp_path: Path) -> None:
    async def script(raw: RawClient) -> None:
        raw.send(GREETING)
        await raw.until(HEADERS)
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 10)), frame(PING, 0, 0, bytes(8)))
        await raw.until(PING)
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 1 << 20)), frame(WINDOW, 0, 0, WORD.pack(1 << 20)))
        ended = False
        while not ended:
            ended = bool((await raw.until(DATA)).flags & END_STREAM)
        trailers = block((*OK, ("grpc-status", "0")))
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers))

    async with calling(tmp_path, script) as channel, FileSendStub(channel).DiffCopy.open(timeout=20) as call:
        await call.send_message(BytesMessage(data=bytes(300_000 - 4)))
        await call.end()
        assert await call.recv_message() is None


async def test_pings_are_answered(tmp_path: Path) -> None:
    answered = asyncio.Event()

    async def script(raw: RawClient) -> None:
        raw.send(GREETING, frame(PING, 0, 0, b"12345678"), frame(PING, ACK, 0, b"unasked."))
        while (found := await raw.frame()).kind != PING:
            pass
        assert found.payload == b"12345678"
        answered.set()

    async with calling(tmp_path, script):
        await asyncio.wait_for(answered.wait(), 10)
