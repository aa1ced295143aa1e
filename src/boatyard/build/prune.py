"""Garbage collection of what the builder keeps: policies, in BuildKit's terms, and their execution.

A policy names records by filters and bounds them by age and space. Removing a record removes no file by itself: its
layers go with the sweep (`image.gc`) that follows, unless an image, another record or a running build holds them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.solver.cache import Records
from boatyard.build.usage import CACHE_MOUNT, GIT, LOCAL, Usage, UsageList, matcher

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """`keep_duration` in seconds, spaces in bytes; 0 is "no such bound". Without any space bound, all that match go.

    `reserved_space`: so much is always kept. `max_used_space`: more than that is never kept. `min_free_space`: so much
    of the disk is to stay free. `all`: internal and frontend records, and those that images share, too.
    """

    filters: tuple[str, ...] = ()
    keep_duration: float = 0
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0
    all: bool = False


def default_policies(root: Path, **bounds: int) -> tuple[Policy, ...]:
    """What is kept when the configuration doesn't say. `bounds` replace those that the size of the root's disk
    gives."""
    size = shutil.disk_usage(root).total
    bounds = {
        "reserved_space": min(size // 10, 10 * GB),
        "max_used_space": min(size * 8 // 10, 100 * GB),
        "min_free_space": size // 5,
        **bounds,
    }
    bounded = Policy(**bounds)  # type: ignore[arg-type]  # the keys are those of the spaces
    sources = (f"type=={LOCAL}", f"type=={CACHE_MOUNT}", f"type=={GIT}")
    return (
        Policy(filters=sources, keep_duration=48 * 3600, max_used_space=512_000_000),
        replace(bounded, keep_duration=60 * 24 * 3600),
        bounded,
        replace(bounded, all=True),
    )


class Pruner:
    """Removes records by policy. One per daemon. `sweep` frees the layers and blobs nothing holds any more and says how
    many bytes that gave. Blocks."""

    def __init__(
        self,
        usage: UsageList,
        records: Records,
        cache_mounts: CacheMounts,
        root: Path,
        sweep: Callable[[], int],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._usage = usage
        self._records = records
        self._cache_mounts = cache_mounts
        self._root = root
        self._sweep = sweep
        self._clock = clock

    def prune(self, policy: Policy) -> list[Usage]:
        """What was removed, in the order of removal."""
        removed = self.candidates(policy)
        for row in removed:
            self._remove(row)
        if removed:
            self._sweep()
        return removed

    def candidates(self, policy: Policy) -> list[Usage]:
        """What a policy would remove now, in order."""
        rows = self._usage.rows()
        wanted = matcher(policy.filters)
        now = self._clock()
        removable = [
            row
            for row in rows
            if wanted(row)
            and not row.in_use
            and (policy.all or row.type not in ("internal", "frontend"))
            and (policy.all or not row.shared)
            and (not policy.keep_duration or now - max(row.used, row.created) >= policy.keep_duration)
        ]
        excess = self._excess(policy, sum(row.size for row in rows if wanted(row)))
        chosen = []
        # The longest unused go first; of those, the ones that were seldom used.
        for row in sorted(removable, key=lambda row: (max(row.used, row.created), row.uses)):
            if excess is not None:
                if excess <= 0:
                    break
                excess -= row.size
            chosen.append(row)
        return chosen

    def collect(self, policies: Sequence[Policy]) -> list[Usage]:
        """All policies in order: each finds what those before it left."""
        return [row for policy in policies for row in self.prune(policy)]

    def _excess(self, policy: Policy, total: int) -> int | None:
        """Bytes that must go; None when everything that matches may."""
        if not (policy.reserved_space or policy.max_used_space or policy.min_free_space):
            return None
        excess = 0
        if policy.max_used_space:
            excess = max(excess, total - policy.max_used_space)
        if policy.min_free_space:
            excess = max(excess, policy.min_free_space - shutil.disk_usage(self._root).free)
        if not policy.max_used_space and not policy.min_free_space:
            excess = total
        return min(excess, total - policy.reserved_space)

    def _remove(self, row: Usage) -> None:
        if row.type == CACHE_MOUNT:
            self._cache_mounts.remove(row.id)
        elif row.type in (GIT, LOCAL):
            path = self._usage.source_path(row)
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        else:
            self._records.drop(row.id)
