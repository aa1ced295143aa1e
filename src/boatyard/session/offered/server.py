"""A client's session: its services on a connection to the daemon, which calls them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from boatyard.errors import BoatyardError
from boatyard.session.announcement import Announcement
from boatyard.session.offered.failure import status_of
from boatyard.wire.grpc.health import Health, names
from boatyard.wire.grpc.server import GrpcServer, ServerConnection, Service


class Offered:
    """One session. Made by whoever has a connection, which `connection` is the protocol for."""

    def __init__(self, services: Sequence[Service], *, name: str = "", shared_key: str = "") -> None:
        paths = [path for service in services for path in service.__mapping__()]
        served = [*services, Health(lambda: names(paths))]
        self.announcement = Announcement(
            os.urandom(16).hex(),
            name,
            shared_key,
            frozenset(path for service in served for path in service.__mapping__()),
        )
        self._server = GrpcServer(
            lambda: served,
            translate=lambda error: status_of(error) if isinstance(error, BoatyardError) else None,
        )

    def connection(self) -> ServerConnection:
        return self._server.connection()

    async def stop(self, grace: float = 0) -> None:
        await self._server.stop(grace)
