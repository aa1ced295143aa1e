"""What a build tells, as BuildKit's StatusResponses.

BuildKit knows no skipped steps: one that never had to be looked at is told of, and neither begins nor ends.

Specification: moby/buildkit `client/status.go`; `solver/llbsolver/history` for the framing of recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from boatyard._pb import ops_pb2
from boatyard._pb.control_pb2 import StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning
from boatyard.api.buildkit.values import moment, timestamp
from boatyard.progress import Event, LogEvent, Range, StatusEvent, VertexEvent, WarningEvent, printable

RECORDED = "application/vnd.buildkit.status.v0"
"""The media type of a recorded build: each message behind its length, four bytes, the lowest first."""
MOST_LOG = 1 << 20
"""Bytes of output in one message, a little more or less."""
MOST_EVENTS = 4_000
"""In one message."""


class StatusMessages:
    """Makes messages of the events of one build. `sources`: its source files, by name; asked when a warning points
    into one. One per reader."""

    def __init__(self, sources: Callable[[], Mapping[str, str]]) -> None:
        self._sources = sources

    def of(self, events: Sequence[Event]) -> Iterator[StatusResponse]:
        """Few messages for many events; none when there is nothing to say."""
        message = StatusResponse()
        size = count = 0
        for event in _newest(events):
            match event:
                case VertexEvent():
                    message.vertexes.append(_vertex(event))
                case StatusEvent():
                    message.statuses.append(_status(event))
                case LogEvent():
                    message.logs.append(
                        VertexLog(
                            vertex=event.vertex,
                            timestamp=timestamp(event.time),
                            stream=event.stream,
                            msg=event.data.encode("utf-8", "replace"),
                        )
                    )
                    size += len(event.data)
                case WarningEvent():
                    message.warnings.append(self._warning(event))
                case _:
                    continue  # why a step was not cached is the native API's
            count += 1
            if size > MOST_LOG or count >= MOST_EVENTS:
                yield message
                message = StatusResponse()
                size = count = 0
        if count:
            yield message

    def _warning(self, event: WarningEvent) -> VertexWarning:
        short = _short(event)
        warning = VertexWarning(
            vertex=event.vertex,
            level=event.level,
            short=_bytes(short),
            detail=[_bytes(line) for line in event.detail.splitlines()],
            url=event.url,
        )
        if event.filename:
            text = self._sources().get(event.filename, "")
            warning.info.CopyFrom(ops_pb2.SourceInfo(filename=event.filename, data=_bytes(text)))
        for place in (event.range, *event.ranges):
            if place is not None:
                warning.ranges.append(_range(place))
        return warning


def framed(messages: Iterable[StatusResponse]) -> Iterator[bytes]:
    """As they are recorded."""
    for message in messages:
        data = message.SerializeToString()
        yield len(data).to_bytes(4, "little") + data


def _newest(events: Sequence[Event]) -> Sequence[Event]:
    """Of a transfer, the last word of a batch is enough."""
    last = {(event.vertex, event.id): index for index, event in enumerate(events) if isinstance(event, StatusEvent)}
    return [
        event
        for index, event in enumerate(events)
        if not isinstance(event, StatusEvent) or last[event.vertex, event.id] == index
    ]


def _vertex(event: VertexEvent) -> Vertex:
    vertex = Vertex(digest=event.digest, inputs=event.inputs, name=printable(event.name), error=printable(event.error))
    if not event.skipped:
        vertex.cached = event.cached
        if event.started is not None:
            vertex.started.CopyFrom(moment(event.started))
        if event.completed is not None:
            vertex.completed.CopyFrom(moment(event.completed))
            if event.started is None:
                vertex.started.CopyFrom(vertex.completed)
    if event.group:
        vertex.progressGroup.CopyFrom(
            ops_pb2.ProgressGroup(id=event.group_id or event.group, name=event.group, weak=event.group_weak)
        )
    return vertex


def _short(event: WarningEvent) -> str:
    """As BuildKit's linter words it."""
    if not event.code:
        return event.short
    return f"{event.code}: {event.short}" + (f" (line {event.range.start})" if event.range else "")


def _status(event: StatusEvent) -> VertexStatus:
    at = event.completed if event.completed is not None else event.started
    return VertexStatus(
        ID=event.id,
        vertex=event.vertex,
        name=printable(event.name),
        current=event.current,
        total=event.total,
        timestamp=timestamp(at or 0.0),
        started=timestamp(event.started),
        completed=timestamp(event.completed),
    )


def _range(place: Range) -> ops_pb2.Range:
    return ops_pb2.Range(start=ops_pb2.Position(line=place.start), end=ops_pb2.Position(line=place.end))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
