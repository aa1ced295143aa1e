"""What a build tells while it runs, in BuildKit's vocabulary.

Events are values; the daemon sends them as one JSON object a line, tagged with `type`; the CLI's renderers and the
history read the same ones. A *vertex* is one step. Times are seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_NOT_UTF8 = re.compile("[\ud800-\udfff]")


class Range(msgspec.Struct, frozen=True):
    """Lines of a source file, counted from 1, both inclusive."""

    start: int
    end: int


class VertexEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="vertex"):
    """A step, each time its state changes. The last one for a digest stands.

    `cached`: the result came from the cache. `skipped`: it never had to be looked at (everything that needed it was
    cached)."""

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    skipped: bool = False
    error: str = ""
    group: str = ""
    """Steps that are shown as one carry the same group name."""
    group_id: str = ""
    """Tells groups of one name apart."""
    group_weak: bool = False
    """This step alone doesn't make its group appear."""


class StatusEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="status"):
    """A transfer or sub-task within a step ("transferring context", a layer); `total` 0 when unknown. Unit: bytes."""

    vertex: str
    id: str
    name: str
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None


class LogEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="log"):
    """Output of a step. `stream` 1 = stdout, 2 = stderr. Invalid UTF-8 was replaced."""

    vertex: str
    stream: int
    data: str
    time: float


class WarningEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="warning"):
    """A remark that fails nothing: a lint finding, a clamped limit, a missing optional thing."""

    vertex: str = ""
    code: str = ""
    short: str
    detail: str = ""
    url: str = ""
    filename: str = ""
    range: Range | None = None
    ranges: tuple[Range, ...] = ()
    """Further places, beyond the first."""
    level: int = 1


class ExplainEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="explain"):
    """Why a step was not cached: one line a reason, the most telling first."""

    vertex: str
    name: str
    reasons: tuple[str, ...]


Event = VertexEvent | StatusEvent | LogEvent | WarningEvent | ExplainEvent

Emit = Callable[[Event], None]
"""Takes an event without blocking. Called on the event loop's thread only."""


def encode(document: msgspec.Struct) -> bytes:
    """An event, or another document that is told to people, as JSON. Bytes of file names that aren't UTF-8, which are
    surrogates in a `str` and nothing in JSON, show as \\xNN."""
    try:
        return _encoder.encode(document)
    except UnicodeEncodeError:
        return _encoder.encode(_printable(msgspec.to_builtins(document)))


def printable(text: str) -> str:
    """A text that may hold a name that isn't UTF-8, as it can be shown."""
    return _NOT_UTF8.sub(_escaped, text)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
