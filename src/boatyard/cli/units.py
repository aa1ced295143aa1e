"""Sizes, durations and ages as a person reads them, and back.

Sizes are decimal (1 kB = 1000 B) as Docker's are; what a person types may be either (`512m` and `512MiB` are binary,
as Docker's flags take them). Nothing here knows the clock: the moment is an argument.
"""

from __future__ import annotations

from boatyard.errors import InvalidError

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_AGES = ((31536000, "year"), (2592000, "month"), (604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"))


def size(count: float) -> str:
    """Three significant digits: `1.23MB`, `45.6kB`, `999B`."""
    value = float(count)
    for unit in _DECIMAL:
        if value < 999.5 or unit == _DECIMAL[-1]:
            return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"
        value /= 1000
    raise AssertionError("unreachable")


def speed(count: float, seconds: float) -> str:
    """Bytes a second, or nothing while too little time has passed to tell."""
    return f"{size(count / seconds)}/s" if seconds > 0.05 and count > 0 else ""


def seconds(duration: float) -> str:
    """As the progress display shows it: `0.2s`, `12.3s`, `3m04s`, `1h02m`."""
    duration = max(duration, 0.0)
    if duration < 59.95:
        return f"{duration:.1f}s"
    whole = round(duration)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def age(then: float, now: float) -> str:
    """`3 hours ago`, as Docker says it. A moment in the future, or none, is told as such."""
    if then <= 0:
        return "N/A"
    elapsed = now - then
    if elapsed < 1:
        return "just now" if elapsed > -60 else "in the future"
    for length, name in _AGES:
        count = int(elapsed // length)
        if count >= 1 and (count >= 2 or name not in ("week", "month")):
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    count = int(elapsed)
    return f"{count} second{'s' if count > 1 else ''} ago"


def parse_size(text: str) -> int:
    """Bytes of `512m`, `1.5GiB`, `2gb`, `1000`; letters are powers of 1024, as in Docker's flags."""
    number, unit = _split(text)
    letter = unit.lower().removesuffix("b").removesuffix("i") if unit else ""
    if letter not in _POWERS:
        raise InvalidError(f"{text!r} is not a size: unknown unit {unit!r}", hint="write it as 512m, 2g or 1.5GiB")
    return int(number * 1024 ** _POWERS[letter])


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `1h30m`, `2d`, `500ms`; a bare number is seconds."""
    rest, total = text.strip(), 0.0
    if not rest:
        raise InvalidError("a duration is empty", hint="write it as 24h, 90m or 7d")
    while rest:
        end = next((at for at, letter in enumerate(rest) if not (letter.isdigit() or letter == ".")), len(rest))
        unit_end = next((at for at in range(end, len(rest)) if rest[at].isdigit() or rest[at] == "."), len(rest))
        unit = rest[end:unit_end] or "s"
        try:
            total += float(rest[:end]) * _SECONDS[unit]
        except (KeyError, ValueError):
            raise InvalidError(f"{text!r} is not a duration", hint="write it as 24h, 90m or 7d") from None
        rest = rest[unit_end:]
    return total


def _split(text: str) -> tuple[float, str]:
    stripped = text.strip()
    end = next((at for at, letter in enumerate(stripped) if not (letter.isdigit() or letter == ".")), len(stripped))
    try:
        return float(stripped[:end]), stripped[end:].strip()
    except ValueError:
        raise InvalidError(f"{text!r} is not a size", hint="write it as 512m, 2g or 1.5GiB") from None
