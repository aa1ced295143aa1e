"""Readers of the query socket: LinuxKit's modes, Boatyard's requests, and those that are slow, silent or gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import UnavailableError
from boatyard.logs import frames
from boatyard.logs.frames import Decoder, Frame
from boatyard.logs.memlogd import query
from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.server import LAGGING, SNAPSHOTS
from boatyard.logs.request import DUMP, DUMP_AND_FOLLOW, FOLLOW, Request
from boatyard.logs.stream import Decoding
from fixtures.log_yard import Client, LogYard, log_yard

SMALL = Bounds(lines=100, backlog=200_000)
"""A ring and a backlog smaller than what a socket takes at once."""


def flood(yard: LogYard, writable: int, lines: int, first: int = 0) -> None:
    """Numbered lines of 100 bytes."""
    for start in range(first, first + lines, 50):
        os.write(writable, b"".join(b"%-99d\n" % number for number in range(start, min(start + 50, first + lines))))
        yard.settle(1)


def test_a_dump_ends_and_following_goes_on(yard: LogYard) -> None:
    yard.feed(b"s", b"old\n")
    dump, follow, both = (yard.client(bytes([mode])) for mode in (0, 1, 2))
    yard.feed(b"s", b"new\n")
    assert dump.read_to_end() and [line["msg"] for line in dump.objects()] == ["memlogd started", "old"]
    follow.read()
    assert [line["msg"] for line in follow.objects()] == ["new"] and not follow.ended
    both.read()
    assert [line["msg"] for line in both.objects()] == ["memlogd started", "old", "new"] and not both.ended


@pytest.mark.parametrize("mode", [3, 9, 255])
def test_a_mode_there_is_not_is_answered_with_silence(yard: LogYard, mode: int) -> None:
    client = yard.client(bytes([mode]))
    yard.feed(b"s", b"line\n")
    assert client.read() == b"" and not client.ended


def test_clients_that_never_say_anything_hold_up_nobody(yard: LogYard) -> None:
    silent = [yard.client(b"") for _ in range(20)]
    assert yard.dump()
    assert not any(client.ended for client in silent)


def test_the_longest_silent_makes_way_when_there_are_too_many(yard: LogYard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "CONNECTIONS", 5)
    silent = [yard.client(b"") for _ in range(5)]
    assert yard.dump()
    for client in silent:
        client.read()
    assert [client.ended for client in silent] == [True, False, False, False, False]


def test_a_client_that_goes_before_it_said_anything_is_forgotten(yard: LogYard) -> None:
    client = yard.client(b"")
    client.close()
    yard.settle()
    assert not yard.server._desk._callers


def test_a_follower_that_goes_is_forgotten_before_anything_is_written(yard: LogYard) -> None:
    client = yard.client(b"\1")
    assert yard.server._outlets
    client.close()
    yard.settle()
    assert not yard.server._outlets and not yard.server.store.following


def test_a_follower_may_close_its_own_direction(yard: LogYard) -> None:
    client = yard.client(b"\1")
    client.socket.shutdown(socket.SHUT_WR)
    yard.feed(b"s", b"line\n")
    assert b'"msg":"line"' in client.read()


def test_bytes_after_the_mode_that_are_no_request_mean_nothing(yard: LogYard) -> None:
    client = yard.client(b"\0hello")
    assert b"memlogd started" in client.read_to_end()


def test_writers_are_never_held_up_by_a_reader_that_reads_nothing(tmp_path: Path) -> None:
    with log_yard(tmp_path, SMALL) as yard:
        stuck = yard.client(b"\2")
        writable = yard.source(b"s")
        flood(yard, writable, 20_000)
        assert yard.messages("s")[-1].strip() == "19999"
        assert yard.server.store.backlog._bytes <= SMALL.backlog
        assert not stuck.ended


def test_a_slow_follower_is_told_how_many_lines_of_which_source_it_missed(tmp_path: Path) -> None:
    with log_yard(tmp_path, SMALL) as yard:
        slow = yard.client(b"\1")
        spam, quiet = yard.source(b"spam"), yard.source(b"quiet;one")
        flood(yard, spam, 5000)
        os.write(quiet, b"a word\n")
        flood(yard, spam, 20_000, 5000)
        flood(yard, spam, 1, 25_000)
        slow.read()
        flood(yard, spam, 1, 25_001)
        slow.read()
        seen, missing = [], 0
        for line in slow.objects():
            if line["source"] == "memlogd":
                count, _, rest = line["msg"].partition(" ")
                if rest == "lines of spam are missing here: this reader was too slow":
                    assert int(count) and not missing
                    missing = int(count)
                    expected = len(seen) + missing
                else:
                    assert line["msg"] == "1 line of quiet;one is missing here: this reader was too slow"
                continue
            if line["source"] == "spam":
                if missing and len(seen) == expected - missing:
                    seen += [-1] * missing
                assert int(line["msg"]) == len(seen)
                seen.append(int(line["msg"]))
        assert missing and len(seen) == 25_002


def test_gaps_are_numbered_for_readers_that_know_frames(tmp_path: Path) -> None:
    with log_yard(tmp_path, SMALL) as yard:
        slow = yard.client(Request(FOLLOW))
        writable = yard.source(b"spam")
        flood(yard, writable, 20_000)
        slow.read()
        flood(yard, writable, 1, 20_000)
        slow.read()
        expected, gaps = 1, 0
        for frame in slow.frames():
            if frame.kind in (frames.GAP, frames.LINES):
                assert frame.number == expected
                expected += frame.count
                gaps += frame.kind == frames.GAP
                if frame.kind == frames.LINES:
                    assert int(frame.payload.split(b"\n")[0]) == frame.number - 1
        assert gaps and expected == 20_002


def test_dumps_that_nobody_reads_do_not_keep_the_memory_of_the_ring(tmp_path: Path) -> None:
    with log_yard(tmp_path, Bounds(lines=5000)) as yard:
        writable = yard.source(b"s")
        stuck: list[Client] = []
        for number in range(SNAPSHOTS + 4):
            flood(yard, writable, 5000, number * 5000)
            stuck.append(yard.client(Request(DUMP)))
        holding = [outlet for outlet in yard.server._outlets if outlet.reader.snapshot]
        assert len(holding) == SNAPSHOTS
        for client in stuck:
            client.read_to_end()
        told = [[frame for frame in client.frames() if frame.kind == frames.GAP] for client in stuck]
        assert [bool(each) for each in told] == [True] * 4 + [False] * SNAPSHOTS
        assert sum(frame.count for frame in stuck[0].frames() if frame.name == b"s") == 5000


def test_too_many_readers_that_are_behind_lose_the_one_that_waits_the_longest(tmp_path: Path) -> None:
    with log_yard(tmp_path, SMALL) as yard:
        writable = yard.source(b"s")
        clients = [yard.client(b"\1") for _ in range(LAGGING + 3)]
        flood(yard, writable, 10_000)
        assert len(yard.server._outlets) == LAGGING
        assert sum(client.ended for client in clients if client.read()) == 3


def test_a_request_chooses_sources_and_a_moment(yard: LogYard) -> None:
    yard.feed(b"web1", b"early\n")
    yard.clock += 10_000_000_000
    for name in (b"web1", b"web2", b"db"):
        yard.feed(name, b"late\n")
    client = yard.client(Request(DUMP, sources=["web*", "x"], since=yard.clock - 5_000_000_000))
    client.read_to_end()
    found = client.frames()
    assert [(frame.name, frame.payload) for frame in found if frame.payload and frame.kind == frames.LINES] == [
        (b"web1", b"late\n"),
        (b"web2", b"late\n"),
    ]
    assert (found[0].kind, found[0].payload) == (frames.HELLO, b"yard")
    assert found[-1].kind == frames.CAUGHT_UP


def test_states_of_sources_come_with_being_caught_up_and_in_their_place(yard: LogYard) -> None:
    yard.feed(b"ended", b"1\n2\n")
    writable = yard.source(b"open")
    client = yard.client(Request(DUMP_AND_FOLLOW, states=True))
    os.write(writable, b"x\n")
    yard.settle()
    yard.end(writable)
    client.read()
    after = [(frame.kind, frame.name, frame.number, frame.flags) for frame in client.frames()][1:]
    caught_up = after.index((frames.CAUGHT_UP, b"", 0, 0))
    states = [row for row in after[:caught_up] if row[0] == frames.SOURCE]
    assert (frames.SOURCE, b"ended", 2, 0) in states and (frames.SOURCE, b"open", 0, frames.OPEN) in states
    assert after[caught_up + 1 :] == [(frames.LINES, b"open", 1, 0), (frames.SOURCE, b"open", 1, 0)]


def test_a_request_may_come_in_pieces(yard: LogYard) -> None:
    client = yard.client(b"")
    for byte in Request(DUMP, sources=["memlogd"]).encode()[:1]:
        client.socket.send(bytes([byte]))
    yard.settle()
    client.read_to_end()
    assert client.received.startswith(b"{"), "the byte alone is LinuxKit's request"
    second = yard.client(Request(DUMP, sources=["memlogd"]).encode()[:20])
    second.socket.send(Request(DUMP, sources=["memlogd"]).encode()[20:])
    assert second.read_to_end().startswith(frames.MAGIC)


@pytest.mark.parametrize("text", [b"\2boat-logs/1\nsince tomorrow\n\n", b"\2boat-logs/1\n" + b"source x\n" * 10_000])
def test_a_request_that_makes_no_sense_ends_the_connection(yard: LogYard, text: bytes) -> None:
    client = yard.client(text[:60_000])
    if text[60_000:]:
        client.socket.send(text[60_000:])
    yard.until(lambda: client.read() == b"" and client.ended)


def test_memlogd_says_when_it_stops(yard: LogYard) -> None:
    frame_reader, json_reader = yard.client(Request(FOLLOW)), yard.client(b"\1")
    os.write(yard.source(b"s"), b"last\n")
    yard.stop()
    for client in (frame_reader, json_reader):
        client.read_after_stop()
    assert frame_reader.frames()[-1].kind == frames.STOPPED
    assert [line["msg"] for line in json_reader.objects()] == ["last"]


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda data: b"\2boat-logs/1\n" + data)))
def test_no_bytes_of_a_client_harm_memlogd(tmp_path_factory: pytest.TempPathFactory, sent: bytes) -> None:
    with log_yard(tmp_path_factory.mktemp("y")) as yard:
        client = yard.client(sent)
        yard.feed(b"s", b"goes on\n")
        assert yard.messages("s") == ["goes on"]
        client.close()
        yard.settle()
        assert not yard.server._outlets and not yard.server._desk._callers


@given(st.lists(st.binary(max_size=80)))
def test_no_bytes_make_a_decoder_do_anything_but_refuse(pieces: list[bytes]) -> None:
    decoding = Decoding()
    try:
        for piece in pieces:
            list(decoding.feed(piece))
    except UnavailableError:
        pass


@given(
    st.lists(
        st.builds(
            Frame,
            st.sampled_from([frames.LINES, frames.GAP, frames.SOURCE]),
            flags=st.integers(0, 255),
            name=st.binary(max_size=20),
            payload=st.binary(max_size=50),
            count=st.integers(0, 2**32 - 1),
            number=st.integers(0, 2**64 - 1),
            time=st.integers(0, 2**64 - 1),
        )
    ),
    st.integers(1, 40),
)
def test_frames_come_out_as_they_went_in_whatever_the_pieces(sent: list[Frame], size: int) -> None:
    data = b"".join(frame.encode() for frame in sent)
    decoder = Decoder()
    got = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    fields = Frame.__slots__
    assert [[getattr(frame, name) for name in fields] for frame in got] == [
        [getattr(frame, name) for name in fields] for frame in sent
    ]
    assert not decoder
