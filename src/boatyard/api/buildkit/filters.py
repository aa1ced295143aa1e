"""Which builds of the past a client wants: BuildKit's filters of history records.

A filter is terms with commas between, which must all be true; of several filters, any. `startedAt`, `completedAt` and
`duration` are compared (`<`, `<=`, `>`, `>=`) with a time (RFC 3339), or a duration, which for the former two is an
age; `ref`, `status` and `repository` are matched as containerd does (`==`, `!=`, `~=`).

Specification: moby/buildkit `solver/llbsolver/history/filter.go`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from boatyard.build.recording import BuildRecord
from boatyard.errors import InvalidError

Matcher = Callable[[BuildRecord], bool]

STATUSES = {
    "running": "running",
    "completed": "completed",
    "failed": "error",
    "interrupted": "error",
    "cancelled": "canceled",
}
"""Ours and BuildKit's."""
_COMPARED = re.compile(r"(startedAt|completedAt|duration)\s*(>=|<=|>|<)\s*(.+)")
_MATCHED = re.compile(r"(ref|status|repository)\s*(?:(==|!=|~=)\s*(.*))?")
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def matcher(filters: Sequence[str], now: float) -> Matcher:
    """InvalidError for a filter that makes no sense."""
    alternatives = [[_term(text, now) for text in _fields(each)] for each in filters]
    if not alternatives:
        return lambda record: True
    return lambda record: any(all(term(record) for term in terms) for terms in alternatives)


def _fields(text: str) -> Iterator[str]:
    """Fields of a line of CSV."""
    field = ""
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            yield _unquoted(field.strip())
            field = ""
            continue
        field += character
    yield _unquoted(field.strip())


def _unquoted(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def _term(text: str, now: float) -> Matcher:
    if match := _COMPARED.fullmatch(text):
        return _comparison(match[1], match[2], match[3].strip('"'), now)
    match = _MATCHED.fullmatch(text)
    if match is None:
        raise InvalidError(
            f"invalid filter {text!r}",
            hint="fields are ref, status, repository (==, !=, ~=), startedAt, completedAt, duration (<, <=, >, >=)",
        )
    field, operator, wanted = match[1], match[2], (match[3] or "").strip('"')
    value = {"ref": lambda record: record.ref, "status": status, "repository": repository}[field]
    if operator is None:
        return lambda record: bool(value(record))
    if operator == "==":
        return lambda record: value(record) == wanted
    if operator == "!=":
        return lambda record: value(record) != wanted
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise InvalidError(f"invalid pattern {wanted!r} in a filter: {error}") from error
    return lambda record: pattern.search(value(record)) is not None


def _comparison(field: str, operator: str, text: str, now: float) -> Matcher:
    age = duration(text)
    if field == "duration":
        if age is None:
            raise InvalidError(f"invalid duration {text!r}", hint="write it like 1h30m or 90s")
        limit = age
    elif age is not None:
        limit = now - age
    else:
        try:
            limit = datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise InvalidError(f"invalid time {text!r}", hint="write it like 2006-01-02T15:04:05Z, or an age") from None

    def value(record: BuildRecord) -> float:
        if field == "startedAt":
            return record.created
        if record.completed is None:
            return 0.0
        return record.completed if field == "completedAt" else record.completed - record.created

    compare: dict[str, Callable[[float, float], bool]] = {
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
    return lambda record: compare[operator](value(record), limit)


def duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it (1h30m); None when it is none."""
    parts = _PARTS.findall(text)
    if not parts or _PARTS.sub("", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def status(record: BuildRecord) -> str:
    return STATUSES.get(record.status, "error")


def repository(record: BuildRecord) -> str:
    """Where the context comes from, if that is a repository."""
    if source := record.options.get("vcs:source"):
        return source
    context = record.options.get("context", "")
    is_git = context.startswith(("git://", "git@", "ssh://")) or re.search(r"\.git(#|$)", context)
    return context.partition("#")[0] if is_git else ""
