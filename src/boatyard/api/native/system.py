"""The daemon itself."""

from __future__ import annotations

import os
from functools import partial

from boatyard import __version__
from boatyard.api.native.operations import Incoming, Operation
from boatyard.api.native.services import SystemService
from boatyard.client.documents.envelope import Done
from boatyard.client.documents.system import DaemonInfo, Doctor, ShutdownRequest, Stopping, Version


def operations(service: SystemService) -> tuple[Operation, ...]:
    return (
        Operation("GET", "/ping", "Whether the daemon answers.", Done, plain=_ping),
        Operation("GET", "/version", "Versions of the daemon and of this API.", Version, plain=_version),
        Operation("GET", "/info", "What the daemon is, has and uses.", DaemonInfo, plain=partial(_info, service)),
        Operation(
            "GET", "/doctor", "What works on this host, and what is missing.", Doctor, plain=partial(_doctor, service)
        ),
        Operation(
            "POST",
            "/shutdown",
            "Stop the daemon.",
            Stopping,
            request=ShutdownRequest,
            plain=partial(_shutdown, service),
        ),
    )


async def _ping(incoming: Incoming) -> Done:
    return Done()


async def _version(incoming: Incoming) -> Version:
    return Version(version=__version__)


async def _info(service: SystemService, incoming: Incoming) -> DaemonInfo:
    return await service.info()


async def _doctor(service: SystemService, incoming: Incoming) -> Doctor:
    return Doctor(checks=tuple(await service.doctor()))


async def _shutdown(service: SystemService, incoming: Incoming) -> Stopping:
    request: ShutdownRequest = incoming.document
    await service.shutdown(when_idle=request.when_idle)
    return Stopping(pid=os.getpid())
