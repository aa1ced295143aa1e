"""How BuildKit words history entries and step names: values as Go's fmt package prints them.

History is read by people and by tools that tell from it how an image was made, so its form is kept to the letter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"', "\\": "\\\\",
}  # fmt: skip
_UNITS = (("h", 3_600_000_000_000), ("m", 60_000_000_000))


def quoted(words: Iterable[str]) -> str:
    """`["a" "b"]`."""
    return "[" + " ".join(_quote(word) for word in words) + "]"


def plain(words: Iterable[str]) -> str:
    """`[a b]`."""
    return "[" + " ".join(words) + "]"


def _quote(word: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or _printable(char) for char in word) + '"'


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(nanoseconds: int) -> str:
    """`1h30m0s`, `1.5s`, `100ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if abs(nanoseconds) < size * 1000:
            return _decimal(nanoseconds, size) + unit
    text = ""
    for unit, size in _UNITS:
        if nanoseconds >= size or text:
            text += f"{nanoseconds // size}{unit}"
            nanoseconds %= size
    return text + _decimal(nanoseconds, 1_000_000_000) + "s"


def _decimal(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{round(math.log10(size))}d}".rstrip("0")


def upper_first(text: str) -> str:
    """The keyword in capitals, the rest as it is."""
    keyword, blank, rest = text.partition(" ")
    return keyword.upper() + blank + rest


def heredoc_summary(data: str) -> str:
    """The first line of a script, for the step's name."""
    first, newline, _ = data.strip().replace("\r\n", "\n").partition("\n")
    return first + "..." if newline else first
