"""Pipes of a client that a thread of ours reads or writes: with one of our own in between, which can be cut.

A thread that waits for a client's pipe can't be cancelled, and who is at the pipe's other end may never go on (a pager,
a producer that hangs). So the thread gets a pipe of ours, and the event loop moves the bytes (splice(2): no copy).
Plain files are used directly.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import Awaitable, Callable
from typing import TypeVar

from boatyard.api.native.offers import Offers
from boatyard.errors import InvalidError, UnavailableError
from boatyard.wire.peer import Peer
from boatyard.wire.pipes import splice

T = TypeVar("T")


class Relays:
    """The relays of one request. The client's descriptors must stay open until `close` has returned."""

    def __init__(self) -> None:
        self._inputs: list[asyncio.Task[None]] = []
        self._outputs: list[asyncio.Task[None]] = []
        self._writable: list[int] = []
        """Our ends that are given out for writing; closing them is the end of the data."""

    def readable(self, descriptor: int) -> int:
        """A descriptor with the same bytes, which the caller closes."""
        if not _is_pipe(descriptor):
            return os.dup(descriptor)
        ours, into = os.pipe2(os.O_CLOEXEC)
        self._inputs.append(_move(descriptor, into, into))
        return ours

    def writable(self, descriptor: int) -> int:
        """A descriptor through which to write, which belongs to this object."""
        if not _is_pipe(descriptor):
            return descriptor
        outof, ours = os.pipe2(os.O_CLOEXEC)
        self._writable.append(ours)
        self._outputs.append(_move(outof, descriptor, outof))
        return ours

    async def finish(self) -> None:
        """Wait until everything that was written has been taken. UnavailableError when nobody takes it."""
        self._close_writable()
        for done in await asyncio.gather(*self._outputs, return_exceptions=True):
            if isinstance(done, BrokenPipeError):
                raise UnavailableError("the program that reads the output has ended") from done
            if isinstance(done, BaseException):
                raise done

    def abort(self) -> None:
        """Cut all relays: whoever waits at our ends goes on, with an error or an early end."""
        for task in (*self._inputs, *self._outputs):
            task.cancel()

    async def close(self) -> None:
        """To be called when no thread uses the descriptors that were given out any more."""
        self.abort()
        self._close_writable()
        if tasks := (*self._inputs, *self._outputs):
            # The loop must have forgotten the client's descriptors before they are closed.
            await asyncio.wait(tasks)

    def _close_writable(self) -> None:
        while self._writable:
            os.close(self._writable.pop())


async def unblocked(work: Awaitable[T], abort: Callable[[], None]) -> T:
    """Await `work`; when cancelled, call `abort` first, so that no thread of it waits for a client's pipe, and then
    cancel the work and wait for its end."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        abort()
        task.cancel()
        await asyncio.wait((task,))
        raise


async def with_file(token: str, offers: Offers, peer: Peer, mode: int, work: Callable[[int], Awaitable[T]]) -> T:
    """`work` on the one descriptor of an offer. `mode`: O_RDONLY or O_WRONLY, which it must allow."""
    if not token:
        raise InvalidError("the token of a file is missing")
    handover = await offers.claim(token, peer.uid)
    relays = Relays()
    given = -1
    try:
        if len(handover.descriptors) != 1:
            raise InvalidError(f"one descriptor was expected with the token, {len(handover.descriptors)} came")
        descriptor = handover.descriptors[0]
        check_access(descriptor, mode, "the file")
        if mode == os.O_WRONLY:
            result = await unblocked(work(relays.writable(descriptor)), relays.abort)
        else:
            given = relays.readable(descriptor)
            result = await unblocked(work(given), relays.abort)
        await relays.finish()
        return result
    finally:
        await relays.close()
        if given >= 0:
            os.close(given)
        handover.close()


def check_access(descriptor: int, wanted: int, what: str) -> None:
    """InvalidError unless `descriptor` was opened for `wanted`, O_RDONLY or O_WRONLY."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise InvalidError(f"{what} is a directory")
    if flags & os.O_PATH or flags & os.O_ACCMODE not in (wanted, os.O_RDWR):
        raise InvalidError(f"{what} was not opened for {'writing' if wanted == os.O_WRONLY else 'reading'}")


def _move(source: int, target: int, ours: int) -> asyncio.Task[None]:
    """`ours`, one of the two, is closed at the end: the thread at the pipe's other end sees that."""
    task = asyncio.ensure_future(splice(source, target))
    # Not in a `finally`: a task that is cancelled before it starts never gets there.
    task.add_done_callback(lambda _: os.close(ours))
    return task


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
