"""How a process that the daemon runs for a client is connected to it: three descriptors, or a terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from boatyard.api.feed import Feed
from boatyard.api.native.offers import Handover, Offers
from boatyard.client.documents.envelope import TerminalEvent
from boatyard.errors import InvalidError
from boatyard.runtime.container import Stdio, TerminalReceiver
from boatyard.wire.peer import Peer


class ClientTerminal:
    """Sends a pseudo-terminal's master to the client, and an event that says so.

    A `runtime.container.TerminalReceiver`; may be called from any thread."""

    def __init__(self, handover: Handover, feed: Feed) -> None:
        self._handover = handover
        self._feed = feed
        self._loop = asyncio.get_running_loop()

    def __call__(self, master_fd: int) -> None:
        try:
            self._handover.deliver([master_fd])
        finally:
            # The client holds the only copy now: when it goes, the process gets a hang-up.
            os.close(master_fd)
        self._loop.call_soon_threadsafe(self._feed.emit, TerminalEvent(token=self._handover.token))


@asynccontextmanager
async def open_terminal(token: str, offers: Offers, peer: Peer, feed: Feed) -> AsyncIterator[ClientTerminal | None]:
    """None when the request names no terminal."""
    if not token:
        yield None
        return
    handover = await offers.claim(token, peer.uid)
    try:
        yield ClientTerminal(handover, feed)
    finally:
        handover.close()


@asynccontextmanager
async def open_stdio(
    stdio: str, terminal: str, offers: Offers, peer: Peer, feed: Feed
) -> AsyncIterator[Stdio | TerminalReceiver]:
    """InvalidError unless exactly one of the two tokens is given."""
    if bool(stdio) == bool(terminal):
        raise InvalidError("give either stdio (three descriptors) or a terminal")
    handover = await offers.claim(stdio or terminal, peer.uid)
    try:
        if terminal:
            yield ClientTerminal(handover, feed)
        elif len(handover.descriptors) != 3:
            raise InvalidError(f"stdio takes three descriptors, {len(handover.descriptors)} came")
        else:
            yield Stdio(*handover.descriptors)
    finally:
        handover.close()
