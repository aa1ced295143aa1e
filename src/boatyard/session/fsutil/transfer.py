"""Both sides of a transfer, driven over a call. The machines work in a thread, a batch of messages at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from boatyard.errors import BoatyardError, UnavailableError
from boatyard.image.interruption import run_settled
from boatyard.session.fsutil import packet
from boatyard.session.fsutil.receiver import Receiver
from boatyard.session.fsutil.sender import Sender

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 1 << 19
"""Bytes that are produced at once."""
INTERVAL = 0.1
"""Seconds between two reports of progress."""
_FAREWELL = 2.0
_LITTLE = 2048
"""Bytes that take less time than to hand them to a thread: a few names, the end of a list."""


class Line(Protocol):
    """A call, as far as a transfer needs it. One task receives, one sends."""

    async def receive(self) -> Sequence[bytes]:
        """All messages that are there; waits for one. Empty after the last."""

    async def send(self, messages: Sequence[bytes]) -> None:
        """Waits while the other end takes no more."""


async def receive(line: Line, receiver: Receiver, progress: Callable[[int, int], None] | None = None) -> None:
    """Until everything is there. The other end is told of what goes wrong here. `progress` is told of files and bytes
    that came, now and then and at the end. The receiver stays the caller's."""
    told = _Pace(progress)
    answers = _Outbox(line)
    answering = asyncio.ensure_future(answers.run())
    try:
        while not receiver.finished:
            messages = await _either(line.receive(), answering)
            if not messages:
                raise UnavailableError("the client ended the transfer before everything was there")
            if sum(map(len, messages)) <= _LITTLE:
                answers.put(receiver.feed(messages))
            else:
                answers.put(await run_settled(receiver.feed, messages))
            told.now(receiver.files, receiver.size, last=receiver.finished)
        answers.end()
        await answering
    except BoatyardError as error:
        answering.cancel()
        await _tell(line, error)
        raise
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def send(line: Line, sender: Sender, progress: Callable[[int, int], None] | None = None) -> None:
    """Until the receiver has everything it wants, and has said so. The sender stays the caller's."""
    told = _Pace(progress)
    news = asyncio.Event()
    inbox: list[bytes] = []
    ended = False

    async def listen() -> None:
        nonlocal ended
        while True:
            messages = await line.receive()
            if not messages:
                ended = True
                news.set()
                return
            inbox.extend(messages)
            news.set()

    listening = asyncio.ensure_future(listen())

    def work(messages: Sequence[bytes]) -> list[bytes]:
        sender.feed(messages)
        return sender.produce(BATCH)

    try:
        while not sender.finished:
            if sender.idle and not inbox:
                if ended:
                    raise UnavailableError("the receiver ended the transfer before it had everything")
                news.clear()
                await _either(news.wait(), listening)
            messages, inbox[:] = list(inbox), []
            packets = await run_settled(work, messages)
            if packets:
                await line.send(packets)
            told.now(sender.files, sender.size, last=sender.finished)
    except BoatyardError as error:
        await _tell(line, error)
        raise
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


class _Pace:
    """Tells how far it is, not too often."""

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._next = 0.0

    def now(self, files: int, size: int, *, last: bool) -> None:
        if self._tell is not None and (last or time.monotonic() >= self._next):
            self._tell(files, size)
            self._next = time.monotonic() + INTERVAL


class _Outbox:
    """Answers that wait to be sent: whoever reads must not wait for that, or both ends might wait for each other."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._ended = False

    def put(self, messages: Sequence[bytes]) -> None:
        if messages:
            self._waiting.extend(messages)
            self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def run(self) -> None:
        while True:
            if self._waiting:
                messages, self._waiting = self._waiting, []
                await self._line.send(messages)
            elif self._ended:
                return
            else:
                self._news.clear()
                await self._news.wait()


async def _either(work: Coroutine[Any, Any, T], other: asyncio.Future[None]) -> T:
    """What comes of `work`, unless the other fails first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            other.result()
        return await task
    finally:
        task.cancel()


async def _tell(line: Line, error: BoatyardError) -> None:
    """Best effort: the other end may be what failed."""
    try:
        async with asyncio.timeout(_FAREWELL):
            await line.send([packet.error(error.message)])
    except Exception as problem:
        log.debug("the other end of a transfer isn't told of its failure: %s", problem)
