"""Lines of a source file around what a message is about, as BuildKit's clients print them."""

from __future__ import annotations

_RULE = "-" * 20


def excerpt(filename: str, text: str, start: int, end: int) -> str:
    """`FILE:LINE` and the lines, those from `start` to `end` marked, with a few around them. "" when they aren't in the
    text."""
    lines = text.splitlines()
    start, end = max(start, 1), min(end, len(lines))
    if end < start:
        return ""
    first, last = start, end
    wanted = 4 if first == last else 2
    while wanted > 0:
        wanted -= 1 + (first > 1) + (last < len(lines))
        first, last = max(first - 1, 1), min(last + 1, len(lines))
    shown = [
        f" {number:3d} | {'>>>' if start <= number <= end else '   '} {lines[number - 1]}"
        for number in range(first, last + 1)
    ]
    return "\n".join([f"{filename}:{start}", _RULE, *shown, _RULE, ""])
