"""Moments as Docker's clients write them: seconds since the epoch, a date, or how long ago.

Specification: docs.docker.com, `docker events`, "Limiting, filtering, and formatting the output".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from boatyard.errors import InvalidError

_SECONDS = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_FRACTION = re.compile(r"(\.\d{6})\d+")


def parse_moment(written: str, now: float) -> float:
    """Seconds since the epoch. InvalidError."""
    if _SECONDS.fullmatch(written):
        return float(written)
    if _DURATION.fullmatch(written):
        return now - sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(written))
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", written.replace("Z", "+00:00")))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidError(
            f"invalid time {written[:80]!r}",
            hint="write seconds since the epoch, a date such as 2026-01-31T12:00:00Z, or 10m",
        ) from None
