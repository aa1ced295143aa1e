"""Disk usage and pruning, in BuildKit's messages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from boatyard._pb.control_pb2 import DiskUsageRequest, PruneRequest, UsageRecord
from boatyard.api.buildkit import values
from boatyard.build.prune import Policy
from boatyard.build.usage import Usage, UsageList


def usage(request: DiskUsageRequest, known: UsageList) -> list[UsageRecord]:
    """Blocks."""
    rows = known.rows(request.filter)
    if request.ageLimit > 0:
        limit = time.time() - request.ageLimit / values.NANO
        rows = [row for row in rows if row.last_used <= limit]
    return [record(row) for row in rows]


def policy(request: PruneRequest) -> Policy:
    return Policy(
        filters=tuple(request.filter),
        keep_duration=max(request.keepDuration, 0) / values.NANO,
        reserved_space=max(request.reservedSpace, 0),
        max_used_space=max(request.maxUsedSpace, 0),
        min_free_space=max(request.minFreeSpace, 0),
        all=request.all,
    )


def record(row: Usage) -> UsageRecord:
    return UsageRecord(
        ID=row.id,
        Mutable=row.mutable,
        InUse=row.in_use,
        Size=row.size,
        Parents=row.parents,
        CreatedAt=values.timestamp(row.created),
        LastUsedAt=values.timestamp(row.used) if row.used else None,
        UsageCount=row.uses,
        Description=row.description,
        RecordType=row.type,
        Shared=row.shared,
    )


def records(rows: Sequence[Usage]) -> list[UsageRecord]:
    return [record(row) for row in rows]
