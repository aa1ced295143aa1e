"""Between a request's body and a descriptor: services read and write descriptors, whoever is at the other end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from boatyard.wire.asgi import Receive, until_disconnected

_PIECE = 1 << 18
_PIPE_SIZE = 1 << 20


class Pipe:
    """A pipe of which the event loop uses one end without blocking, and a thread the other. The ends can be closed one
    by one; leaving the context closes both."""

    def __init__(self, readable: int, writable: int) -> None:
        self.readable = readable
        self.writable = writable

    def close_readable(self) -> None:
        self.readable = _close(self.readable)

    def close_writable(self) -> None:
        self.writable = _close(self.writable)


@contextmanager
def open_pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe2(os.O_CLOEXEC))
    try:
        fcntl.fcntl(pipe.writable, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except PermissionError:
        pass  # the user's share of pipe memory is used up: the default size is slower, not wrong
    try:
        yield pipe
    finally:
        pipe.close_readable()
        pipe.close_writable()


async def pump_body(receive: Receive, pipe: Pipe) -> None:
    """Write the request's body to the pipe, close it, and wait until the client has gone. When the client goes before
    the end of the body, whoever reads the pipe sees an end that is too early."""
    try:
        os.set_blocking(pipe.writable, False)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            try:
                await write_whole(pipe.writable, message["body"])
            except BrokenPipeError:
                # The reader has what it wants, or failed: what it says is the answer. The rest of the body is dropped.
                pass
            more = message["more_body"]
    finally:
        pipe.close_writable()
    await until_disconnected(receive)


async def pieces_of(pipe: Pipe) -> AsyncIterator[bytes]:
    """What is written to the pipe, until its other end is closed."""
    os.set_blocking(pipe.readable, False)
    while True:
        try:
            piece = os.read(pipe.readable, _PIECE)
        except BlockingIOError:
            await until_readable(pipe.readable)
            continue
        if not piece:
            return
        yield piece


async def splice(source: int, target: int) -> None:
    """Move bytes from one pipe to another until the source ends; both may be blocking descriptors that somebody else
    uses, too. BrokenPipeError when nobody reads the target."""
    while True:
        await until_readable(source)
        try:
            moved = os.splice(source, target, _PIPE_SIZE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            await until_writable(target)
            continue
        except BrokenPipeError:
            if _is_at_end(source):
                return  # the reader left after the last byte (tar does), and nothing is lost
            raise
        if not moved:
            return


async def until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def until_writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


async def write_whole(descriptor: int, data: bytes) -> None:
    """To a descriptor that doesn't block. BrokenPipeError when nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await until_writable(descriptor)


def _is_at_end(pipe: int) -> bool:
    """Empty, and nobody can write to it any more."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    return any(events & select.POLLHUP and not events & select.POLLIN for _, events in poller.poll(0))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _close(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
