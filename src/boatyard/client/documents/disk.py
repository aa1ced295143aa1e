"""Disk usage, pruning, cache mounts."""

from __future__ import annotations

import msgspec


class UsageRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`type`: internal, frontend, source.local, source.git.checkout, exec.cachemount, regular, image."""

    id: str
    type: str
    size: int
    created: float
    last_used: float | None = None
    usage_count: int = 0
    description: str = ""
    in_use: bool = False
    mutable: bool = False
    shared: bool = False
    parents: tuple[str, ...] = ()


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    records: tuple[UsageRecord, ...]
    total: int
    reclaimable: int = 0
    shared: int = 0
    private: int = 0


class PruneRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Filters as BuildKit's (`type==exec.cachemount`, `id~=...`, `unused-for=48h`): all must match. Sizes in bytes,
    durations in seconds; 0 is no limit."""

    filters: tuple[str, ...] = ()
    all: bool = False
    keep_duration: float = 0
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0
    images: bool = False
    """Images without a name too."""
    dry_run: bool = False


class Pruned(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    records: tuple[UsageRecord, ...]
    bytes: int


class CacheMount(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    size: int
    sharing: str = ""
    created: float | None = None
    last_used: float | None = None
    usage_count: int = 0
    in_use: bool = False


class CacheMountList(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    mounts: tuple[CacheMount, ...]


class CacheMountTransfer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`token` is a file or pipe: an uncompressed, gzip or zstd tar archive of the cache's files."""

    id: str
    token: str
    compression: str = ""


class CacheMountTransferred(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    id: str
    files: int
    bytes: int


class CacheMountDelete(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `ids` and `all`."""

    ids: tuple[str, ...] = ()
    all: bool = False


class CacheMountsDeleted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    ids: tuple[str, ...]
    bytes: int
