"""An answer whose body somebody writes to a descriptor, in a thread, while it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from boatyard.api.stream import Running
from boatyard.wire.asgi import Receive, Send, until_disconnected
from boatyard.wire.pipes import Pipe, open_pipe, pieces_of


async def download(
    write: Callable[[int], Awaitable[object]], content_type: bytes, running: Running, receive: Receive, send: Send
) -> None:
    """`write` takes a descriptor to write to. An error before the first byte is raised with nothing sent; after it, the
    connection breaks off without an end."""
    with open_pipe() as pipe:
        writing = asyncio.ensure_future(_write(write, pipe))
        running.add(writing)
        watcher = asyncio.ensure_future(until_disconnected(receive))
        watcher.add_done_callback(lambda _: writing.cancel())
        try:
            await _send(send, content_type, pipe, writing)
        finally:
            watcher.cancel()
            # First the reader: the thread that writes may be waiting for it.
            pipe.close_readable()
            writing.cancel()
            await asyncio.wait((writing,))


async def _write(write: Callable[[int], Awaitable[object]], pipe: Pipe) -> None:
    try:
        await write(pipe.writable)
    finally:
        pipe.close_writable()


async def _send(send: Send, content_type: bytes, pipe: Pipe, writing: Awaitable[None]) -> None:
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
    begun = False
    async for piece in pieces_of(pipe):
        if not begun:
            begun = True
            await send(head)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await writing
    if not begun:
        await send(head)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
