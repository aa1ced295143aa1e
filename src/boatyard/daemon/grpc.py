"""The daemon's gRPC face. What it is made of is loaded when the first client speaks HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boatyard.daemon.activity import Activity
from boatyard.daemon.wiring import Yard

if TYPE_CHECKING:
    from grpclib.exceptions import GRPCError

    from boatyard.api.buildkit.active import ActiveBuilds
    from boatyard.api.buildkit.trace import BuildTraces
    from boatyard.wire.grpc.server import GrpcServer, ServerConnection, Service

_CONTROL = "/moby.buildkit.v1.Control/"
_NO_WORK = (
    "/grpc.health.v1.Health/",
    *(_CONTROL + name for name in ("Info", "ListWorkers", "Session", "ListenBuildHistory")),
)
"""Asking how the daemon is, or waiting for something to happen, is no work."""
_LEAVE = 0.5
"""Seconds for calls that are no work to end."""


class GrpcFace:
    """One per daemon."""

    def __init__(self, yard: Yard, activity: Activity) -> None:
        self._yard = yard
        self._activity = activity
        self._server: GrpcServer | None = None
        self._builds: ActiveBuilds | None = None
        self._traces: BuildTraces | None = None
        self._at_work = 0
        self._done = asyncio.Event()

    def connection(self, on_lost: Callable[[Any], None] | None = None) -> ServerConnection:
        """The protocol for a connection that speaks HTTP/2, whichever way it came to do so."""
        if self._server is None:
            from boatyard.wire.grpc.server import GrpcServer

            self._server = GrpcServer(self._services, translate=_translate, around=self._counted)
        return self._server.connection(on_lost)

    def cancel_builds(self) -> None:
        if self._builds is not None:
            self._builds.cancel_all()

    async def stop(self, grace: float) -> None:
        """Calls that are at work have that many seconds to be answered; those that wait for something have not."""
        if self._server is not None:
            for connection in list(self._server.connections):
                connection.close_when_idle()
            try:
                async with asyncio.timeout(grace):
                    while self._at_work:
                        self._done.clear()
                        await self._done.wait()
            except TimeoutError:
                pass  # they are cut off now
            self._yard.sessions.end_all("the daemon is stopping")
            await self._server.stop(_LEAVE)
        if self._traces is not None:
            await self._traces.close()

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        if path.startswith(_NO_WORK):
            yield
            return
        self._at_work += 1
        try:
            with self._activity.working():
                yield
        finally:
            self._at_work -= 1
            self._done.set()

    def _services(self) -> list[Service]:
        """Everything that is served."""
        from boatyard.api.buildkit import workers
        from boatyard.api.buildkit.active import ActiveBuilds
        from boatyard.api.buildkit.backend import Backend, Worker
        from boatyard.api.buildkit.content import Content
        from boatyard.api.buildkit.control import Control
        from boatyard.api.buildkit.gateway.service import LLBBridge
        from boatyard.api.buildkit.trace import BuildTraces, Spans, TraceService
        from boatyard.wire.grpc import health

        yard = self._yard
        worker = Worker(yard.worker_id, yard.platforms, yard.labels, yard.gc_policies, yard.devices)
        backend = Backend(
            builder=yard.builds,
            history=yard.history,
            usage=yard.usage,
            pruner=yard.pruner,
            content=yard.content,
            places=yard.sessions.places(),
            worker=worker,
        )
        spans = Spans()
        self._traces = BuildTraces(yard.history, spans)
        self._builds = ActiveBuilds()
        control = Control(backend, self._builds, self._traces)
        services: list[Service] = [
            control,
            LLBBridge(control.guest, lambda: workers.records(worker, ())),
            Content(yard.history.attachments, yard.content),
            TraceService(spans),
        ]
        names = health.names([path for service in services for path in service.__mapping__()])
        return [*services, health.Health(lambda: names)]


def _translate(error: Exception) -> GRPCError | None:
    from boatyard.api.buildkit import errors

    return errors.translate(error)
