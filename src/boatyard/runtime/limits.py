"""Resource limits (`ulimit`) as OCI rlimits, cut to what this host permits.

Without CAP_SYS_RESOURCE the kernel refuses a hard limit above one's own, and the container would not start.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence

from boatyard.errors import InvalidError
from boatyard.runtime.container import Limit

UNLIMITED = (1 << 64) - 1

KINDS = {
    name: getattr(resource, f"RLIMIT_{name.upper()}")
    for name in (
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
    if hasattr(resource, f"RLIMIT_{name.upper()}")
} | {"locks": 10}


def own_hard_limit(name: str) -> int:
    hard = resource.getrlimit(KINDS[name])[1]
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard


def rlimits(
    limits: Sequence[Limit], *, may_raise: bool, hard_limit: Callable[[str], int] = own_hard_limit
) -> tuple[list[dict[str, object]], list[str]]:
    """OCI `process.rlimits` and the warnings about what was cut. -1 is unlimited. Raises InvalidError for an unknown
    name or soft > hard.
    """
    entries: list[dict[str, object]] = []
    warnings: list[str] = []
    for limit in limits:
        if limit.name not in KINDS:
            raise InvalidError(f"unknown ulimit {limit.name!r}", hint=f"known are: {', '.join(sorted(KINDS))}")
        soft, hard = (UNLIMITED if value < 0 else value for value in (limit.soft, limit.hard))
        if soft > hard:
            raise InvalidError(f"ulimit {limit.name}: the soft limit {limit.soft} is above the hard limit {limit.hard}")
        ceiling = UNLIMITED if may_raise else hard_limit(limit.name)
        if hard > ceiling:
            warnings.append(
                f"ulimit {limit.name} is cut to {ceiling}: this host permits no more (asked for {limit.hard})"
            )
        entries.append({"type": f"RLIMIT_{limit.name.upper()}", "soft": min(soft, ceiling), "hard": min(hard, ceiling)})
    return entries, warnings
