"""Clients that don't speak HTTP/2, or only to harm: each is told why, and costs little; the others don't notice."""

from __future__ import annotations

import asyncio
import resource
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard._pb.secrets_grpc import SecretsStub
from boatyard._pb.secrets_pb2 import GetSecretRequest, GetSecretResponse
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.grpc.server import GrpcServer
from boatyard.wire.http2.limits import Http2Limits
from fixtures.grpcpair import FileSend, Secrets, connected, serving, until
from fixtures.rawhttp2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    REQUEST,
    RST,
    SETTINGS,
    WINDOW,
    RawClient,
    block,
    frame,
    message,
    raw_client,
    request,
)

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED, CALM = 1, 3, 5, 6, 7, 11
COMPRESSION_ERROR, TIMEOUT = 9, 4
WORD = struct.Struct(">L")
TIGHT = Http2Limits(handshake_timeout=0.2, linger=0.2, resets=50, resets_a_second=1, settings=20, settings_a_second=1)


async def secret(stream: Any) -> None:
    asked = await stream.recv_message()
    await stream.send_message(GetSecretResponse(data=asked.ID.encode()))


async def flood(stream: Any) -> None:
    """Sends as long as the client takes it."""
    piece = stream._send_type(data=bytes(60_000))
    while True:
        await stream.send_message(piece)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[GrpcServer, Path]]:
    """After each test it still answers."""
    limits = GrpcLimits(http2=TIGHT)
    async with serving(tmp_path, Secrets(secret), FileSend(flood), limits=limits) as (made, path):
        yield made, path
        async with connected(path) as channel:
            answer = await SecretsStub(channel).GetSecret(GetSecretRequest(ID="healthy"), timeout=20)
            assert answer.data == b"healthy"


async def test_a_well_behaved_client_is_answered(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1]) as client:
        client.send(request(1), frame(DATA, END_STREAM, 1, message(b"\n\x03key")))
        assert (await client.until(DATA)).payload == message(b"\n\x03key")
        assert (await client.until(HEADERS)).flags & END_STREAM


OFFENCES = {
    "nothing of HTTP/2": (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", PROTOCOL_ERROR),
    "garbage behind the preface": (PREFACE + b"\xff" * 64, FRAME_SIZE_ERROR),
    "another frame before SETTINGS": (PREFACE + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "an acknowledgement before SETTINGS": (PREFACE + frame(SETTINGS, ACK, 0), PROTOCOL_ERROR),
}
GREETED = {
    "a frame that is too long": (frame(DATA, 0, 1, bytes(200_000)), FRAME_SIZE_ERROR),
    "data of a stream that wasn't begun": (frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
    "data of no stream": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "a header list of no stream": (request(0), PROTOCOL_ERROR),
    "a stream of the server's": (request(2), PROTOCOL_ERROR),
    "a header list that is nonsense": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "a header list interrupted": (frame(HEADERS, 0, 1, block()) + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "a header list continued elsewhere": (
        frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, END_HEADERS, 3),
        PROTOCOL_ERROR,
    ),
    "a continuation of nothing": (frame(CONTINUATION, END_HEADERS, 1), PROTOCOL_ERROR),
    "more padding than frame": (frame(HEADERS, END_HEADERS | 8, 1, b"\x40x"), PROTOCOL_ERROR),
    "a priority without room": (frame(HEADERS, END_HEADERS | 0x20, 1, b"abc"), FRAME_SIZE_ERROR),
    "a continuation without end": (
        frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, 0, 1) * 100,
        CALM,
    ),
    "a header list without end": (
        frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, 0, 1, bytes(16384)) * 6,
        CALM,
    ),
    "a header list that is too long in one": (frame(HEADERS, END_HEADERS, 1, b"\0" * 100_000), CALM),
    "a header bomb": (
        frame(HEADERS, END_HEADERS, 1, b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 16000),
        CALM,
    ),
    "a push": (frame(PUSH, END_HEADERS, 1, WORD.pack(2) + block()), PROTOCOL_ERROR),
    "a window update of nothing": (frame(WINDOW, 0, 0, WORD.pack(0)), FLOW_CONTROL_ERROR),
    "a window update that overflows": (frame(WINDOW, 0, 0, WORD.pack(2**31 - 1)), FLOW_CONTROL_ERROR),
    "a window update that is cut": (frame(WINDOW, 0, 0, b"\0\0"), FRAME_SIZE_ERROR),
    "a window of a stream that wasn't begun": (frame(WINDOW, 0, 9, WORD.pack(1)), PROTOCOL_ERROR),
    "a reset of a stream that wasn't begun": (frame(RST, 0, 9, WORD.pack(8)), PROTOCOL_ERROR),
    "a reset that is cut": (frame(RST, 0, 1, b"\0"), FRAME_SIZE_ERROR),
    "a ping of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "a ping that is cut": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "a priority that is cut": (frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    "settings of a stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "settings that are cut": (frame(SETTINGS, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    "a window that can't be": (frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 2**31)), FLOW_CONTROL_ERROR),
    "a frame size that can't be": (frame(SETTINGS, 0, 0, struct.pack(">HL", 5, 100)), PROTOCOL_ERROR),
    "a push setting that can't be": (frame(SETTINGS, 0, 0, struct.pack(">HL", 2, 7)), PROTOCOL_ERROR),
    "too many settings": (frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 70000)) * 40, CALM),
    "a farewell of a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "streams that are begun and given up": (
        b"".join(request(n) + frame(RST, 0, n, WORD.pack(8)) for n in range(1, 201, 2)),
        CALM,
    ),
    "streams that are made to be ended": (
        b"".join(request(n) + frame(WINDOW, 0, n, WORD.pack(0)) for n in range(1, 201, 2)),
        CALM,
    ),
}


@pytest.mark.parametrize("offence", OFFENCES)
async def test_what_is_no_http2_is_told_so(server: tuple[GrpcServer, Path], offence: str) -> None:
    data, code = OFFENCES[offence]
    async with raw_client(server[1], greet=False) as client:
        client.send(data)
        told, reason = await client.goaway()
        assert told == code
        assert reason


@pytest.mark.parametrize("offence", GREETED)
async def test_what_must_not_be_ends_the_connection_with_a_reason(
    server: tuple[GrpcServer, Path], offence: str
) -> None:
    data, code = GREETED[offence]
    async with raw_client(server[1]) as client:
        client.send(data)
        told, reason = await client.goaway()
        assert told == code
        assert reason


STREAM_OFFENCES = {
    "data behind the end": (
        request(1, flags=END_HEADERS | END_STREAM) + frame(DATA, 0, 1, b"x"),
        STREAM_CLOSED,
    ),
    "headers behind the end": (request(1, flags=END_HEADERS | END_STREAM) + request(1), STREAM_CLOSED),
    "a window update of nothing": (request(1) + frame(WINDOW, 0, 1, WORD.pack(0)), FLOW_CONTROL_ERROR),
    "a window update that overflows": (request(1) + frame(WINDOW, 0, 1, WORD.pack(2**31 - 1)), FLOW_CONTROL_ERROR),
    "more data than the window": (
        request(1) + frame(DATA, 0, 1, message(bytes(99_000)) + bytes(100)) * 11,
        FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("offence", STREAM_OFFENCES)
async def test_what_a_stream_must_not_do_ends_only_that_stream(
    tmp_path: Path, server: tuple[GrpcServer, Path], offence: str
) -> None:
    data, code = STREAM_OFFENCES[offence]
    waiting = asyncio.Event()

    async def hold(stream: Any) -> None:
        await waiting.wait()

    (tmp_path / "own").mkdir()
    async with serving(tmp_path / "own", Secrets(hold)) as (_, path), raw_client(path) as client:
        client.send(data)
        assert (await client.until(RST)).code == code
        client.send(frame(PING, 0, 0, b"12345678"))
        assert (await client.until(PING)).payload == b"12345678"
        waiting.set()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=64))))
async def test_any_frames_are_survived(
    server: tuple[GrpcServer, Path], several: list[tuple[int, int, int, bytes]]
) -> None:
    async with raw_client(server[1]) as client:
        client.send(*(frame(*one) for one in several))
        client.writer.write_eof()
        async with asyncio.timeout(20):
            await client.reader.read()
    await until(lambda: not server[0].connections)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
async def test_any_bytes_as_messages_are_survived(server: tuple[GrpcServer, Path], data: bytes) -> None:
    async with raw_client(server[1]) as client:
        client.send(request(1), frame(DATA, END_STREAM, 1, data))
        answer = await client.answer(1)
        assert answer[":status"] == "200"
        assert "grpc-status" in answer


async def test_a_preface_that_never_ends_is_cut_off(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1], greet=False) as client:
        client.send(PREFACE[:10])
        assert (await client.goaway())[0] == TIMEOUT


async def test_a_client_without_settings_is_cut_off(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1], greet=False) as client:
        client.send(PREFACE)
        assert (await client.goaway())[0] == TIMEOUT


async def test_a_header_list_that_never_ends_is_cut_off(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1]) as client:
        client.send(frame(HEADERS, 0, 1, block()))
        assert (await client.goaway())[0] == TIMEOUT


async def test_a_half_open_call_is_cancelled_with_its_connection(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1]) as client:
        client.send(request(1), frame(DATA, 0, 1, message(b"\n\x03key")[:-1]))
        await until(lambda: any(connection.busy for connection in server[0].connections))
    await until(lambda: not server[0].connections)


async def test_a_client_that_never_reads_holds_no_more_than_its_windows(server: tuple[GrpcServer, Path]) -> None:
    fields = (*REQUEST[:2], (":path", "/moby.filesync.v1.FileSend/DiffCopy"), *REQUEST[3:])
    async with raw_client(server[1]) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 2**31 - 1)), frame(WINDOW, 0, 0, WORD.pack(2**30)))
        for number in range(1, 41, 2):
            client.send(request(number, fields))
        await until(lambda: server[0].connections and len(_only(server[0]).out.blocked) == 20)
        assert _only(server[0]).transport.get_write_buffer_size() < 2_000_000


async def test_a_client_that_asks_for_answers_and_never_reads_is_cut_off(server: tuple[GrpcServer, Path]) -> None:
    fields = (*REQUEST[:2], (":path", "/moby.filesync.v1.FileSend/DiffCopy"), *REQUEST[3:])
    async with raw_client(server[1]) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 2**31 - 1)), frame(WINDOW, 0, 0, WORD.pack(2**30)))
        client.send(request(1, fields))
        pings = frame(PING, 0, 0, bytes(8)) * 5000
        async with asyncio.timeout(60):
            while server[0].connections:
                client.send(pings)
                try:
                    await client.writer.drain()
                except ConnectionError:
                    break
        await until(lambda: not server[0].connections)


def _only(server: GrpcServer) -> Any:
    (connection,) = server.connections
    return connection


async def test_more_streams_than_allowed_are_refused_one_by_one(tmp_path: Path) -> None:
    async def hold(stream: Any) -> None:
        await asyncio.Event().wait()

    limits = GrpcLimits(http2=replace(TIGHT, streams=3))
    async with serving(tmp_path, Secrets(hold), limits=limits) as (_, path), raw_client(path) as client:
        client.send(*(request(number) for number in range(1, 11, 2)))
        refused = [await client.until(RST), await client.until(RST)]
        assert [(one.stream, one.code) for one in refused] == [(7, REFUSED), (9, REFUSED)]


REFUSALS = [
    ((":method", "GET"), ":status", "405"),
    (("content-type", "text/html"), ":status", "415"),
    (("content-type", "application/grpc+json"), ":status", "415"),
    ((":path", "/moby.buildkit.secrets.v1.Secrets/../Secrets/GetSecret"), "grpc-status", "12"),
    ((":path", "//moby.buildkit.secrets.v1.Secrets/GetSecret"), "grpc-status", "12"),
    ((":path", "/moby.buildkit.secrets.v1.Secrets/GetSecret/"), "grpc-status", "12"),
    ((":path", "/moby.buildkit.secrets.v1.Secrets/GetSecret?x=1"), "grpc-status", "12"),
    ((":path", "/moby.buildkit.secrets.v1.Secrets/Get%53ecret"), "grpc-status", "12"),
    ((":path", "/" + "x" * 30000), "grpc-status", "12"),
    ((":path", ""), "grpc-status", "12"),
    ((":path", "/\x00\r\n\xff"), "grpc-status", "12"),
    (("grpc-timeout", "soon"), "grpc-status", "3"),
    (("grpc-timeout", "-1S"), "grpc-status", "3"),
    (("grpc-timeout", "99999999999999999999H"), "grpc-status", "3"),
    (("x-bin", "!!!"), "grpc-status", "3"),
    (("grpc-timeout", "0n"), "grpc-status", "4"),
]


@pytest.mark.parametrize(("field", "name", "value"), REFUSALS)
async def test_requests_that_are_no_calls_are_answered(
    server: tuple[GrpcServer, Path], field: tuple[str, str], name: str, value: str
) -> None:
    fields = [one for one in REQUEST if one[0] != field[0]]
    place = len(fields) if not field[0].startswith(":") else 0
    fields.insert(place, field)
    async with raw_client(server[1]) as client:
        client.send(request(1, fields))
        assert (await client.answer(1))[name] == value


async def test_compressed_messages_are_refused(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1]) as client:
        client.send(request(1), frame(DATA, END_STREAM, 1, b"\x01" + message(b"abc")[1:]))
        assert (await client.answer(1))["grpc-status"] == "12"


async def test_a_message_of_64_megabytes_is_refused_before_it_is_read(server: tuple[GrpcServer, Path]) -> None:
    async with raw_client(server[1]) as client:
        client.send(request(1), frame(DATA, 0, 1, message(bytes(1))[:1] + WORD.pack(64 << 20) + bytes(50_000)))
        answer = await client.answer(1)
        assert answer["grpc-status"] == "8"
        assert (await client.until(RST)).code == 0
        # What was under way when it was refused is dropped.
        for _ in range(20):
            client.send(frame(DATA, 0, 1, bytes(100_000)))
        client.send(frame(PING, 0, 0, b"87654321"))
        assert (await client.until(PING)).payload == b"87654321"


async def test_a_thousand_idle_connections_are_fine(server: tuple[GrpcServer, Path]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    clients: list[RawClient] = []
    for _ in range(1000):
        reader, writer = await asyncio.open_unix_connection(str(server[1]))
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        clients.append(RawClient(reader, writer))
    for client in clients:
        assert (await client.frame()).kind == SETTINGS
    clients[500].send(request(1), frame(DATA, END_STREAM, 1, message(b"\n\x01x")))
    assert (await clients[500].answer(1))["grpc-status"] == "0"
    for client in clients:
        client.writer.close()
    await until(lambda: not server[0].connections)
