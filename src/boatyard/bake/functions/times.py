"""Functions of time. Timestamps are texts of RFC 3339, or seconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import NUMBER, STRING
from boatyard.bake.values.value import Value, number, object_of, string

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TOKENS = re.compile(r"'(?:[^']|'')*'?|([A-Za-z])\1*|[^A-Za-z']+")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def parse(text: str, argument: int) -> datetime:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise CallError(f"{text[:60]!r} is no RFC 3339 timestamp: write it as 2026-08-21T10:00:00Z", argument)
    zone = UTC
    if match[7] != "Z":
        offset = timedelta(hours=int(match[7][1:3]), minutes=int(match[7][4:]))
        if int(match[7][1:3]) > 23 or int(match[7][4:]) > 59:
            raise CallError(f"{text!r} has no possible UTC offset", argument)
        zone = timezone(-offset if match[7][0] == "-" else offset)
    try:
        return datetime(*(int(match[group]) for group in range(1, 7)), tzinfo=zone)  # type: ignore[arg-type,misc]
    except ValueError as error:
        raise CallError(f"{text!r} is no possible time: {error}", argument) from None


def text_of(time: datetime) -> str:
    offset = _offset(time, ":")
    return time.strftime(f"{time.year:04}-%m-%dT%H:%M:%S") + ("Z" if offset == "+00:00" else offset)


def _offset(time: datetime, separator: str) -> str:
    seconds = int((time.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}{separator}{minutes:02}"


def of_seconds(value: Value, argument: int) -> datetime:
    if not isinstance(value.raw, int):
        raise CallError("a unix timestamp is a whole number", argument)
    try:
        return datetime.fromtimestamp(value.raw, UTC)
    except (OverflowError, ValueError, OSError):
        raise CallError("the time is too far away", argument) from None


def _formatted(pattern: str, time: datetime) -> str:
    """Runs of one letter are parts of the time; text in single quotes is text."""
    done = []
    for match in _TOKENS.finditer(pattern):
        token = match[0]
        if token.startswith("'"):
            if len(token) < 2 or not token.endswith("'"):
                raise CallError("a literal in the format has no closing quote", 0)
            done.append(token[1:-1].replace("''", "'") or "'")
        elif match[1]:
            done.append(_part(token, time))
        else:
            done.append(token)
    return "".join(done)


def _part(token: str, time: datetime) -> str:
    hour12 = time.hour % 12 or 12
    half = "AM" if time.hour < 12 else "PM"
    zone = _offset(time, "")
    parts = {
        "YY": f"{time.year % 100:02}", "YYYY": f"{time.year:04}",
        "M": str(time.month), "MM": f"{time.month:02}",
        "MMM": _MONTHS[time.month - 1][:3], "MMMM": _MONTHS[time.month - 1],
        "D": str(time.day), "DD": f"{time.day:02}",
        "EEE": _DAYS[time.weekday()][:3], "EEEE": _DAYS[time.weekday()],
        "h": str(time.hour), "hh": f"{time.hour:02}", "H": str(hour12), "HH": f"{hour12:02}",
        "AA": half, "aa": half.lower(),
        "m": str(time.minute), "mm": f"{time.minute:02}", "s": str(time.second), "ss": f"{time.second:02}",
        "Z": "Z" if zone == "+0000" else _offset(time, ":"),
        "ZZZ": "UTC" if zone == "+0000" else zone, "ZZZZ": zone, "ZZZZZ": _offset(time, ":"),
    }  # fmt: skip
    if token not in parts:
        raise CallError(f"{token!r} is no part of a time: there are {' '.join(parts)}; put text in ' '", 0)
    return parts[token]


def _formattimestamp(pattern: Value, time: Value) -> Value:
    """The pattern X gives seconds since 1970."""
    if time.type == STRING:
        moment = parse(time.raw, 1)
    elif time.type == NUMBER:
        moment = of_seconds(time, 1)
    else:
        raise CallError("a timestamp is a text of RFC 3339 or a number of seconds", 1)
    if pattern.raw == "X":
        return string(str(int(moment.timestamp())))
    return string(_formatted(pattern.raw, moment))


def _timeadd(time: Value, duration: Value) -> Value:
    moment = parse(time.raw, 0)
    text = duration.raw.lstrip("+-")
    parts = list(_DURATION.finditer(text))
    if text != "0" and (not parts or "".join(part[0] for part in parts) != text or len(duration.raw) - len(text) > 1):
        raise CallError(f"{duration.raw[:60]!r} is no duration: write it as 1h30m or -5s", 1)
    try:
        delta = timedelta(seconds=sum(float(part[1]) * _UNITS[part[2]] for part in parts))
        return string(text_of(moment - delta if duration.raw.startswith("-") else moment + delta))
    except (OverflowError, ValueError):
        raise CallError("the time is too far away", 1) from None


def _unixtimestampparse(seconds: Value) -> Value:
    time = of_seconds(seconds, 0)
    iso = time.isocalendar()
    return object_of(
        {
            "year": number(time.year),
            "year_day": number(time.timetuple().tm_yday),
            "day": number(time.day),
            "month": number(time.month),
            "month_name": string(_MONTHS[time.month - 1]),
            "weekday": number((time.weekday() + 1) % 7),
            "weekday_name": string(_DAYS[time.weekday()]),
            "hour": number(time.hour),
            "minute": number(time.minute),
            "second": number(time.second),
            "rfc3339": string(text_of(time)),
            "iso_year": number(iso.year),
            "iso_week": number(iso.week),
        }
    )


def functions(now: Callable[[], float]) -> Mapping[str, Function]:
    """`now`: seconds since 1970."""
    return {
        "timestamp": function(lambda: string(text_of(datetime.fromtimestamp(int(now()), UTC)))),
        "formatdate": function(
            lambda pattern, time: string(_formatted(pattern.raw, parse(time.raw, 1))),
            Parameter("format", STRING),
            Parameter("time", STRING),
        ),
        "formattimestamp": function(_formattimestamp, Parameter("format", STRING), Parameter("time")),
        "timeadd": function(_timeadd, Parameter("timestamp", STRING), Parameter("duration", STRING)),
        "unixtimestampparse": function(_unixtimestampparse, Parameter("unix_timestamp", NUMBER)),
    }
