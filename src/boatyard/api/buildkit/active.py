"""The builds that clients of this face run, and those that ended a moment ago: calls about a build may come before the
one that begins it, and after its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.errors import BoatyardError, ConflictError, NotFoundError

WAIT = 6.0
"""Seconds to wait for a build that a call names."""
LINGER = 10.0


class ActiveBuild:
    """One build, from the request that names it to its end. `begun`: it is being recorded, or never will be."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.begun = asyncio.Event()
        self.ended = False
        self.work: asyncio.Future[Any] | None = None
        """The build, once it runs."""
        self._guest: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()

    def serve(self, guest: Guest) -> None:
        """It is known as this build's from now on."""
        if not self._guest.done():
            self._guest.set_result(guest)

    async def guest(self) -> Guest:
        """The frontend outside of the builder, once it is one. NotFoundError when the build has none."""
        return await asyncio.shield(self._guest)

    def end(self, error: BoatyardError) -> None:
        self.ended = True
        self.begun.set()
        self.work = None  # it holds all that the build had
        if not self._guest.done():
            self._guest.set_exception(error)
            self._guest.exception()  # it may be that nobody asks


class ActiveBuilds:
    """One per daemon, used on its event loop."""

    def __init__(self, *, wait: float = WAIT, linger: float = LINGER) -> None:
        self._builds: dict[str, ActiveBuild] = {}
        self._changed = asyncio.Condition()
        self._wait = wait
        self._linger = linger

    @asynccontextmanager
    async def begin(self, ref: str) -> AsyncIterator[ActiveBuild]:
        """ConflictError when there is one of that ref."""
        known = self._builds.get(ref)
        if known is not None and not known.ended:
            raise ConflictError(f"a build with the ref {ref!r} is running")
        build = self._builds[ref] = ActiveBuild(ref)
        async with self._changed:
            self._changed.notify_all()
        try:
            yield build
        finally:
            build.end(NotFoundError(f"no such job {ref}"))
            asyncio.get_running_loop().call_later(self._linger, self._forget, build)

    def _forget(self, build: ActiveBuild) -> None:
        if self._builds.get(build.ref) is build:
            del self._builds[build.ref]

    def cancel_all(self) -> None:
        """Those that run; whoever asked for them is told."""
        for build in self._builds.values():
            if build.work is not None:
                build.work.cancel()

    def find(self, ref: str) -> ActiveBuild | None:
        return self._builds.get(ref)

    async def get(self, ref: str) -> ActiveBuild:
        """Waits for it to be known. NotFoundError when it doesn't come."""
        if build := self._builds.get(ref):
            return build
        try:
            async with asyncio.timeout(self._wait), self._changed:
                await self._changed.wait_for(lambda: ref in self._builds)
        except TimeoutError:
            raise NotFoundError(f"no such job {ref}") from None
        return self._builds[ref]
