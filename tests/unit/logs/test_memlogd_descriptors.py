"""What is handed over: descriptors that are good for nothing, too many, none; names of every kind."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from fixtures.log_yard import LogYard, log_yard


def own_words(yard: LogYard) -> list[str]:
    return yard.messages("memlogd")[1:]


def test_a_directory_is_refused(yard: LogYard, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yard.send(b"dir", descriptor)
    os.close(descriptor)
    assert own_words(yard) == ["a descriptor of 'dir' was refused: it is a directory"]


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_CREAT, os.O_PATH])
def test_what_can_not_be_read_is_refused(yard: LogYard, tmp_path: Path, flags: int) -> None:
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", flags)
    yard.send(b"x", descriptor)
    os.close(descriptor)
    assert own_words(yard) == ["a descriptor of 'x' was refused: it can't be read"]


def test_the_writing_end_of_a_pipe_is_refused_and_closed(yard: LogYard) -> None:
    readable, writable = os.pipe()
    yard.send(b"x", writable)
    os.close(writable)
    assert os.read(readable, 1) == b"", "somebody still has the writing end"
    os.close(readable)


def test_a_listening_socket_ends_with_a_word(yard: LogYard) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yard.send(b"listener", listener.fileno())
        with socket.create_connection(listener.getsockname()):
            yard.until(lambda: not yard.server._intake.feeds)
    assert own_words(yard)[-1].startswith("listener can't be read any more: ")


def test_one_that_was_closed_at_once_ends_without_a_line(yard: LogYard) -> None:
    yard.feed(b"closed")
    assert yard.messages("closed") == [] and not yard.server._intake.feeds


def test_two_in_one_message_are_two_sources_of_one_name(yard: LogYard) -> None:
    pipes = [os.pipe(), os.pipe()]
    yard.send(b"two", *(readable for readable, _ in pipes))
    for number, (readable, writable) in enumerate(pipes):
        os.close(readable)
        os.write(writable, b"line %d\n" % number)
        yard.settle()
        os.close(writable)
    assert yard.messages("two") == ["line 0", "line 1"]


def test_the_most_that_a_message_can_carry_is_taken(yard: LogYard) -> None:
    readable, writable = os.pipe()
    yard.send(b"many", *([readable] * 253))
    assert len(yard.server._intake.feeds) == 253
    os.close(readable)
    os.write(writable, b"once\n")
    os.close(writable)
    yard.until(lambda: not yard.server._intake.feeds)
    assert yard.messages("many") == ["once"]


def test_none_in_a_message_is_nothing(yard: LogYard) -> None:
    yard.send(b"none")
    assert [line["msg"] for line in yard.dump()] == ["memlogd started"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"", ""),
        (b"with\nnewline", "with\nnewline"),
        (b"N" * 600, "N" * 512),
        (b"nul\0in it", "nul\0in it"),
        (b"\xff", "\ufffd"),
        (b"../../etc/x", "../../etc/x"),
    ],
)
def test_a_name_is_taken_as_it_is_up_to_512_bytes(yard: LogYard, name: bytes, shown: str) -> None:
    yard.feed(name, b"m\n")
    assert yard.dump()[-1] == {"time": "2027-01-15T08:00:00Z", "source": shown, "msg": "m"}


def test_somebody_else_who_reads_the_same_pipe_holds_up_nobody(yard: LogYard) -> None:
    readable, writable = os.pipe()
    yard.send(b"shared", readable)
    os.write(writable, b"stolen\n")
    assert os.read(readable, 100) == b"stolen\n"
    next(iter(yard.server._intake.feeds)).ready(0)  # as if it had been told before the other one read
    yard.feed(b"other", b"goes on\n")
    assert yard.messages("other") == ["goes on"]
    os.close(readable)
    os.close(writable)


def test_ten_thousand_sources_are_read(tmp_path: Path) -> None:
    with log_yard(tmp_path) as yard, tempfile.TemporaryFile() as file:
        for number in range(10_000):
            file.write(b"from %d\n" % number)
            file.flush()
            readable, writable = os.pipe()
            os.write(writable, b"from %d\n" % number)
            yard.send(b"source%d" % number, readable)
            os.close(readable)
            os.close(writable)
        yard.until(lambda: not yard.server._intake.feeds)
        assert yard.messages("source9999") == ["from 9999"]
        assert len(yard.dump()) == 5000


def test_sources_beyond_the_limit_are_refused_and_readers_are_still_answered(tmp_path: Path) -> None:
    with log_yard(tmp_path, descriptors=64 + 40) as yard:
        writers = [yard.source(b"s%d" % number) for number in range(60)]
        refused = [word for word in own_words(yard) if "there is no room for more" in word]
        assert len(refused) == 20
        for writable in writers[:5]:
            os.write(writable, b"still read\n")
        yard.settle()
        assert "still read" in yard.messages("s0")


def test_a_flood_of_bad_descriptors_says_little(yard: LogYard, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        yard.send(b"dir", descriptor)
    os.close(descriptor)
    assert len(own_words(yard)) == 20
    yard.clock += 1_000_000_000
    yard.send(b"closed", descriptor := os.open(tmp_path, os.O_RDONLY))
    os.close(descriptor)
    assert own_words(yard)[20] == "and 280 more like it"
