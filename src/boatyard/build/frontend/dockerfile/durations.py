"""Durations as `1h15m30.5s`, the way HEALTHCHECK takes them."""

from __future__ import annotations

import re
from decimal import Decimal

from boatyard.errors import InvalidError

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> int:
    """Nanoseconds. InvalidError when it is malformed or longer than 290 years."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = Decimal(0), 0
    while at < len(rest) and (part := _PART.match(rest, at)) is not None and total <= _LONGEST:
        total += Decimal(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not rest or at < len(rest) or total > _LONGEST:
        raise InvalidError(f"invalid duration {text!r}", hint="durations look like 30s, 1m30s or 500ms")
    return sign * int(total)
