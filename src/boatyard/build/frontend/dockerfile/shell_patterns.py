"""The patterns of `${x#pattern}`, `${x%pattern}` and `${x/pattern/replacement}`: `*` and `?`, no brackets.

A backslash protects `*`, `?` and itself, and the `}` or `/` that would end the pattern. Matching takes time in
proportion to the text, whatever the pattern: it is split at its stars, and each piece is looked for once.

Specification: the Dockerfile reference, "Environment replacement"; POSIX shell, 2.14.
"""

from __future__ import annotations

import re

from boatyard.errors import InvalidError

Piece = tuple[str | None, ...]
"""Characters in a row; None is any one."""
Pattern = tuple[Piece, ...]
"""The pieces between stars: one more than there are stars."""


def parse(text: str, escape: str = "\\") -> Pattern:
    """InvalidError when a backslash protects what needs no protection, or nothing."""
    pieces: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        char = text[at]
        following = text[at + 1 : at + 2]
        at += 1
        if char == "*":
            pieces.append([])
        elif char == "?":
            pieces[-1].append(None)
        elif char in ("\\", escape):
            if following and following in "*?}/\\" + escape:
                pieces[-1].append(following)
                at += 1
            elif escape != "\\":
                pieces[-1].append(char)
            else:
                raise InvalidError(
                    f"invalid escape '{char}{following}' in the pattern {text!r}",
                    hint="in a pattern, a backslash stands before *, ?, /, } or another backslash",
                )
        else:
            pieces[-1].append(char)
    return tuple(tuple(piece) for piece in pieces)


def trim_start(pattern: Pattern, value: str, *, longest: bool) -> str:
    end = _match_start(pattern, value, 0, longest)
    return value if end is None else value[end:]


def trim_end(pattern: Pattern, value: str, *, longest: bool) -> str:
    """The shortest match at the end is the shortest match at the start of everything turned around."""
    mirrored = tuple(piece[::-1] for piece in reversed(pattern))
    return trim_start(mirrored, value[::-1], longest=longest)[::-1]


def replace(pattern: Pattern, value: str, replacement: str, *, every: bool) -> str:
    """The leftmost match, the longest there; an empty match right after another one doesn't count."""
    result: list[str] = []
    copied = at = 0
    while at <= len(value) and (found := _search(pattern, value, at)) is not None:
        start, end = found
        result.append(value[copied:start])
        if end > copied or start == 0:
            result.append(replacement)
        copied = end
        if not every:
            break
        at = end if end > at else at + 1
    result.append(value[copied:])
    return "".join(result)


def _search(pattern: Pattern, value: str, at: int) -> tuple[int, int] | None:
    start = _find(pattern[0], value, at)
    if start < 0:
        return None
    # A later start leaves less to match the rest in: when this one fails, all do.
    end = _match_start(pattern, value, start, True)
    return None if end is None else (start, end)


def _match_start(pattern: Pattern, value: str, at: int, longest: bool) -> int | None:
    """Where a match that begins at `at` ends."""
    first, *rest = pattern
    if not _stands(first, value, at):
        return None
    at += len(first)
    for index, piece in enumerate(rest):
        last = longest and index == len(rest) - 1
        at = _find_last(piece, value, at) if last else _find(piece, value, at)
        if at < 0:
            return None
        at += len(piece)
    return at


def _stands(piece: Piece, value: str, at: int) -> bool:
    return at + len(piece) <= len(value) and all(
        char is None or char == value[at + index] for index, char in enumerate(piece)
    )


def _find(piece: Piece, value: str, at: int) -> int:
    """-1 when it isn't there."""
    if None not in piece:
        return value.find("".join(char or "" for char in piece), at)
    found = re.compile("".join("." if char is None else re.escape(char) for char in piece), re.DOTALL).search(value, at)
    return found.start() if found else -1


def _find_last(piece: Piece, value: str, at: int) -> int:
    if None not in piece:
        return value.rfind("".join(char or "" for char in piece), at)
    for start in range(len(value) - len(piece), at - 1, -1):
        if _stands(piece, value, start):
            return start
    return -1
