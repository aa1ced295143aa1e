"""What memlogd makes of what is written to it: as the original does, and what the original leaves open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.request import DUMP, Request
from fixtures.log_yard import LogYard, log_yard

RECORDED: dict[str, tuple[list[bytes], list[str]]] = {
    # The pieces that were written, and the messages the original's dump showed.
    "plain": ([b"hello\nworld\n"], ["hello", "world"]),
    "empty lines": ([b"\n\n\nx\n"], ["", "", "", "x"]),
    "carriage returns": ([b"a\r\nb\r\r\nc\rd\n\r\n"], ["a", "b\r", "c\rd", ""]),
    "no newline at the end": ([b"one\ntwo"], ["one", "two"]),
    "a carriage return at the end": ([b"x\r"], ["x\r"]),
    "in pieces": ([b"ab", b"cd\nef", b"gh\n"], ["abcd", "efgh"]),
    "NUL": ([b"a\0b\0\n\0\n"], ["a\0b\0", "\0"]),
    "exactly long enough": ([b"x" * 1024 + b"\n"], ["x" * 1024]),
    "exactly long enough, with CR": ([b"x" * 1024 + b"\r\n"], ["x" * 1024]),
    "one byte too long": ([b"y" * 1025 + b"\nnext\n"], ["y" * 1024, "next"]),
    "much too long": ([b"w" * 10000 + b"\nnext\n"], ["w" * 1024, "next"]),
    "much too long, without an end": ([b"w" * 10000], ["w" * 1024]),
    "cut in a letter": ([b"a" * 1023 + "é".encode() + b"tail\n"], ["a" * 1023 + "\ufffd"]),
    "cut in a longer letter": ([b"a" * 1022 + "日".encode() + b"tail\n"], ["a" * 1022 + "\ufffd\ufffd"]),
    "no UTF-8": ([b"\xff \xe2\x82x\n"], ["\ufffd \ufffd\ufffdx"]),
}


@pytest.mark.parametrize("case", RECORDED)
def test_lines_are_those_of_the_original(yard: LogYard, case: str) -> None:
    pieces, messages = RECORDED[case]
    yard.feed(case.encode(), *pieces)
    assert yard.messages(case) == messages


def test_the_first_line_says_that_memlogd_started(yard: LogYard) -> None:
    client = yard.client(b"\0")
    assert client.read_to_end() == (
        b'{"time":"2027-01-15T08:00:00Z","source":"memlogd","msg":"memlogd started"}\n'
    )  # fmt: skip


def test_a_line_carries_the_moment_at_which_it_was_complete(yard: LogYard) -> None:
    writable = yard.source(b"slow")
    os.write(writable, b"begun ")
    yard.settle()
    yard.clock += 5_000_000_001
    os.write(writable, b"and done\n")
    yard.settle()
    assert yard.dump()[-1] == {"time": "2027-01-15T08:00:05.000000001Z", "source": "slow", "msg": "begun and done"}


def test_a_clock_that_is_set_back_changes_times_and_no_order(yard: LogYard) -> None:
    writable = yard.source(b"s")
    follower = yard.client(Request(DUMP + 2, states=True))
    for number, step in enumerate((0, -3600, 7200)):
        yard.clock += step * 1_000_000_000
        os.write(writable, b"%d\n" % number)
        yard.settle()
    assert [line["time"][11:16] for line in yard.dump() if line["source"] == "s"] == ["08:00", "07:00", "09:00"]
    follower.read()
    assert [frame.number for frame in follower.frames() if frame.name == b"s" and frame.payload] == [1, 2, 3]


def test_interleaved_writers_are_not_mixed_up(yard: LogYard) -> None:
    left, right = yard.source(b"left"), yard.source(b"right")
    for number in range(20):
        os.write(left, b"left %d" % number)
        os.write(right, b"right %d" % number)
        yard.settle()
        os.write(right, b" end\n")
        os.write(left, b" end\n")
        yard.settle()
    assert yard.messages("left") == [f"left {number} end" for number in range(20)]
    assert yard.messages("right") == [f"right {number} end" for number in range(20)]


def test_two_descriptors_of_one_name_are_not_mixed_up(yard: LogYard) -> None:
    one, other = yard.source(b"same"), yard.source(b"same")
    os.write(one, b"half of ")
    yard.settle()
    os.write(other, b"whole\n")
    yard.settle()
    os.write(one, b"one\n")
    yard.settle()
    assert yard.messages("same") == ["whole", "half of one"]


def test_a_name_that_is_used_again_begins_with_a_new_line(yard: LogYard) -> None:
    yard.feed(b"again", b"first, without an end")
    yard.feed(b"again", b"second\n")
    assert yard.messages("again") == ["first, without an end", "second"]


def test_long_lines_go_on_as_lines_when_they_are_split(tmp_path: Path) -> None:
    with log_yard(tmp_path, Bounds(line_length=10, split=True)) as yard:
        yard.feed(b"s", b"0123456789" * 3 + b"end\nnext\n")
        assert yard.messages("s") == ["0123456789"] * 3 + ["end", "next"]
        client = yard.client(Request(DUMP, sources=["s"]))
        client.read_to_end()
        assert [(frame.payload, frame.flags) for frame in client.frames() if frame.payload and frame.name == b"s"] == [
            (b"0123456789\n" * 3, 1),
            (b"end\nnext\n", 0),
        ]


def test_a_socket_a_fifo_a_terminal_and_a_file_are_read_to_their_end(yard: LogYard, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    yard.send(b"socket", theirs.fileno())
    theirs.close()
    ours.send(b"by socket\n")
    ours.close()

    os.mkfifo(tmp_path / "fifo")
    readable = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writable = os.open(tmp_path / "fifo", os.O_WRONLY)
    yard.send(b"fifo", readable)
    os.close(readable)
    os.write(writable, b"by fifo\n")
    os.close(writable)

    master, slave = os.openpty()
    yard.send(b"terminal", master)
    os.write(slave, b"by terminal\n")
    yard.settle()
    os.close(slave)
    os.close(master)
    yard.until(lambda: not yard.server._intake.feeds)
    for name in ("socket", "fifo", "terminal"):
        assert yard.messages(name) == [f"by {name}"]

    (tmp_path / "file").write_bytes(b"by file\n" * 20_000)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    yard.send(b"file", file)
    os.close(file)
    yard.until(lambda: not yard.server._intake.feeds)
    assert set(yard.messages("file")) == {"by file"}
    assert yard.server.store.sources.get(b"file").taken == 20_000


def test_a_dump_shows_the_last_lines_and_not_one_more(yard: LogYard) -> None:
    yard.feed(
        b"s", *(b"".join(b"%d\n" % number for number in range(start, start + 500)) for start in range(0, 10_000, 500))
    )
    assert yard.messages("s") == [str(number) for number in range(5000, 10_000)]


def test_one_line_at_a_time_is_bounded_as_well(tmp_path: Path) -> None:
    with log_yard(tmp_path, Bounds(lines=10)) as yard:
        writable = yard.source(b"s")
        for number in range(25):
            os.write(writable, b"%d\n" % number)
            yard.settle(1)
        assert [line["msg"] for line in yard.dump()] == [str(number) for number in range(15, 25)]


def test_what_was_written_is_a_line_when_memlogd_stops(yard: LogYard) -> None:
    follower = yard.client(b"\1")
    os.write(yard.source(b"s"), b"whole\nand a half")
    yard.stop()
    follower.read_after_stop()
    assert [line["msg"] for line in follower.objects()] == ["whole", "and a half"]
