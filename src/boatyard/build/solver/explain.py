"""Why a step was not found in the cache: its key's parts, compared with those of the nearest earlier record.

Listings (path -> digest of the files a step read) are packed small, because each record with a content key keeps one:
digests are cut to eight bytes, which tells changed from unchanged but proves nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from boatyard.build.solver.cache import Record

INPUT = "input "
"""The names of components that stand for inputs begin so."""

MOST_NAMES = 10
"""As many changed files are named; the rest are counted."""


def pack(files: Mapping[str, str]) -> bytes:
    text = "\0".join(f"{path}\0{digest.rpartition(':')[2][:16]}" for path, digest in files.items())
    return zlib.compress(text.encode(errors="surrogateescape"), 1)


def unpack(data: bytes) -> dict[str, str]:
    """Nothing, if it is damaged: it only serves to tell."""
    try:
        text = zlib.decompress(data).decode(errors="surrogateescape")
    except zlib.error:
        return {}
    parts = text.split("\0")
    return dict(zip(parts[::2], parts[1::2], strict=False))


def nearest(components: Mapping[str, str], candidates: Sequence[Record]) -> Record | None:
    """The candidate that shares most parts; the newest of equals (candidates come newest first)."""

    def shared(record: Record) -> int:
        return sum(record.components.get(name) == value for name, value in components.items())

    return max(candidates, key=shared, default=None)


def changes(components: Mapping[str, str], earlier: Record) -> list[str]:
    """One line for each part of the op's own key that differs from an earlier record's."""
    lines = []
    for name, value in components.items():
        before = earlier.components.get(name)
        if before is None:
            lines.append(f"{name} is new: {_short(value)}")
        elif before != value:
            lines.append(f"{name} changed: {_short(before)} → {_short(value)}")
    gone = {name: value for name, value in earlier.components.items() if name not in components}
    return lines + [
        f"{name} is gone: was {_short(value)}" for name, value in gone.items() if not name.startswith(INPUT)
    ]


def file_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """One line a changed, new or gone file, at most MOST_NAMES of them and then a count."""
    lines = [
        *(f"file {path} changed" for path, digest in after.items() if path in before and before[path] != digest),
        *(f"file {path} is new" for path in after if path not in before),
        *(f"file {path} is gone" for path in before if path not in after),
    ]
    if len(lines) > MOST_NAMES:
        lines = [*lines[:MOST_NAMES], f"and {len(lines) - MOST_NAMES} more files"]
    return lines


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
