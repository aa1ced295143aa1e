"""Moments as log lines carry them: RFC 3339 in UTC, from nanoseconds since 1970."""

from __future__ import annotations

import time

SECOND = 1_000_000_000
_EPOCH = 719163

_written: tuple[int, str] = (0, "1970-01-01T00:00:00")


def nano(moment: int) -> str:
    """`2026-11-23T19:24:32.213827764Z`, without trailing zeros: Go's RFC3339Nano."""
    second, rest = divmod(moment, SECOND)
    if not rest:
        return _whole(second) + "Z"
    return f"{_whole(second)}.{rest:09d}".rstrip("0") + "Z"


def seconds(moment: int) -> str:
    """`2026-11-23T19:24:32Z`: always 20 letters."""
    return _whole(moment // SECOND) + "Z"


def _whole(second: int) -> str:
    global _written  # noqa: PLW0603  # one moment, remembered: a thousand chunks a second carry the same
    if _written[0] != second:
        year, month, day, hour, minute, rest = time.gmtime(second)[:6]
        _written = (second, f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{rest:02d}")
    return _written[1]


def parse(text: str) -> int:
    """Nanoseconds of an RFC 3339 moment, with any fraction and any offset. ValueError for everything else."""
    from datetime import date  # memlogd only writes moments

    day, separator, clock = text[:10], text[10:11], text[11:]
    if separator not in ("T", "t", " ") or len(day) != 10 or day[4] != "-" or day[7] != "-":
        raise ValueError(f"{text!r} is not a moment")
    end = next((at for at, letter in enumerate(clock) if letter in "Zz+-"), -1)
    if end < 0:
        raise ValueError(f"{text!r} names no time zone")
    whole, point, fraction = clock[:end].partition(".")
    if (point and not fraction) or (fraction and not _number(fraction)):
        raise ValueError(f"{text!r} is not a moment")
    hour, minute, second = (_digits(part, 2) for part in whole.split(":"))
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"{text!r} is not a moment")
    days = date(_digits(day[:4], 4), _digits(day[5:7], 2), _digits(day[8:], 2)).toordinal() - _EPOCH
    since = days * 86400 + hour * 3600 + minute * 60 + second - _offset(clock[end:])
    return since * SECOND + int((fraction + "000000000")[:9])


def _offset(text: str) -> int:
    if text in ("Z", "z"):
        return 0
    if len(text) != 6 or text[3] != ":":
        raise ValueError(f"{text!r} is not an offset from UTC")
    span = _digits(text[1:3], 2) * 3600 + _digits(text[4:], 2) * 60
    return -span if text[0] == "-" else span


def _digits(text: str, count: int) -> int:
    if len(text) != count or not _number(text):
        raise ValueError(f"{text!r} is not a number of {count} digits")
    return int(text)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit()


_UNITS = {"ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}


def when(text: str, now: int) -> int:
    """A moment as a person says it: RFC 3339 (UTC if it names no zone), a day, or how long ago: `90s`, `1h30m`, `2d`.
    ValueError for everything else."""
    text = text.strip()
    if text[:1].isdigit() and text[-1:] in ("s", "m", "h", "d"):
        return now - span(text)
    if len(text) == 10:
        text += "T00:00:00"
    if text[-1:] not in ("Z", "z") and text[-6:-5] not in ("+", "-"):
        text += "Z"
    return parse(text)


def span(text: str) -> int:
    """Nanoseconds of `90s`, `1h30m`, `2d`, `250ms`. ValueError for everything else."""
    total, rest = 0, text
    while rest:
        digits = next((at for at, letter in enumerate(rest) if not letter.isdigit()), len(rest))
        unit = next((at for at in range(digits, len(rest)) if rest[at].isdigit()), len(rest))
        if not digits or rest[digits:unit] not in _UNITS:
            raise ValueError(f"{text!r} is not a duration: write it as 90s, 1h30m or 7d")
        total += int(rest[:digits]) * _UNITS[rest[digits:unit]]
        rest = rest[unit:]
    if not text:
        raise ValueError("a duration is empty: write it as 90s, 1h30m or 7d")
    return total
