from __future__ import annotations

import itertools

from boatyard._pb.control_pb2 import StatusResponse
from boatyard.api.buildkit import status
from boatyard.api.buildkit.status import StatusMessages, framed
from boatyard.progress import Event, ExplainEvent, LogEvent, Range, StatusEvent, VertexEvent, WarningEvent

MESSAGES = StatusMessages(lambda: {"Dockerfile": "FROM x\n"})


def told(*events: Event) -> list[StatusResponse]:
    return list(MESSAGES.of(events))


def test_a_batch_of_events_is_one_message() -> None:
    [message] = told(
        VertexEvent(digest="a", name="step", inputs=("b",), started=1.5),
        LogEvent(vertex="a", stream=2, data="said\n", time=2.0),
        VertexEvent(digest="a", name="step", started=1.5, completed=2.25, cached=True, error="no"),
    )
    first, last = message.vertexes
    assert (first.digest, first.name, list(first.inputs), first.HasField("completed")) == ("a", "step", ["b"], False)
    assert (last.started.nanos, last.completed.seconds, last.completed.nanos) == (500_000_000, 2, 250_000_000)
    assert (last.cached, last.error) == (True, "no")
    assert (message.logs[0].msg, message.logs[0].stream) == (b"said\n", 2)


def test_nothing_is_said_of_reasons_and_of_nothing() -> None:
    assert told() == []
    assert told(ExplainEvent(vertex="a", name="x", reasons=("changed",))) == []


def test_a_skipped_step_neither_begins_nor_ends() -> None:
    [message] = told(VertexEvent(digest="a", name="x", started=1.0, completed=1.0, skipped=True))
    assert not message.vertexes[0].HasField("started")


def test_a_step_that_ends_has_begun() -> None:
    [message] = told(VertexEvent(digest="a", name="x", completed=3.0))
    assert message.vertexes[0].started.seconds == 3


def test_of_a_transfer_the_last_word_is_enough() -> None:
    [message] = told(
        *(StatusEvent(vertex="a", id="t", name="t", current=number, total=9) for number in range(9)),
        StatusEvent(vertex="b", id="t", name="t", current=1, started=1.0, completed=2.0),
    )
    assert [(each.vertex, each.current, each.total) for each in message.statuses] == [("a", 8, 9), ("b", 1, 0)]
    assert message.statuses[1].completed.seconds == 2


def test_groups_are_told_with_their_ids() -> None:
    [message] = told(VertexEvent(digest="a", name="x", group="copying", group_id="7", group_weak=True))
    group = message.vertexes[0].progressGroup
    assert (group.id, group.name, group.weak) == ("7", "copying", True)


def test_warnings_show_where_they_point() -> None:
    [message] = told(
        WarningEvent(
            vertex="a",
            code="Rule",
            short="bad",
            detail="one\ntwo",
            url="u",
            filename="Dockerfile",
            range=Range(2, 3),
            ranges=(Range(5, 5),),
        ),
        WarningEvent(short="plain", level=2),
    )
    first, second = message.warnings
    assert (first.short, list(first.detail), first.url) == (b"Rule: bad (line 2)", [b"one", b"two"], "u")
    assert (first.info.filename, first.info.data) == ("Dockerfile", b"FROM x\n")
    assert [(each.start.line, each.end.line) for each in first.ranges] == [(2, 3), (5, 5)]
    assert (second.short, second.level, second.HasField("info")) == (b"plain", 2, False)


def test_much_is_parted_into_messages() -> None:
    line = LogEvent(vertex="a", stream=1, data="x" * 300_000, time=1.0)
    sizes = [message.ByteSize() for message in told(*itertools.repeat(line, 20))]
    assert len(sizes) > 1
    assert max(sizes) < 2 * status.MOST_LOG
    many = told(*(VertexEvent(digest=str(number), name="x") for number in range(status.MOST_EVENTS * 2 + 1)))
    assert [len(message.vertexes) for message in many] == [status.MOST_EVENTS, status.MOST_EVENTS, 1]


def test_names_that_are_no_text_are_printable() -> None:
    [message] = told(VertexEvent(digest="a", name="COPY \udcff", error="no \udcff"))
    assert message.vertexes[0].name == r"COPY \xff"


def test_recorded_messages_stand_behind_their_lengths() -> None:
    messages = told(VertexEvent(digest="a", name="x"))
    data = b"".join(framed(messages))
    size = int.from_bytes(data[:4], "little")
    assert StatusResponse.FromString(data[4:]) == messages[0]
    assert size == len(data) - 4
