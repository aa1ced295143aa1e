"""Bodies in bulk, and files sent past Python, over a real connection."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from boatyard.wire.asgi import Application, ClientGoneError, Receive, Scope, Send, bulk
from boatyard.wire.limits import Limits
from boatyard.wire.listener import Server


@asynccontextmanager
async def served(application: Application, limits: Limits | None = None) -> AsyncIterator[int]:
    server = Server(application, limits=limits)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.listen(sock)
    yield sock.getsockname()[1]
    await server.stop(0.2)


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def talk(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    found = await reader.read()
    writer.close()
    return found


def head(method: str = "PUT", *headers: str) -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def counting(sizes: list[int], seen: bytearray) -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            async for piece in bulk(scope, receive, 10_000):
                sizes.append(len(piece))
                await asyncio.sleep(0)
                seen.extend(piece)
        await answer(send, b"done")

    return application


@pytest.mark.parametrize("size", [1, 9_999, 10_000, 10_001, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_comes_in_pieces_of_one_size_and_the_next_request_after_it(size: int, chunked: bool) -> None:
    data = os.urandom(size)
    sizes: list[int] = []
    seen = bytearray()
    if chunked:
        framed = b"".join(
            b"%x\r\n%s\r\n" % (len(data[at : at + 7_777]), data[at : at + 7_777]) for at in range(0, size, 7_777)
        )
        request = head("PUT", "Transfer-Encoding: chunked") + framed + b"0\r\n\r\n"
    else:
        request = head("PUT", f"Content-Length: {size}") + data
    async with served(counting(sizes, seen)) as port:
        found = await talk(port, request + head("GET", "Connection: close"))
    assert seen == data
    assert found.count(b"HTTP/1.1 200") == 2
    assert set(sizes[:-1]) <= {10_000}


async def test_an_answer_before_the_body_has_come_ends_the_connection() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async for _ in bulk(scope, receive, 10_000):
            break
        await answer(send, b"enough", 507)

    async with served(application) as port:
        found = await talk(port, head("PUT", "Content-Length: 1000000"), b"x" * 500_000)
    assert found.startswith(b"HTTP/1.1 507") and found.endswith(b"enough")


async def test_who_wants_no_more_to_follow_is_left_after_the_answer() -> None:
    sizes: list[int] = []
    async with served(counting(sizes, bytearray())) as port:
        found = await talk(port, head("PUT", "Content-Length: 3", "Connection: close") + b"abc")
    assert found.startswith(b"HTTP/1.1 200") and sizes == [3]


async def test_a_client_that_goes_is_noticed_after_what_it_sent() -> None:
    pieces: list[bytes] = []
    gone = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for piece in bulk(scope, receive, 10_000):
                pieces.append(bytes(piece))
        except ClientGoneError:
            gone.set()
            raise

    async with served(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("PUT", "Expect: 100-continue", "Content-Length: 30000"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        writer.write(b"x" * 14_000)
        writer.close()
        await gone.wait()
    assert b"".join(pieces) == b"x" * 14_000


async def test_a_body_that_stops_arriving_is_refused() -> None:
    async with served(counting([], bytearray()), Limits(body_timeout=0.05)) as port:
        found = await talk(port, head("PUT", "Content-Length: 30000") + b"x")
    assert found.startswith(b"HTTP/1.1 408")


def sending(size: int, count: int) -> Callable[[], Application]:
    def make() -> Application:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(range(256)) * (size // 256))
                file.flush()
                headers = [(b"content-length", b"%d" % count)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.zerocopysend", "file": file, "offset": 256, "count": count})

        return application

    return make


async def test_a_part_of_a_file_is_sent_and_the_next_answer_after_it() -> None:
    async with served(sending(1 << 20, 500_000)()) as port:
        found = await talk(port, head("GET") + head("HEAD") + head("GET", "Connection: close"))
    expected = (bytes(range(256)) * 4096)[256:500_256]
    assert found.count(expected) == 2
    assert found.count(b"HTTP/1.1 200") == 3


async def test_a_file_that_is_shorter_than_was_said_ends_the_connection() -> None:
    async with served(sending(1024, 5000)()) as port:
        found = await talk(port, head("GET"))
    assert len(found.partition(b"\r\n\r\n")[2]) < 5000
