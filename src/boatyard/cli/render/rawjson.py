"""`--progress=rawjson`: one JSON object a line, in the form that BuildKit's clients print (SolveStatus), for programs.

Keys BuildKit does not have are added, never changed in meaning: `skipped` on a vertex, and `explanations`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from boatyard.cli.render.lines import LogTail
from boatyard.progress import Event, ExplainEvent, LogEvent, StatusEvent, VertexEvent, WarningEvent


class RawJsonRenderer:
    """Writes each event as it comes, and keeps nothing."""

    interval: float | None = None

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def event(self, event: Event) -> None:
        self._write(msgspec.json.encode(status_document(event)).decode() + "\n")

    def tick(self) -> None:
        pass

    def log_of(self, vertex: str) -> LogTail | None:
        return None

    def last_failure(self) -> Sequence[str]:
        return ()

    def close(self, *, failed: bool = False) -> None:
        pass


def status_document(event: Event) -> dict[str, Any]:
    match event:
        case VertexEvent():
            return {"vertexes": [_vertex(event)]}
        case StatusEvent():
            return {"statuses": [_status(event)]}
        case LogEvent():
            data = base64.b64encode(event.data.encode()).decode()
            log = {"vertex": event.vertex, "stream": event.stream, "data": data, "timestamp": _time(event.time)}
            return {"logs": [log]}
        case WarningEvent():
            return {"warnings": [_warning(event)]}
        case ExplainEvent():
            return {"explanations": [_present(vertex=event.vertex, name=event.name, reasons=list(event.reasons))]}


def _vertex(event: VertexEvent) -> dict[str, Any]:
    return _present(
        digest=event.digest,
        inputs=list(event.inputs),
        name=event.name,
        started=_time(event.started),
        completed=_time(event.completed),
        cached=event.cached,
        skipped=event.skipped,
        error=event.error,
        progressGroup={"id": event.group, "name": event.group} if event.group else None,
    )


def _status(event: StatusEvent) -> dict[str, Any]:
    optional = _present(
        vertex=event.vertex,
        name=event.name,
        total=event.total,
        started=_time(event.started),
        completed=_time(event.completed),
    )
    return {"id": event.id, "current": event.current, **optional}


def _warning(event: WarningEvent) -> dict[str, Any]:
    lines = event.detail.splitlines()
    short = f"{event.code}: {event.short}" if event.code else event.short
    span = event.range
    return _present(
        vertex=event.vertex,
        level=1,
        short=base64.b64encode(short.encode()).decode(),
        detail=[base64.b64encode(line.encode()).decode() for line in lines],
        url=event.url,
        sourceInfo={"filename": event.filename} if event.filename else None,
        range=[{"start": {"line": span.start}, "end": {"line": span.end}}] if span else None,
    )


def _time(moment: float | None) -> str | None:
    """RFC 3339 with microseconds, in UTC."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _present(**fields: Any) -> dict[str, Any]:
    """The fields that say something: Go leaves out empty ones, and its users' parsers expect that."""
    return {name: value for name, value in fields.items() if value}
