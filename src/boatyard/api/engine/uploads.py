"""Archives that come in a request of their own, beside that of the build they are for: one waits for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from boatyard.errors import ConflictError, UnavailableError

PATIENCE = 5.0
"""Seconds for which one of the two waits for the other."""


class _Meeting:
    """Of one build. `archive` is a descriptor to read from."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.archive: asyncio.Future[int] = loop.create_future()
        self.taken = asyncio.Event()
        self.done = asyncio.Event()


class Uploads:
    """One per daemon, used on its event loop."""

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._meetings: dict[str, _Meeting] = {}

    async def offer(self, build: str, archive: int) -> None:
        """Returns when the build has read what it wants. UnavailableError when no build of that id takes it;
        ConflictError when it has one."""
        meeting = self._meetings.setdefault(build, _Meeting())
        if meeting.archive.done():
            raise ConflictError(f"build {build[:64]!r} has a context already")
        meeting.archive.set_result(archive)
        try:
            async with asyncio.timeout(self._patience):
                await meeting.taken.wait()
        except TimeoutError as error:
            raise UnavailableError(f"no build {build[:64]!r} came for this context") from error
        finally:
            if not meeting.taken.is_set():
                self._forget(build, meeting)
        await meeting.done.wait()

    @asynccontextmanager
    async def taken(self, build: str) -> AsyncIterator[int]:
        """The archive that was offered, or is within PATIENCE; to be read while the context lasts."""
        meeting = self._meetings.setdefault(build, _Meeting())
        try:
            async with asyncio.timeout(self._patience):
                archive = await asyncio.shield(meeting.archive)
        except TimeoutError as error:
            raise UnavailableError(f"the context of build {build[:64]!r} did not come") from error
        finally:
            if not meeting.archive.done():
                self._forget(build, meeting)
        meeting.taken.set()
        try:
            yield archive
        finally:
            meeting.done.set()
            self._forget(build, meeting)

    def _forget(self, build: str, meeting: _Meeting) -> None:
        if self._meetings.get(build) is meeting:
            del self._meetings[build]
