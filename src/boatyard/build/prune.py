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
from boatyard.build.source.occupancy import Occupancy
from boatyard.build.usage import CACHE_MOUNT, GIT, LOCAL, Usage, UsageList, matcher
from boatyard.errors import ConflictError, NotFoundError

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
    """Removes records by policy. One per daemon; several threads may prune at once. `sweep` frees the layers and blobs
    nothing holds any more and says how many bytes that gave. Blocks."""

    def __init__(
        self,
        usage: UsageList,
        records: Records,
        cache_mounts: CacheMounts,
        root: Path,
        sweep: Callable[[], int],
        *,
        occupancy: Occupancy | None = None,
        clock: Callable[[], float] = time.time,
        free_space: Callable[[], int] | None = None,
    ) -> None:
        """`free_space`: bytes of the disk that are free; by default those of the one that `root` is on."""
        self._usage = usage
        self._records = records
        self._cache_mounts = cache_mounts
        self._sweep = sweep
        self._occupancy = occupancy or Occupancy()
        self._clock = clock
        self._free_space = free_space or (lambda: shutil.disk_usage(root).free)

    def prune(self, policy: Policy) -> list[Usage]:
        """What was removed, in the order of removal. Sweeps in any case: somebody asked for room."""
        removed = self._removed(policy, self._usage.rows())
        self._sweep()
        return removed

    def candidates(self, policy: Policy) -> list[Usage]:
        """What a policy would remove now, in order."""
        return self._chosen(policy, self._usage.rows())

    def collect(self, policies: Sequence[Policy]) -> list[Usage]:
        """All policies in order: each finds what those before it left."""
        removed: list[Usage] = []
        rows: list[Usage] | None = None
        for policy in policies:
            rows = self._usage.rows() if rows is None else rows
            if gone := self._removed(policy, rows):
                self._sweep()
                removed += gone
                rows = None
        return removed

    def _removed(self, policy: Policy, rows: Sequence[Usage]) -> list[Usage]:
        return [row for row in self._chosen(policy, rows) if self._remove(row)]

    def _chosen(self, policy: Policy, rows: Sequence[Usage]) -> list[Usage]:
        now = self._clock()
        wanted = matcher(policy.filters, now)
        rows = [row for row in rows if wanted(row)]
        removable = [
            row
            for row in rows
            if not row.in_use
            and (policy.all or (row.type not in ("internal", "frontend") and not row.shared))
            and (not policy.keep_duration or now - row.last_used >= policy.keep_duration)
        ]
        # What images hold, too, takes no space of its own.
        excess = self._excess(policy, sum(row.size for row in rows if not row.shared))
        chosen = []
        # The longest unused go first; of those, the ones that were seldom used.
        for row in sorted(removable, key=lambda row: (row.last_used, row.uses)):
            if excess is not None:
                if excess <= 0:
                    break
                excess -= 0 if row.shared else row.size
            chosen.append(row)
        return chosen

    def _excess(self, policy: Policy, total: int) -> int | None:
        """Bytes that must go; None when everything that matches may."""
        if not (policy.reserved_space or policy.max_used_space or policy.min_free_space):
            return None
        excess = 0
        if policy.max_used_space:
            excess = max(excess, total - policy.max_used_space)
        if policy.min_free_space:
            excess = max(excess, policy.min_free_space - self._free_space())
        if not policy.max_used_space and not policy.min_free_space:
            excess = total
        return min(excess, total - policy.reserved_space)

    def _remove(self, row: Usage) -> bool:
        """False when somebody uses it by now, or removed it before."""
        try:
            if row.type == CACHE_MOUNT:
                self._cache_mounts.remove(row.id)
            elif row.path is not None:
                self._occupancy.remove(row.path)
            else:
                self._records.drop(row.id)
        except (ConflictError, NotFoundError):
            return False
        return True
