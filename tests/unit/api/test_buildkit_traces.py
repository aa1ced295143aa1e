from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard._pb import trace_pb2 as pb
from boatyard.api.buildkit import spans
from boatyard.api.buildkit.spans import TraceContext, context_of
from boatyard.api.buildkit.trace import NAME, BuildTraces, Spans
from boatyard.build.history import History
from boatyard.errors import NotFoundError, UnavailableError
from boatyard.progress import VertexEvent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("header", ["", "x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"{TRACE}"])
def test_a_build_without_a_parent_has_a_trace_of_its_own(header: str) -> None:
    found = context_of("ref", header)
    assert len(found.trace) == 32
    assert found == context_of("ref", "")
    assert not found.span


def test_a_build_has_its_clients_trace() -> None:
    assert context_of("ref", f"00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN)


def reported(span: pb.Span, **resource: Any) -> list[dict[str, Any]]:
    message = pb.ResourceSpans(scope_spans=[pb.ScopeSpans(spans=[span])], **resource)
    return [json.loads(data) for _, data in spans.reported([message])]


def test_a_clients_span_keeps_what_it_says() -> None:
    span = pb.Span(
        trace_id=bytes.fromhex(TRACE),
        span_id=bytes.fromhex(SPAN),
        parent_span_id=b"\x01" * 8,
        name="n",
        kind=pb.Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=1,
        events=[pb.Span.Event(name="e", time_unix_nano=2_000_000_000)],
        links=[pb.Span.Link(trace_id=bytes(16), span_id=bytes(8)), pb.Span.Link(trace_id=b"short")],
        status=pb.SpanStatus(code=pb.SpanStatus.STATUS_CODE_ERROR, message="bad"),
    )
    values = {
        "s": pb.AnyValue(string_value="x"),
        "b": pb.AnyValue(bool_value=True),
        "d": pb.AnyValue(double_value=0.5),
        "a": pb.AnyValue(array_value=pb.ArrayValue(values=[pb.AnyValue(int_value=1), pb.AnyValue()])),
        "k": pb.AnyValue(kvlist_value=pb.KeyValueList()),
    }
    span.attributes.extend(pb.KeyValue(key=key, value=value) for key, value in values.items())
    [found] = reported(span)
    assert found["SpanKind"] == 3
    assert found["Parent"]["SpanID"] == "01" * 8
    assert found["StartTime"] == "1970-01-01T00:00:00.000000001Z"
    assert found["EndTime"] == "0001-01-01T00:00:00Z"
    assert found["Status"] == {"Code": "Error", "Description": "bad"}
    assert [each["Value"] for each in found["Attributes"]] == [
        {"Type": "STRING", "Value": "x"},
        {"Type": "BOOL", "Value": True},
        {"Type": "FLOAT64", "Value": 0.5},
        {"Type": "STRINGSLICE", "Value": ["1"]},
    ]
    assert (len(found["Links"]), found["Events"][0]["Time"]) == (1, "1970-01-01T00:00:02.000000000Z")


@given(st.binary(max_size=200))
def test_whatever_clients_send_is_a_span_or_none(data: bytes) -> None:
    try:
        message = pb.ExportTraceServiceRequest.FromString(data)
    except Exception:
        return
    for trace, document in spans.reported(message.resource_spans):
        assert json.loads(document)["SpanContext"]["TraceID"] == trace


def test_spans_are_bounded_by_trace_and_in_all() -> None:
    known = Spans(most=100, most_of_one=40)
    assert known.add("a", b"x" * 30)
    assert not known.add("a", b"x" * 30)
    for trace in "bcd":
        assert known.add(trace, b"x" * 30)
    assert known.take("a") == []  # it was the one nobody added to for the longest time
    assert known.take("d") == [b"x" * 30]
    assert known.take("d") == []


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def build(history: History, ref: str = "one", *, end: bool = True) -> None:
    recording = history.begin(ref, "", {}, [], "")
    recording.add(VertexEvent(digest="sha256:1", name="step", started=1.0, completed=2.0))
    if end:
        recording.end("completed")
        history.ended(ref)


async def test_a_trace_is_written_a_while_after_the_build(history: History) -> None:
    known = Spans()
    traces = BuildTraces(history, known, patience=0.0)
    watcher = history.watch()
    build(history)
    await watcher.take()
    traces.begin("one", {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    known.add(TRACE, b'{"Name":"told"}')
    traces.ended("one")
    await watcher.take()  # that there is more now
    found = history.attachments.of("one")[NAME]
    path = history.attachments.find(found.digest)
    assert path is not None
    names = [json.loads(line)["Name"] for line in path.read_bytes().splitlines()]
    assert names == ["told", "moby.buildkit.v1.Control/Solve", "step"]
    await traces.close()


async def test_a_trace_that_waits_is_written_at_the_end_of_the_daemon(history: History) -> None:
    traces = BuildTraces(history, Spans(), patience=1000.0)
    traces.begin("one", {})
    build(history)
    traces.ended("one")
    await traces.close()
    assert NAME in history.attachments.of("one")


async def test_builds_of_one_trace_are_told_the_same(history: History) -> None:
    known = Spans()
    traces = BuildTraces(history, known, patience=1000.0)
    known.add(TRACE, b'{"Name":"told"}')
    for ref in ("one", "two"):
        traces.begin(ref, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
        build(history, ref)
        traces.ended(ref)
    await traces.close()
    for ref in ("one", "two"):
        path = history.attachments.find(history.attachments.of(ref)[NAME].digest)
        assert path is not None
        assert path.read_bytes().startswith(b'{"Name":"told"}\n')
    assert known.take(TRACE) == []


async def test_a_trace_is_asked_for_at_its_time(history: History) -> None:
    traces = BuildTraces(history, Spans(), patience=0.0)
    with pytest.raises(NotFoundError):
        await traces.finalize("one")
    build(history, end=False)
    with pytest.raises(UnavailableError):
        await traces.finalize("one")
    for ref in ("never-recorded", "../no ref at all"):
        traces.begin(ref, {})
        traces.ended(ref)
    await asyncio.sleep(0)
    await traces.close()
