"""Connections that leave HTTP/1.1 for BuildKit's gRPC: `/grpc`, on which the daemon answers, and `/session`, on which
it asks.

What speaks gRPC is loaded with the first of them. Specification: moby/moby, `api/server/router/grpc`; moby/buildkit,
`session/manager.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from boatyard.api.engine.call import Call
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.errors import InvalidError
from boatyard.wire.asgi import hijack, peer
from boatyard.wire.rawstream import RawStream

if TYPE_CHECKING:
    from boatyard.session.registry import Sessions

_PROTOCOL = "h2c"


def routes(services: Services) -> tuple[Route, ...]:
    found = []
    if services.grpc is not None:
        found.append(Route("POST", "/grpc", partial(_grpc, services.grpc)))
    if services.sessions is not None:
        found.append(Route("POST", "/session", partial(_session, services.sessions)))
    return tuple(found)


async def _grpc(protocol: Callable[[], asyncio.Protocol], call: Call) -> None:
    (await upgraded(call)).adopt(protocol())


async def _session(sessions: Callable[[], Sessions], call: Call) -> None:
    """Lasts as long as the session."""
    from boatyard.session import announcement
    from boatyard.wire.grpc.channel import Channel

    registry = sessions()
    announced = announcement.read(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in call.scope["headers"]
    )
    check_upgrade(call)
    registry.check(announced)
    task = asyncio.current_task()
    assert task is not None
    call.running.add(task)
    channel = Channel()
    client = peer(call.scope)
    (await upgraded(call)).adopt(channel.protocol)
    await registry.serve(announced, channel, peer=f"uid {client.uid}" if client else "")


async def upgraded(call: Call) -> RawStream:
    """The connection, after the client was told that it is one for HTTP/2 now. InvalidError when it didn't ask."""
    check_upgrade(call)
    await call.body()
    headers = ((b"Connection", b"Upgrade"), (b"Upgrade", _PROTOCOL.encode("ascii")))
    return hijack(call.scope, headers=headers)


def check_upgrade(call: Call) -> None:
    asked = call.header("upgrade")
    if not asked:
        raise InvalidError("no upgrade proto in request")
    if asked.lower() != _PROTOCOL:
        raise InvalidError(f"protocol {asked[:40]} not supported")
