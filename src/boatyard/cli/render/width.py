"""How many columns text takes on a terminal, and cutting it to fit.

Unicode's East Asian Width decides: wide and full-width characters take two columns, combining and format characters
none. Terminals differ about emoji sequences; counting each wide part is what most do.
"""

from __future__ import annotations

import unicodedata

ELLIPSIS = "…"


def columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(letter: str) -> int:
    if letter < "\x7f":
        return 1
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, limit: int, ellipsis: str = ELLIPSIS) -> str:
    """`text` in at most `limit` columns; what is cut off is marked by an ellipsis (when there is room for one)."""
    if limit <= 0:
        return ""
    if columns(text) <= limit:
        return text
    room = limit - columns(ellipsis)
    if room < 0:
        room, ellipsis = limit, ""
    kept: list[str] = []
    for letter in text:
        room -= _width(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept) + ellipsis


def pad(text: str, width: int) -> str:
    """`text` cut or filled with spaces to exactly `width` columns."""
    fitting = cut(text, width)
    return fitting + " " * (width - columns(fitting))
