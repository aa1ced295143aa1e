"""Disk usage, pruning, cache mounts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.ops.cachemount_archive import pack, unpack
from boatyard.build.prune import Policy, Pruner
from boatyard.build.usage import Usage as UsageRow
from boatyard.build.usage import UsageList, disk_usage
from boatyard.client.documents.disk import (
    CacheMount,
    CacheMountDelete,
    CacheMountsDeleted,
    CacheMountTransferred,
    Pruned,
    PruneRequest,
    Usage,
    UsageRecord,
)
from boatyard.errors import InvalidError
from boatyard.image.interruption import run_interruptible
from boatyard.image.store import ImageStore
from boatyard.progress import Emit


class Disk:
    """Implements `DiskService` of the native API."""

    def __init__(self, usage: UsageList, pruner: Pruner, cache_mounts: CacheMounts, images: ImageStore) -> None:
        self._usage = usage
        self._pruner = pruner
        self._cache_mounts = cache_mounts
        self._images = images

    async def usage(self, filters: Sequence[str]) -> Usage:
        rows = await asyncio.to_thread(self._usage.rows, filters)
        shared = sum(row.size for row in rows if row.shared)
        total = sum(row.size for row in rows)
        return Usage(
            records=tuple(_record(row) for row in rows),
            total=total,
            reclaimable=sum(row.size for row in rows if not row.in_use and not row.shared),
            shared=shared,
            private=total - shared,
        )

    async def prune(self, request: PruneRequest) -> Pruned:
        policy = Policy(
            filters=request.filters,
            keep_duration=request.keep_duration,
            reserved_space=request.reserved_space,
            max_used_space=request.max_used_space,
            min_free_space=request.min_free_space,
            all=request.all,
        )
        if request.dry_run:
            rows = await asyncio.to_thread(self._pruner.candidates, policy)
            return Pruned(records=tuple(_record(row) for row in rows), bytes=sum(row.size for row in rows))
        if request.images:
            for image in self._images.list():
                if image.dangling:
                    self._images.remove(image.name)
        removed = await asyncio.to_thread(self._pruner.prune, policy)
        return Pruned(records=tuple(_record(row) for row in removed), bytes=sum(row.size for row in removed))

    async def list_cache_mounts(self) -> Sequence[CacheMount]:
        mounts = list(self._cache_mounts.walk())
        sizes = await asyncio.to_thread(lambda: [disk_usage(mount.directory) for mount in mounts])
        return [
            CacheMount(
                id=mount.info.id,
                size=size,
                sharing=mount.info.sharing,
                created=mount.info.created,
                last_used=mount.info.used,
                usage_count=mount.info.uses,
                in_use=mount.in_use,
            )
            for mount, size in zip(mounts, sizes, strict=True)
        ]

    async def export_cache_mount(self, id: str, target_fd: int, compression: str, emit: Emit) -> CacheMountTransferred:
        async with self._cache_mounts.exclusively(id) as directory:
            files, size = await run_interruptible(lambda stop: pack(directory, target_fd, compression))
        return CacheMountTransferred(id=id, files=files, bytes=size)

    async def import_cache_mount(self, id: str, archive_fd: int, emit: Emit) -> CacheMountTransferred:
        async with self._cache_mounts.exclusively(id, create=True) as directory:
            files, size = await run_interruptible(lambda stop: unpack(archive_fd, directory))
        return CacheMountTransferred(id=id, files=files, bytes=size)

    async def delete_cache_mounts(self, request: CacheMountDelete) -> CacheMountsDeleted:
        if bool(request.ids) == request.all:
            raise InvalidError("name cache mounts, or all of them, not both")
        ids = request.ids or tuple(mount.info.id for mount in self._cache_mounts.walk() if not mount.in_use)
        freed = 0
        for id in ids:
            freed += await asyncio.to_thread(disk_usage, self._cache_mounts.get(id).directory)
            self._cache_mounts.remove(id)
        return CacheMountsDeleted(ids=ids, bytes=freed)


def _record(row: UsageRow) -> UsageRecord:
    return UsageRecord(
        id=row.id,
        type=row.type,
        size=row.size,
        created=row.created,
        last_used=row.used,
        usage_count=row.uses,
        description=row.description,
        in_use=row.in_use,
        mutable=row.mutable,
        shared=row.shared,
        parents=row.parents,
    )
