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
from boatyard.errors import ConflictError, InvalidError, NotFoundError
from boatyard.image.interruption import run_interruptible, run_settled
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
        rows = await asyncio.to_thread(self._usage.rows, _all(filters))
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
            filters=_all(request.filters),
            keep_duration=request.keep_duration,
            reserved_space=request.reserved_space,
            max_used_space=request.max_used_space,
            min_free_space=request.min_free_space,
            all=request.all,
        )
        if request.dry_run:
            return _pruned(await asyncio.to_thread(self._pruner.candidates, policy))
        if request.images:
            for image in self._images.list():
                if image.dangling:
                    self._images.remove(image.name)
        return _pruned(await run_settled(self._pruner.prune, policy))

    async def list_cache_mounts(self) -> Sequence[CacheMount]:
        mounts = list(self._cache_mounts.walk())
        sizes = await asyncio.to_thread(lambda: [disk_usage(mount.directory) for mount in mounts])
        return [
            CacheMount(
                id=_as_written(mount.info.id),
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
        return await run_settled(self._delete_all if request.all else lambda: self._delete(request.ids))

    def _delete(self, names: Sequence[str]) -> CacheMountsDeleted:
        freed = 0
        for name in names:
            size = disk_usage(self._cache_mounts.get(name).directory)
            self._cache_mounts.remove(name)
            freed += size
        return CacheMountsDeleted(ids=tuple(names), bytes=freed)

    def _delete_all(self) -> CacheMountsDeleted:
        """But those in use."""
        deleted: list[str] = []
        freed = 0
        for mount in list(self._cache_mounts.walk()):
            try:
                freed += self._delete((mount.name,)).bytes
            except (ConflictError, NotFoundError):
                continue
            deleted.append(_as_written(mount.info.id))
        return CacheMountsDeleted(ids=tuple(deleted), bytes=freed)


def _all(filters: Sequence[str]) -> tuple[str, ...]:
    """The API's filters must all match; a list of them, to the builder, is one of which any does."""
    return (",".join(filters),) if filters else ()


def _pruned(rows: Sequence[UsageRow]) -> Pruned:
    """What images hold, too, is not freed with the record."""
    return Pruned(records=tuple(map(_record, rows)), bytes=sum(row.size for row in rows if not row.shared))


def _as_written(id: str) -> str:
    """As `RUN --mount=type=cache,id=` has it, or the target: the frontend puts ids below its namespace's path."""
    return id[1:] if id.startswith("/") else id


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
