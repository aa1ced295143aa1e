"""The daemon's gRPC face. What it is made of is loaded when the first client speaks HTTP/2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boatyard.daemon.activity import Activity
from boatyard.daemon.wiring import Yard

if TYPE_CHECKING:
    from boatyard.wire.grpc.server import GrpcServer, ServerConnection, Service

_NO_WORK = ("/grpc.health.v1.Health/", "/moby.buildkit.v1.Control/Info", "/moby.buildkit.v1.Control/ListWorkers")
"""Asking how the daemon is, is no work."""


class GrpcFace:
    """One per daemon."""

    def __init__(self, yard: Yard, activity: Activity) -> None:
        self._yard = yard
        self._activity = activity
        self._server: GrpcServer | None = None

    def connection(self, on_lost: Callable[[Any], None] | None = None) -> ServerConnection:
        """The protocol for a connection that speaks HTTP/2, whichever way it came to do so."""
        if self._server is None:
            from boatyard.wire.grpc.server import GrpcServer

            self._server = GrpcServer(lambda: _services(self._yard), around=self._counted)
        return self._server.connection(on_lost)

    async def stop(self, grace: float) -> None:
        if self._server is not None:
            await self._server.stop(grace)

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        if path.startswith(_NO_WORK):
            yield
        else:
            with self._activity.working():
                yield


def _services(yard: Yard) -> list[Service]:
    """Everything that is served."""
    from boatyard.wire.grpc import health

    services: list[Service] = []
    names = health.names([path for service in services for path in service.__mapping__()])
    return [*services, health.Health(lambda: names)]
