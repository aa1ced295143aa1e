"""Disk usage, pruning, cache mounts."""

from __future__ import annotations

import os
from functools import partial

from boatyard.api.feed import Feed
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Incoming, Operation, Parameter
from boatyard.api.native.relays import with_file
from boatyard.api.native.services import DiskService
from boatyard.client.documents.disk import (
    CacheMountDelete,
    CacheMountList,
    CacheMountsDeleted,
    CacheMountTransfer,
    CacheMountTransferred,
    Pruned,
    PruneRequest,
    Usage,
)
from boatyard.errors import InvalidError


def operations(service: DiskService, offers: Offers) -> tuple[Operation, ...]:
    return (
        Operation(
            "GET",
            "/usage",
            "What takes how much of the disk.",
            Usage,
            parameters=(Parameter("filter", "one a line, as for pruning"),),
            plain=partial(_usage, service),
        ),
        Operation(
            "POST", "/prune", "Remove what is not needed.", Pruned, request=PruneRequest, plain=partial(_prune, service)
        ),
        Operation("GET", "/cache-mounts", "The cache mounts.", CacheMountList, plain=partial(_list, service)),
        Operation(
            "POST",
            "/cache-mounts/export",
            "Write a cache mount's files to an archive.",
            CacheMountTransferred,
            request=CacheMountTransfer,
            streamed=partial(_export, service, offers),
        ),
        Operation(
            "POST",
            "/cache-mounts/import",
            "Fill a cache mount from an archive.",
            CacheMountTransferred,
            request=CacheMountTransfer,
            streamed=partial(_import, service, offers),
        ),
        Operation(
            "POST",
            "/cache-mounts/delete",
            "Remove cache mounts.",
            CacheMountsDeleted,
            request=CacheMountDelete,
            plain=partial(_delete, service),
        ),
    )


async def _usage(service: DiskService, incoming: Incoming) -> Usage:
    return await service.usage(incoming.lines("filter"))


async def _prune(service: DiskService, incoming: Incoming) -> Pruned:
    return await service.prune(incoming.document)


async def _list(service: DiskService, incoming: Incoming) -> CacheMountList:
    return CacheMountList(mounts=tuple(await service.list_cache_mounts()))


async def _export(service: DiskService, offers: Offers, incoming: Incoming, feed: Feed) -> CacheMountTransferred:
    request: CacheMountTransfer = incoming.document
    return await with_file(
        request.token,
        offers,
        incoming.peer,
        os.O_WRONLY,
        lambda target: service.export_cache_mount(request.id, target, request.compression, feed.emit),
    )


async def _import(service: DiskService, offers: Offers, incoming: Incoming, feed: Feed) -> CacheMountTransferred:
    request: CacheMountTransfer = incoming.document
    return await with_file(
        request.token,
        offers,
        incoming.peer,
        os.O_RDONLY,
        lambda archive: service.import_cache_mount(request.id, archive, feed.emit),
    )


async def _delete(service: DiskService, incoming: Incoming) -> CacheMountsDeleted:
    request: CacheMountDelete = incoming.document
    if bool(request.ids) == request.all:
        raise InvalidError("name the cache mounts to remove, or ask for all of them")
    return await service.delete_cache_mounts(request)
