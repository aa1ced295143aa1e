"""The HTTP/1.1 server over real unix sockets: what it answers, what it survives, what it costs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.wire.asgi import Application, Receive, Scope, Send, hijack, peer
from boatyard.wire.http2.frames import PREFACE
from boatyard.wire.limits import Limits
from boatyard.wire.listener import Server

Serve = Callable[..., Awaitable[Path]]


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def respond(send: Send, body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    text = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} ".encode() + body
    await respond(send, text, headers=((b"content-length", str(len(text)).encode()),))


@asynccontextmanager
async def serving(directory: Path, application: Application, limits: Limits | None = None) -> AsyncIterator[Path]:
    path = directory / "s"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    server = Server(application, limits=limits)
    await server.listen(listening)
    try:
        yield path
    finally:
        await server.stop(0)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    contexts = []

    async def start(application: Application, limits: Limits | None = None) -> Path:
        context = serving(tmp_path, application, limits)
        contexts.append(context)
        return await context.__aenter__()

    yield start
    for context in contexts:
        await context.__aexit__(None, None, None)


async def exchange(path: Path, data: bytes) -> bytes:
    """Everything the server says until it closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_a_request_is_answered(serve: Serve) -> None:
    path = await serve(echo)
    answer = await exchange(
        path, b"POST /a%20b?c=d HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nxyz"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\ndate: " in answer
    assert answer.endswith(b"\r\n\r\nPOST /a b?c=d xyz")


async def test_a_connection_is_kept_for_more_requests(serve: Serve) -> None:
    path = await serve(echo)
    reader, writer = await asyncio.open_unix_connection(path)
    for number in range(3):
        writer.write(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
        assert b"GET /%d?" % number in await reader.readuntil(b"? ")
    writer.close()


async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    path = await serve(echo)
    requests = [b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi" % number for number in range(50)]
    requests.append(b"GET /end HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await exchange(path, b"".join(requests))
    positions = [answer.index(b"POST /%d? hi" % number) for number in range(50)]
    assert positions == sorted(positions)
    assert b"GET /end? " in answer


async def test_chunked_bodies_come_through(serve: Serve) -> None:
    path = await serve(echo)
    answer = await exchange(
        path,
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    )
    assert answer.endswith(b" abcdefg")


async def test_an_answer_without_a_length_is_chunked(serve: Serve) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    path = await serve(stream)
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_head_is_answered_without_a_body(serve: Serve) -> None:
    path = await serve(echo)
    answer = await exchange(path, b"HEAD /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"content-length: 9\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_for_100_continue_gets_it_when_the_body_is_wanted(serve: Serve) -> None:
    path = await serve(echo)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await reader.readuntil(b" ok")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_body_that_nobody_reads_does_not_spoil_the_answer(serve: Serve) -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"no", status=403)

    path = await serve(refuse)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 1_000_000)
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"no" in answer
    writer.close()


async def test_a_body_is_read_no_faster_than_the_application_takes_it(serve: Serve) -> None:
    proceed = asyncio.Event()
    sizes: list[int] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await proceed.wait()
        total = 0
        while True:
            message = await receive()
            sizes.append(len(message["body"]))
            total += len(message["body"])
            if not message["more_body"]:
                break
        await respond(send, str(total).encode())

    path = await serve(slow, Limits(body_buffer=65536))
    size = 20_000_000
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % size)
    writer.write(b"x" * size)
    drained = asyncio.ensure_future(writer.drain())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not drained.done()
    proceed.set()
    assert str(size).encode() in await reader.read()
    assert max(sizes) < 1_000_000
    writer.close()


async def test_an_answer_is_produced_no_faster_than_the_client_takes_it(serve: Serve) -> None:
    sent = 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536

    path = await serve(endless)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    before = -1
    while sent != before:
        before = sent
        for _ in range(50):
            await asyncio.sleep(0)
    assert 0 < sent < 4_000_000
    client.close()


async def test_the_application_learns_that_its_client_has_gone(serve: Serve) -> None:
    told = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    path = await serve(wait)
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        await told.wait()


async def test_an_application_that_raises_is_answered_for(serve: Serve) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("secret detail")

    path = await serve(broken)
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret detail" not in answer


async def test_an_application_that_raises_in_the_middle_ends_the_connection_without_an_end_mark(serve: Serve) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError

    path = await serve(broken)
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.endswith(b"half\r\n")


async def test_a_hijacked_connection_carries_raw_bytes_both_ways(serve: Serve) -> None:
    async def shout(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        stream = hijack(scope, headers=[(b"Connection", b"Upgrade"), (b"Upgrade", b"tcp")])
        while data := await stream.read():
            await stream.write(data.upper())
        await stream.write(b"END")
        stream.close()

    path = await serve(shout)
    reader, writer = await asyncio.open_unix_connection(path)
    # Bytes right behind the request belong to the stream.
    writer.write(
        b"POST /attach HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: tcp\r\ncontent-length: 2\r\n\r\n{}early "
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    writer.write(b"late")
    writer.write_eof()
    assert await reader.read() == b"EARLY LATEEND"
    writer.close()


async def test_a_hijack_can_answer_200_without_any_framing(serve: Serve) -> None:
    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        stream = hijack(scope, status=200, reason="OK", headers=[(b"Content-Type", b"application/x-raw")])
        await stream.write(b"bare")
        stream.close()

    path = await serve(raw)
    answer = await exchange(path, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Type: application/x-raw\r\n\r\nbare"


async def test_a_protocol_can_adopt_a_hijacked_connection(serve: Serve) -> None:
    class Reverse(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data[::-1])
            self.transport.close()

    async def adopt(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        hijack(scope).adopt(Reverse())

    path = await serve(adopt)
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nabc")
    assert answer.endswith(b"\r\n\r\ncba")


async def test_the_peer_of_a_unix_socket_is_known(serve: Serve) -> None:
    async def who(scope: Scope, receive: Receive, send: Send) -> None:
        found = peer(scope)
        assert found is not None
        await respond(send, f"{found.pid} {found.uid} {found.gid}".encode())

    path = await serve(who)
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert f"{os.getpid()} {os.geteuid()} {os.getegid()}".encode() in answer


@pytest.mark.parametrize("prefix", [b"P", b"PO", b"PU"])
async def test_methods_that_begin_like_the_preface_are_http1(serve: Serve, prefix: bytes) -> None:
    path = await serve(echo)
    rest = {b"P": b"ATCH", b"PO": b"ST", b"PU": b"T"}[prefix]
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(prefix)
    await writer.drain()
    writer.write(rest + b" /p HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    assert (prefix + rest) in await reader.readuntil(b"/p? ")
    writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 100_000, b"431"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n", b"431"),
    ],
)
async def test_malformed_requests_get_a_status(serve: Serve, data: bytes, status: bytes) -> None:
    path = await serve(echo)
    answer = await exchange(path, data)
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_header_that_never_ends_is_cut_off(serve: Serve) -> None:
    path = await serve(echo, Limits(header_timeout=0.05))
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: ")
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_body_that_stops_is_cut_off(serve: Serve) -> None:
    path = await serve(echo, Limits(body_timeout=0.05))
    answer = await exchange(path, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_connection_without_a_request_is_closed(serve: Serve) -> None:
    path = await serve(echo, Limits(idle_timeout=0.05))
    assert await exchange(path, b"") == b""


async def test_a_kept_connection_without_another_request_is_closed(serve: Serve) -> None:
    path = await serve(echo, Limits(idle_timeout=0.05))
    answer = await exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.endswith(b"GET /? ")


async def test_one_connection_too_many_is_told_so(serve: Serve) -> None:
    path = await serve(echo, Limits(connections=1))
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"/? ")
    assert (await exchange(path, b"")).startswith(b"HTTP/1.1 503")
    writer.close()


async def test_stopping_lets_a_running_request_finish(tmp_path: Path) -> None:
    begun, proceed = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await proceed.wait()
        await respond(send, b"done")

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    server = Server(slow)
    await server.listen(listening)
    answer = asyncio.ensure_future(exchange(tmp_path / "s", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
    await begun.wait()
    stop = asyncio.ensure_future(server.stop(10))
    await asyncio.sleep(0)
    proceed.set()
    assert b"done" in await answer
    await stop
    assert not server.connections


async def test_stopping_cuts_off_what_does_not_end(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with serving(tmp_path, stuck) as path:
        answer = asyncio.ensure_future(exchange(path, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
        await begun.wait()
    with suppress(ConnectionResetError):
        assert await answer == b""


requests = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody",
        b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        PREFACE,
    ]
)
garbage = st.one_of(st.binary(max_size=200), requests, st.sampled_from([b"\r\n", b"\0", b"HTTP/1.1", b"0\r\n\r\n"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(garbage, max_size=6), flip=st.integers(0, 400))
def test_garbage_harms_nobody_else(tmp_path: Path, pieces: list[bytes], flip: int) -> None:
    async def run() -> None:
        data = bytearray(b"".join(pieces))
        if data:
            data[flip % len(data)] ^= 1 << (flip % 8)
        async with serving(
            tmp_path, echo, Limits(idle_timeout=1, header_timeout=1, body_timeout=1, linger=0.2)
        ) as path:
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(bytes(data))
            writer.write_eof()
            answer = await exchange(path, b"GET /fine HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert answer.endswith(b"GET /fine? ")
            writer.close()

    asyncio.run(run())
