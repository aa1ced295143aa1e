"""Durations and sizes as people write them in a configuration: "10m", "48h", "512MB", "20%"."""

from __future__ import annotations

import re

from boatyard.errors import InvalidError

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class Duration(float):
    """Seconds."""

    __slots__ = ()


class Space(float):
    """Bytes, or, where `percent` is set, hundredths of the disk."""

    percent: bool = False

    def of(self, disk: int) -> int:
        """In bytes, on a disk of that size."""
        return int(disk * self / 100) if self.percent else int(self)


def parse_duration(value: object) -> Duration:
    """A number is seconds; text may be compound ("1h30m"). InvalidError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return Duration(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if _NUMBER.fullmatch(text):
            return Duration(text)
        parts = _DURATION_PART.findall(text)
        if parts and _DURATION_PART.sub("", text).strip() == "":
            return Duration(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    raise InvalidError(f"{value!r} is not a duration", hint='write it as "90s", "10m", "1h30m" or "7d"')


def parse_space(value: object) -> Space:
    """A number is bytes. Units count in thousands (GB) or, with an i, in 1024s (GiB). InvalidError."""
    if isinstance(value, Space):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Space(value)
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%") and _NUMBER.fullmatch(text[:-1].strip()) and float(text[:-1]) <= 100:
            space = Space(float(text[:-1]))
            space.percent = True
            return space
        if found := _SIZE.fullmatch(text):
            number, unit, binary = found.groups()
            base = 1024 if binary else 1000
            return Space(int(float(number) * base ** _POWERS[unit.lower()]))
    raise InvalidError(f"{value!r} is not a size", hint='write it as "512MB", "10GiB" or "20%" (of the disk)')
