"""A client's session: its services on a connection to the daemon, which calls them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from boatyard.errors import BoatyardError
from boatyard.session.announcement import Announcement
from boatyard.session.offered.failure import status_of
from boatyard.wire.grpc.health import Health, names
from boatyard.wire.grpc.server import GrpcServer, ServerConnection, Service

_GRACE = 5.0


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

        self._connections: list[ServerConnection] = []

    def connection(self) -> ServerConnection:
        connection = self._server.connection(self._connections.remove)
        self._connections.append(connection)
        return connection

    async def stop(self) -> None:
        """The session ends: calls that are under way are given up."""
        for connection in self._connections:
            connection.close()
        await self._server.stop(_GRACE)
