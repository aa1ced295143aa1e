"""The sessions that are live. Requests name them by id, and may come before the session they name."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from grpclib.client import Channel

from boatyard.errors import ConflictError, StorageError, UnavailableError
from boatyard.session.announcement import Announcement
from boatyard.session.health import Patience, watch
from boatyard.session.session import Session

log = logging.getLogger(__name__)

WAIT = 5.0
"""Seconds within which a session that a request names has to be there."""
MOST = 1000


class _Lasting(Protocol):
    async def wait_closed(self) -> None: ...


class Sessions:
    """One per daemon; used on its event loop."""

    def __init__(self, *, patience: Patience | None = None, wait: float = WAIT, most: int = MOST) -> None:
        self._live: dict[str, Session] = {}
        self._changed = asyncio.Condition()
        self._patience = patience or Patience()
        self._wait = wait
        self._most = most

    def __len__(self) -> int:
        return len(self._live)

    def check(self, announcement: Announcement) -> None:
        """Before a connection is taken over for a session: ConflictError or StorageError when it would be refused."""
        if announcement.id in self._live:
            raise ConflictError(f"there is a session {announcement.id!r} already")
        if len(self._live) >= self._most:
            raise StorageError(f"there are {self._most} sessions already", hint="end some builds")

    async def serve(self, announcement: Announcement, channel: Channel, *, peer: str = "") -> str:
        """A client's session, for as long as it lasts: until its connection ends, which is that of `channel`, or the
        client doesn't answer, or this is cancelled. Why it ended. `peer`: see Session."""
        self.check(announcement)
        session = Session(announcement, channel, peer)
        self._live[session.id] = session
        log.debug("session %s of %s begins", session.id, session.name or "a client")
        await self._tell()
        patience = self._patience
        if announcement.patience:
            patience = Patience(announcement.patience, announcement.patience, failures=1)
        watching = asyncio.ensure_future(watch(session, patience))
        closing = asyncio.ensure_future(cast(_Lasting, channel).wait_closed())
        try:
            await asyncio.wait((watching, closing), return_when=asyncio.FIRST_COMPLETED)
            session.end("the connection was closed")
            return await session.wait_ended()
        finally:
            session.end("the daemon gave it up")
            del self._live[session.id]
            watching.cancel()
            closing.cancel()
            await asyncio.gather(watching, closing, return_exceptions=True)
            log.debug("session %s has ended", session.id)

    def find(self, id: str) -> Session | None:
        """The live session of that id; doesn't wait."""
        return self._live.get(id)

    async def get(self, id: str, *, within: float | None = None) -> Session:
        """The live session of that id, or of what follows the colon in it; waits for it to come, for so many seconds.
        UnavailableError when it doesn't."""
        _, colon, rest = id.partition(":")
        id = rest if colon and rest else id
        limit = self._wait if within is None else within
        try:
            async with asyncio.timeout(limit), self._changed:
                await self._changed.wait_for(lambda: id in self._live)
                return self._live[id]
        except TimeoutError as error:
            raise UnavailableError(
                f"no session {id[:64]!r} came within {limit:g} seconds",
                hint="the client that asked for the build has to keep its session open",
            ) from error

    async def any(self, *ids: str) -> Session:
        """The first of those sessions that is live; waits if none is."""
        for id in ids:
            if session := self._live.get(id):
                return session
        if not ids:
            raise UnavailableError("this build has no session of its client")
        return await self.get(ids[0])

    def end_all(self, reason: str) -> None:
        for session in list(self._live.values()):
            session.end(reason)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
