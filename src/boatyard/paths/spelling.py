"""A path inside a tree, however it was written."""

from __future__ import annotations

MOST_LINKS = 255
"""Links followed for one path; then it is a loop."""


def clean(path: str) -> str:
    """From any spelling of it, lexically: `/a//b/../c/` is `a/c`."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)
