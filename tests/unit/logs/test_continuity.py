"""No line twice and none missing without a word, over lost connections and other memlogds: against the true history."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.logs import frames
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import Event, Gap, Hello, Known, Lines, Lost
from boatyard.logs.frames import Frame
from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.request import DUMP_AND_FOLLOW, FOLLOW, Request
from fixtures.log_yard import LogYard, log_yard


def take(continuity: Continuity, *given_frames: Frame) -> list[Event]:
    return [event for frame in given_frames for event in continuity.take(frame)]


def hello(identity: str = "one", flags: int = 0) -> Frame:
    return Frame(frames.HELLO, payload=identity.encode(), flags=flags)


def lines(name: bytes, first: int, last: int) -> Frame:
    data = b"".join(b"%d\n" % number for number in range(first, last + 1))
    return Frame(frames.LINES, name=name, number=first, count=last - first + 1, payload=data, time=7)


def state(name: bytes, number: int, *, base: int = 0, is_open: bool = True) -> Frame:
    return Frame(frames.SOURCE, name=name, number=number, time=base, flags=frames.OPEN if is_open else 0)


CAUGHT_UP = Frame(frames.CAUGHT_UP)


def story(events: list[Event]) -> list[tuple[object, ...]]:
    """Lines and gaps only."""
    told: list[tuple[object, ...]] = []
    for event in events:
        if isinstance(event, Lines):
            assert [int(line) for line in event.data.splitlines()] == list(
                range(event.number, event.number + event.count)
            )
            told.append(("lines", event.source, event.number, event.count))
        elif isinstance(event, Gap):
            told.append(("gap", event.source, event.number, event.count))
        elif isinstance(event, Lost):
            told.append(("lost", event.source, event.number))
    return told


def test_what_was_seen_before_the_connection_was_lost_is_dropped() -> None:
    continuity = Continuity()
    take(continuity, hello(), state(b"s", 5), lines(b"s", 3, 5), CAUGHT_UP, lines(b"s", 6, 7))
    again = take(continuity, hello(), state(b"s", 9), lines(b"s", 4, 9), CAUGHT_UP)
    assert story(again) == [("lines", b"s", 8, 2)]


def test_what_fell_out_of_memory_meanwhile_is_a_gap() -> None:
    continuity = Continuity()
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0), lines(b"s", 1, 5))
    assert story(take(continuity, hello(), state(b"s", 20), lines(b"s", 11, 20), CAUGHT_UP)) == [
        ("gap", b"s", 6, 5),
        ("lines", b"s", 11, 10),
    ]


def test_a_source_whose_last_lines_are_gone_has_a_gap_when_caught_up() -> None:
    continuity = Continuity()
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0), lines(b"s", 1, 5))
    assert story(take(continuity, hello(), state(b"s", 8, is_open=False), CAUGHT_UP)) == [("gap", b"s", 6, 3)]


def test_a_dump_begins_somewhere_but_for_who_wants_all_of_it() -> None:
    frames_ = (hello(), state(b"s", 9), state(b"gone", 4, is_open=False), lines(b"s", 8, 9), CAUGHT_UP)
    assert story(take(Continuity(), *frames_)) == [("lines", b"s", 8, 2)]
    assert story(take(Continuity(complete=True), *frames_)) == [
        ("gap", b"s", 1, 7),
        ("lines", b"s", 8, 2),
        ("gap", b"gone", 1, 4),
    ]


def test_a_source_that_appears_later_is_seen_from_its_first_line() -> None:
    continuity = Continuity()
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0))
    assert story(take(continuity, lines(b"s", 3, 3))) == [("gap", b"s", 1, 2), ("lines", b"s", 3, 1)]


def test_a_slow_reader_is_told_once() -> None:
    continuity = Continuity()
    take(continuity, hello(), state(b"s", 2), CAUGHT_UP)
    gap = Frame(frames.GAP, name=b"s", number=3, count=10)
    assert story(take(continuity, gap, gap, lines(b"s", 13, 13))) == [("gap", b"s", 3, 10), ("lines", b"s", 13, 1)]


def test_another_memlogd_counts_anew_and_what_the_first_held_is_lost() -> None:
    continuity = Continuity()
    take(
        continuity, hello(), CAUGHT_UP, state(b"s", 0), lines(b"s", 1, 5), state(b"e", 0), state(b"e", 0, is_open=False)
    )
    events = take(continuity, hello("two"), state(b"s", 3), lines(b"s", 2, 3), CAUGHT_UP)
    assert story(events) == [("lost", b"s", 5), ("gap", b"s", 1, 1), ("lines", b"s", 2, 2)]
    assert [event.identity for event in events if isinstance(event, Hello)] == ["two"]


def test_a_source_that_ended_before_memlogd_did_has_lost_nothing() -> None:
    continuity = Continuity()
    take(
        continuity, hello(), CAUGHT_UP, state(b"s", 0), state(b"e", 0), lines(b"e", 1, 2), state(b"e", 2, is_open=False)
    )
    take(continuity, Frame(frames.STOPPED))
    assert story(take(continuity, hello("two"), state(b"e", 1), lines(b"e", 1, 1), CAUGHT_UP)) == [
        ("lost", b"s", 0),
        ("lines", b"e", 1, 1),
    ]


def test_after_a_memlogd_was_killed_a_source_nobody_heard_of_may_have_lost_lines() -> None:
    now = 0.0
    continuity = Continuity(clock=lambda: now)
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0))
    told = take(
        continuity, hello("two", frames.ORPHAN), state(b"s", 0), state(b"new", 0), CAUGHT_UP, state(b"newer", 0)
    )
    assert story(told) == [("lost", b"s", 0), ("lost", b"new", 0), ("lost", b"newer", 0)]
    now = 100.0
    assert story(take(continuity, state(b"newest", 0))) == []


def test_a_source_that_memlogd_forgot_while_nobody_read_may_have_lost_lines() -> None:
    continuity = Continuity()
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0), lines(b"s", 1, 5))
    assert story(take(continuity, hello(), CAUGHT_UP)) == [("lost", b"s", 5)]


def test_a_reader_goes_on_where_another_one_stopped() -> None:
    continuity = Continuity(complete=True, identity="one", numbers={"one": {b"s": 5}}, open=[b"s"])
    assert story(take(continuity, hello(), state(b"s", 7), lines(b"s", 3, 7), CAUGHT_UP)) == [("lines", b"s", 6, 2)]
    continuity = Continuity(complete=True, identity="one", numbers={"one": {b"s": 5}}, open=[b"s"])
    assert story(take(continuity, hello("two"), CAUGHT_UP)) == [("lost", b"s", 5)]


def test_a_name_that_memlogd_forgot_is_not_taken_for_what_it_was() -> None:
    continuity = Continuity()
    take(continuity, hello(), CAUGHT_UP, state(b"s", 0), lines(b"s", 1, 5), state(b"s", 5, is_open=False))
    assert story(take(continuity, state(b"s", 40, base=40), lines(b"s", 41, 42))) == [("lines", b"s", 41, 2)]
    assert story(take(continuity, hello(), state(b"s", 80, base=70), lines(b"s", 75, 80), CAUGHT_UP)) == [
        ("lost", b"s", 42),
        ("gap", b"s", 71, 4),
        ("lines", b"s", 75, 6),
    ]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 9)),
        st.tuples(
            st.sampled_from(["read", "reconnect", "open", "end"]), st.sampled_from([b"a", b"b", b"c"]), st.just(0)
        ),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, fair=st.booleans())
def test_lines_and_gaps_together_are_everything(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bytes, int]], fair: bool
) -> None:
    """A real memlogd with a small ring; a reader that comes and goes."""
    with log_yard(tmp_path_factory.mktemp("y"), Bounds(lines=12, fair=fair)) as yard:
        yard.server.store.sources._limit = 1
        written: dict[bytes, list[int]] = {}
        seen: dict[bytes, list[int]] = {}
        writers: dict[bytes, int] = {}
        continuity = Continuity(complete=True)
        request = Request(DUMP_AND_FOLLOW, states=True)
        client = yard.client(request)
        done = 0

        def read() -> None:
            nonlocal done
            client.read()
            for frame in client.frames()[done:]:
                done += 1
                for event in continuity.take(frame):
                    name = getattr(event, "source", b"")
                    if isinstance(event, Lines) and name != b"memlogd":
                        seen.setdefault(name, []).extend(int(line) for line in event.data.splitlines())
                    elif isinstance(event, Gap) and name != b"memlogd":
                        begun = len(seen.setdefault(name, []))
                        seen[name] += written[name][begun : begun + event.count]
                    elif isinstance(event, Lost):
                        begun = len(seen.setdefault(name, []))
                        seen[name] += lost_until(name, begun)

        def lost_until(name: bytes, begun: int) -> list[int]:
            """All that the forgotten name had; what came after it was known again is numbered from its base."""
            source = next(state for state in yard.server.store.sources.states() if state[0] == name)
            return written[name][begun : len(written[name]) - (source[2] - source[1])]

        for what, name, count in steps:
            if what in ("write", "open") and name not in writers:
                writers[name] = yard.source(name)
            if what == "write":
                numbers = written.setdefault(name, [])
                data = b""
                for _ in range(count):
                    numbers.append(len(numbers))
                    data += b"%d\n" % numbers[-1]
                os.write(writers[name], data)
                yard.settle(1)
            elif what == "end" and name in writers:
                yard.end(writers.pop(name))
            elif what == "read":
                read()
            elif what == "reconnect":
                client.close()
                yard.settle(1)
                client = yard.client(request)
                done = 0
        read()
        yard.settle()
        read()
        assert seen == written


def test_a_follower_knows_which_sources_there_are(yard: LogYard, tmp_path: Path) -> None:
    yard.feed(b"ended", b"1\n")
    yard.source(b"open")
    client = yard.client(Request(FOLLOW, states=True))
    client.read()
    known = [event for event in take(Continuity(), *client.frames()) if isinstance(event, Known)]
    assert {(event.source, event.open) for event in known} >= {(b"ended", False), (b"open", True)}
