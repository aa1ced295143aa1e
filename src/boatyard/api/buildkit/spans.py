"""Spans of a trace as documents: those that clients report, and those that a build's own record gives.

The form is Go's JSON of OpenTelemetry's span stubs, one after the other: what BuildKit keeps with a build and its
clients read. Specification: go.opentelemetry.io/otel/sdk/trace/tracetest `SpanStub`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from boatyard import __version__
from boatyard._pb import trace_pb2 as pb
from boatyard.build.recording import BuildRecord
from boatyard.progress import Event, VertexEvent, printable

TYPE = "application/vnd.buildkit.otlp.json.v0"
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOWHERE = {"TraceID": "0" * 32, "SpanID": "0" * 16, "TraceFlags": "00", "TraceState": "", "Remote": False}
_CODES = {0: "Unset", 1: "Ok", 2: "Error"}
_INTERNAL, _SERVER = 1, 2
_LIBRARY = {"Name": "boatyard", "Version": __version__, "SchemaURL": "", "Attributes": None}
_NO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which trace a call belongs to, and which span of it made the call (W3C Trace Context). Both in hex; `span` "" is
    none."""

    trace: str
    span: str = ""


def context_of(ref: str, traceparent: str) -> TraceContext:
    """What a call's header says; without one that says anything, a trace of the build's own."""
    match = _PARENT.fullmatch(traceparent)
    if match is None or not match[1].strip("0") or not match[2].strip("0"):
        return TraceContext(hashlib.sha256(ref.encode()).hexdigest()[:32])
    return TraceContext(match[1], match[2])


# -- those of clients -------------------------------------------------------------------------------------------------


def reported(resources: Iterable[pb.ResourceSpans]) -> Iterator[tuple[str, bytes]]:
    """The trace and the document of each span. Spans without ids are none."""
    for resource in resources:
        whose = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            library = {
                "Name": scope.scope.name,
                "Version": scope.scope.version,
                "SchemaURL": scope.schema_url,
                "Attributes": None,
            }
            for span in scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    yield span.trace_id.hex(), msgspec.json.encode(_reported(span, whose, library))


def _reported(span: pb.Span, resource: list[Any], library: Mapping[str, Any]) -> dict[str, Any]:
    has_parent = len(span.parent_span_id) == 8
    return {
        "Name": span.name,
        "SpanContext": _context(span.trace_id.hex(), span.span_id.hex(), span.trace_state),
        "Parent": _context(span.trace_id.hex(), span.parent_span_id.hex()) if has_parent else _NOWHERE,
        "SpanKind": int(span.kind),
        "StartTime": _time(span.start_time_unix_nano),
        "EndTime": _time(span.end_time_unix_nano),
        "Attributes": _attributes(span.attributes),
        "Events": [
            {
                "Name": event.name,
                "Attributes": _attributes(event.attributes),
                "DroppedAttributeCount": event.dropped_attributes_count,
                "Time": _time(event.time_unix_nano),
            }
            for event in span.events
        ],
        "Links": [
            {
                "SpanContext": _context(link.trace_id.hex(), link.span_id.hex(), link.trace_state),
                "Attributes": _attributes(link.attributes),
                "DroppedAttributeCount": link.dropped_attributes_count,
            }
            for link in span.links
            if len(link.trace_id) == 16 and len(link.span_id) == 8
        ],
        "Status": {"Code": _CODES.get(int(span.status.code), "Unset"), "Description": span.status.message},
        "DroppedAttributes": span.dropped_attributes_count,
        "DroppedEvents": span.dropped_events_count,
        "DroppedLinks": span.dropped_links_count,
        "ChildSpanCount": 0,
        "Resource": resource,
        "InstrumentationLibrary": library,
    }


def _attributes(pairs: Iterable[pb.KeyValue]) -> list[Any]:
    return [_attribute(pair.key, value) for pair in pairs if (value := _value(pair.value)) is not None]


def _value(value: pb.AnyValue) -> Any:
    """None for what the form has no place for."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            # Readers of the form know no other lists.
            return [str(found) for each in value.array_value.values if (found := _value(each)) is not None]
        case _:
            return None


def _attribute(key: str, value: str | bool | int | float | list[str]) -> dict[str, Any]:
    kinds = ((bool, "BOOL"), (int, "INT64"), (float, "FLOAT64"), (str, "STRING"), (list, "STRINGSLICE"))
    kind = next(name for type, name in kinds if isinstance(value, type))
    return {"Key": key, "Value": {"Type": kind, "Value": value}}


def _context(trace: str, span: str, state: str = "") -> dict[str, Any]:
    return {"TraceID": trace, "SpanID": span, "TraceFlags": "01", "TraceState": state, "Remote": False}


def _time(nanoseconds: int) -> str:
    if not nanoseconds:
        return _NO_TIME
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _NO_TIME
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


# -- those of a build -------------------------------------------------------------------------------------------------


def of_build(record: BuildRecord, events: Iterable[Event], context: TraceContext) -> Iterator[bytes]:
    """A span for the build, and one for each of its steps that did anything."""
    steps: dict[str, VertexEvent] = {}
    for event in events:
        if isinstance(event, VertexEvent):
            steps[event.digest] = event
    own = _id(record.ref)
    done = [step for step in steps.values() if step.started is not None and not step.skipped]
    end = record.completed if record.completed is not None else record.created
    yield _made(
        "moby.buildkit.v1.Control/Solve",
        context,
        own,
        context.span,
        (record.created, end),
        [_attribute("ref", record.ref), *([_attribute("frontend", record.frontend)] if record.frontend else [])],
        record.error,
        kind=_SERVER,
        children=len(done),
    )
    for step in done:
        started = step.started if step.started is not None else end
        yield _made(
            printable(step.name),
            context,
            _id(f"{record.ref} {step.digest}"),
            own,
            (started, step.completed if step.completed is not None else max(started, end)),
            [_attribute("vertex", step.digest), *([_attribute("cached", True)] if step.cached else [])],
            step.error,
        )


def _made(
    name: str,
    context: TraceContext,
    id: str,
    parent: str,
    times: tuple[float, float],
    attributes: Sequence[Any],
    error: str,
    *,
    kind: int = _INTERNAL,
    children: int = 0,
) -> bytes:
    return msgspec.json.encode(
        {
            "Name": name,
            "SpanContext": _context(context.trace, id),
            "Parent": _context(context.trace, parent) if parent else _NOWHERE,
            "SpanKind": kind,
            "StartTime": _time(round(times[0] * 1e9)),
            "EndTime": _time(round(times[1] * 1e9)),
            "Attributes": attributes,
            "Events": None,
            "Links": None,
            "Status": {"Code": _CODES[2 if error else 0], "Description": printable(error)},
            "DroppedAttributes": 0,
            "DroppedEvents": 0,
            "DroppedLinks": 0,
            "ChildSpanCount": children,
            "Resource": [_attribute("service.name", "boatd"), _attribute("service.version", __version__)],
            "InstrumentationLibrary": _LIBRARY,
        }
    )


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
