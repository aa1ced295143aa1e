"""Connections that leave HTTP/1.1 for BuildKit's gRPC: `/grpc`, on which the daemon answers.

Specification: moby/moby, `api/server/router/grpc`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from boatyard.api.engine.call import Call
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.errors import InvalidError
from boatyard.wire.asgi import hijack
from boatyard.wire.rawstream import RawStream

_PROTOCOL = "h2c"


def routes(services: Services) -> tuple[Route, ...]:
    return (Route("POST", "/grpc", partial(_grpc, services.grpc)),) if services.grpc is not None else ()


async def _grpc(protocol: Callable[[], asyncio.Protocol], call: Call) -> None:
    (await upgraded(call)).adopt(protocol())


async def upgraded(call: Call) -> RawStream:
    """The connection, after the client was told that it is one for HTTP/2 now. InvalidError when it didn't ask."""
    asked = call.header("upgrade")
    if not asked:
        raise InvalidError("no upgrade proto in request")
    if asked.lower() != _PROTOCOL:
        raise InvalidError(f"protocol {asked[:40]} not supported")
    await call.body()
    headers = ((b"Connection", b"Upgrade"), (b"Upgrade", _PROTOCOL.encode("ascii")))
    return hijack(call.scope, headers=headers)
