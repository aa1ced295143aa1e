"""Health checks: whether a server is there, and has a service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from boatyard._pb.health_grpc import HealthBase
from boatyard._pb.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListResponse

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)


class Health(HealthBase):
    """A server that answers at all serves everything it has."""

    def __init__(self, services: Callable[[], Collection[str]]) -> None:
        """`services` are full names, such as moby.buildkit.v1.Control."""
        self._services = services

    async def Check(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:  # noqa: N802
        service = await _asked(stream)
        if service and service not in self._services():
            raise GRPCError(Status.NOT_FOUND, f"there is no service {service[:200]}")
        await stream.send_message(_SERVING)

    async def List(self, stream: Stream[Any, HealthListResponse]) -> None:  # noqa: N802
        await stream.recv_message()
        await stream.send_message(HealthListResponse(statuses=dict.fromkeys(["", *self._services()], _SERVING)))

    async def Watch(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:  # noqa: N802
        """Nothing changes as long as the server lives."""
        service = await _asked(stream)
        known = not service or service in self._services()
        status = HealthCheckResponse.SERVING if known else HealthCheckResponse.SERVICE_UNKNOWN
        await stream.send_message(HealthCheckResponse(status=status))
        await asyncio.Event().wait()


async def _asked(stream: Stream[HealthCheckRequest, Any]) -> str:
    request = await stream.recv_message()
    return request.service if request is not None else ""


def names(paths: Collection[str]) -> list[str]:
    """The services that methods such as /moby.buildkit.v1.Control/Solve are of."""
    return sorted({path.split("/")[1] for path in paths})
