"""Disk usage, pruning, cache mounts."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.client.calls.call import Call, StreamCall
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


def usage(filters: Sequence[str] = ()) -> Call[Usage]:
    return Call("GET", "/usage", Usage, query={"filter": "\n".join(filters)} if filters else {})


def prune(request: PruneRequest) -> Call[Pruned]:
    return Call("POST", "/prune", Pruned, body=request)


def list_cache_mounts() -> Call[CacheMountList]:
    return Call("GET", "/cache-mounts", CacheMountList)


def export_cache_mount(request: CacheMountTransfer) -> StreamCall[CacheMountTransferred]:
    return StreamCall("POST", "/cache-mounts/export", CacheMountTransferred, body=request)


def import_cache_mount(request: CacheMountTransfer) -> StreamCall[CacheMountTransferred]:
    return StreamCall("POST", "/cache-mounts/import", CacheMountTransferred, body=request)


def delete_cache_mounts(request: CacheMountDelete) -> Call[CacheMountsDeleted]:
    return Call("POST", "/cache-mounts/delete", CacheMountsDeleted, body=request)
