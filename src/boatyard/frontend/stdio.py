"""Standard input and output as the way to the builder.

From the moment they are taken over, what the frontend prints goes to standard error, and reading from standard input
finds nothing: neither can disturb the conversation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from boatyard.frontend.bridge import LIMITS, Bridge
from boatyard.wire.duplex import Duplex, carried
from boatyard.wire.grpc.channel import Channel


class Stdio:
    """Made by `take_over`."""

    def __init__(self, readable: int, writable: int) -> None:
        self._readable = readable
        self._writable = writable

    async def serve(self, work: Callable[[Bridge], Awaitable[int]]) -> int:
        """Connect, do the work, let the last words arrive."""
        channel = Channel(limits=LIMITS)
        async with carried(channel.protocol, Duplex(self._readable, self._writable)):
            try:
                return await work(await Bridge.connect(channel))
            finally:
                channel.close()


@contextmanager
def take_over() -> Iterator[Stdio]:
    sys.stdout.flush()
    readable, writable = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    yield Stdio(readable, writable)
    sys.stdout.flush()
