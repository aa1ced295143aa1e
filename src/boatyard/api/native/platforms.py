"""Platforms whose programs run on this machine."""

from __future__ import annotations

from functools import partial

from boatyard.api.native.operations import Incoming, Operation
from boatyard.api.native.services import PlatformService
from boatyard.client.documents.platforms import PlatformList, PlatformRequest, PlatformsChanged


def operations(service: PlatformService) -> tuple[Operation, ...]:
    return (
        Operation(
            "GET",
            "/platforms",
            "Platforms whose programs run here, or could.",
            PlatformList,
            plain=partial(_list, service),
        ),
        Operation(
            "POST",
            "/platforms/install",
            "Have programs of other architectures emulated.",
            PlatformsChanged,
            request=PlatformRequest,
            plain=partial(_install, service),
        ),
        Operation(
            "POST",
            "/platforms/uninstall",
            "Have them emulated no more.",
            PlatformsChanged,
            request=PlatformRequest,
            plain=partial(_uninstall, service),
        ),
    )


async def _list(service: PlatformService, incoming: Incoming) -> PlatformList:
    return PlatformList(platforms=tuple(await service.list_platforms()))


async def _install(service: PlatformService, incoming: Incoming) -> PlatformsChanged:
    return await service.install_platforms(incoming.document)


async def _uninstall(service: PlatformService, incoming: Incoming) -> PlatformsChanged:
    return await service.uninstall_platforms(incoming.document)
