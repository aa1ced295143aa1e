"""One live session, as the daemon sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpclib.client import Channel

from boatyard.errors import UnavailableError
from boatyard.session.announcement import Announcement


class Session:
    """Made and ended by the registry. Any number of builds may use it; calls on its channel fail once it has ended."""

    def __init__(self, announcement: Announcement, channel: Channel, peer: str = "") -> None:
        """`peer`: whose client it is, as far as that is known. Nothing is shared between sessions of different ones."""
        self.id = announcement.id
        self.name = announcement.name
        self.shared_key = announcement.shared_key
        self.peer = peer
        self.channel = channel
        self._methods = frozenset(method.lower() for method in announcement.methods)
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def supports(self, method: str) -> bool:
        """Whether the client serves a method: `/package.Service/Method`, in any case."""
        return method.lower() in self._methods

    @property
    def is_live(self) -> bool:
        return not self._ended.done()

    async def wait_ended(self) -> str:
        """Why it ended, once it has."""
        return await asyncio.shield(self._ended)

    def end(self, reason: str) -> None:
        """All calls that are under way fail. Idempotent."""
        if not self._ended.done():
            self._ended.set_result(reason)
            self.channel.close()

    @asynccontextmanager
    async def needed(self) -> AsyncIterator[None]:
        """What happens within depends on the session: when that ends, it is cancelled, and UnavailableError raised."""
        task = asyncio.current_task()
        assert task is not None
        wanted = task.cancelling()
        cut = False

        def cancel(_: asyncio.Future[str]) -> None:
            nonlocal cut
            cut = True
            task.cancel()

        self.check()
        self._ended.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if cut and task.uncancel() <= wanted:
                cut = False
                raise self._gone() from None
            raise  # somebody else wants this task to end, too
        finally:
            self._ended.remove_done_callback(cancel)

    def check(self) -> None:
        """UnavailableError once it has ended."""
        if self._ended.done():
            raise self._gone()

    def _gone(self) -> UnavailableError:
        return UnavailableError(
            f"the client's session has ended: {self._ended.result()}", hint="is the client still running?"
        )

    def __repr__(self) -> str:
        return f"Session({self.id!r})"
