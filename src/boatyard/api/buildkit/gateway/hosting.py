"""LLBBridge for frontends that the builder itself runs in containers: one connection, one guest.

Satisfies `build.frontend.gateway.conversation.Converse`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from boatyard._pb import worker_pb2
from boatyard.api.buildkit import errors
from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.api.buildkit.gateway.service import LLBBridge
from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge
from boatyard.errors import FrontendError
from boatyard.wire.grpc import health
from boatyard.wire.grpc.limits import GrpcLimits
from boatyard.wire.grpc.server import GrpcServer, Service
from boatyard.wire.http2.limits import Http2Limits

Workers = Callable[[], Awaitable[Sequence[worker_pb2.WorkerRecord]]]

_NAME = "moby.buildkit.v1.frontend.LLBBridge"


class Hosting:
    """One per daemon. `workers`: what Ping tells of this daemon's worker. `patience`: seconds that a guest may take to
    begin; whoever attends to it ends it before."""

    def __init__(self, workers: Workers, *, patience: float = 3600.0) -> None:
        self._workers = workers
        self._limits = GrpcLimits(http2=Http2Limits(handshake_timeout=patience))

    @asynccontextmanager
    async def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> AsyncIterator[GuestConversation]:
        conversation = GuestConversation(Guest(bridge, request), self._workers, self._limits)
        try:
            yield conversation
        finally:
            await conversation.close()


class GuestConversation:
    """Implements `build.frontend.gateway.conversation.Conversation`. Made by `Hosting`."""

    def __init__(self, guest: Guest, workers: Workers, limits: GrpcLimits) -> None:
        async def find(call: Any) -> Guest:
            return guest

        self._guest = guest
        self._loop = asyncio.get_running_loop()
        self._calls = 0
        self._last = self._loop.time()
        services: list[Service] = [LLBBridge(find, workers), health.Health(lambda: [_NAME])]
        self._server = GrpcServer(lambda: services, limits=limits, translate=errors.translate, around=self._counted)
        self.protocol: asyncio.Protocol = self._server.connection()
        self.returned: asyncio.Future[FrontendResult] = asyncio.ensure_future(self._returned())

    async def _returned(self) -> FrontendResult:
        """A step's failure that the guest let pass is told as it was to the guest."""
        try:
            return await self._guest.returned()
        except FrontendError as error:
            if (failed := self._guest.failures.get(error.vertex)) is not None:
                raise failed from failed.__cause__
            raise

    @property
    def quiet_since(self) -> float | None:
        return None if self._calls else self._last

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._last = self._loop.time()

    async def close(self) -> None:
        await self._server.stop(0)
        await self._guest.close()
        await asyncio.wait((self.returned,))
        if not self.returned.cancelled():
            self.returned.exception()  # whoever wanted it has asked
