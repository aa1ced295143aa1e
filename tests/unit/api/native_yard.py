"""A native API served in the test's own loop, over real sockets, with services the test gives."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from boatyard.api.native.offers import Offers
from boatyard.api.native.router import application
from boatyard.api.native.services import Services
from boatyard.api.stream import Running
from boatyard.client.aio import AsyncClient
from boatyard.client.documents.system import Check, DaemonInfo
from boatyard.errors import ConflictError
from boatyard.wire.listener import Server
from boatyard.wire.seqpacket import PacketListener


class System:
    def __init__(self) -> None:
        self.busy = False
        self.stopped = False

    async def info(self) -> DaemonInfo:
        return DaemonInfo(
            version="1",
            api=1,
            pid=os.getpid(),
            started=0,
            root="/r",
            config_file="",
            addresses=(),
            autostarted=False,
            idle_timeout=0,
            rootless=False,
            running=0,
        )

    async def doctor(self) -> Sequence[Check]:
        return [Check(name="runtime", status="ok")]

    async def shutdown(self, *, when_idle: bool) -> None:
        if when_idle and self.busy:
            raise ConflictError("busy", hint="wait")
        self.stopped = True


class Anything:
    """A service made of the functions it is given; the protocols' other methods don't exist."""

    def __init__(self, **functions: object) -> None:
        self.__dict__.update(functions)


@dataclass
class Yard:
    path: str
    client: AsyncClient
    offers: Offers
    running: Running
    system: System


@asynccontextmanager
async def yard(directory: Path, offers: Offers | None = None, **services: object) -> AsyncIterator[Yard]:
    offers = offers or Offers()
    running, system = Running(), System()
    path = str(directory / "boatd.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    packets.bind(str(directory / "descriptors.sock"))
    server = Server(application(Services(system=system, **services), offers, running))  # type: ignore[arg-type]
    listener = PacketListener(packets, offers)
    await server.listen(listening)
    try:
        async with AsyncClient(path) as client:
            yield Yard(path, client, offers, running, system)
    finally:
        await server.stop(1)
        listener.close()
        offers.close()
