"""What other parts of Boatyard see of logs: a real memlogd process behind it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from boatyard.errors import InvalidError, UnavailableError
from boatyard.logs.sink import LogLine, LogSink
from fixtures.log_programs import Programs

SECOND = 1_000_000_000


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    programs = Programs(tmp_path_factory.mktemp("sink"), ["-quiet"])
    programs.start("memlogd")
    yield programs
    programs.close()


@pytest.fixture
def sink(programs: Programs) -> LogSink:
    return LogSink(programs.log_socket, programs.query_socket)


def write(sink: LogSink, name: str, text: bytes) -> None:
    descriptor = sink.open(name)
    os.write(descriptor, text)
    os.close(descriptor)


async def take(lines: AsyncIterator[LogLine], count: int) -> list[LogLine]:
    async def taken() -> list[LogLine]:
        return [await anext(lines) for _ in range(count)]

    return await asyncio.wait_for(taken(), 30)


async def test_what_is_given_comes_back_line_by_line(sink: LogSink) -> None:
    readable, writable = os.pipe()
    sink.give("step", readable)
    os.close(readable)
    os.write(writable, b"one\ntwo \xff\nth")
    lines = sink.follow(sources=["step"])
    got = await take(lines, 2)
    os.write(writable, b"ree\n")
    os.close(writable)
    got += await take(lines, 1)
    assert [(line.source, line.text, line.number) for line in got] == [
        ("step", "one", 1),
        ("step", "two \ufffd", 2),
        ("step", "three", 3),
    ]
    assert got[0].time <= got[2].time <= time.time_ns()


async def test_following_ends_at_its_moment(sink: LogSink) -> None:
    write(sink, "s", b"early\n")
    started = time.time_ns()
    got = [line.text async for line in sink.follow(sources=["s"], until=time.time_ns() + SECOND // 5)]
    assert got == ["early"] and time.time_ns() - started >= SECOND // 5


async def test_a_moment_that_is_over_gives_what_was_before(sink: LogSink) -> None:
    write(sink, "s", b"before\n")
    [line] = await take(sink.follow(sources=["s"]), 1)
    write(sink, "s", b"after\n")
    assert [each.text async for each in sink.follow(sources=["s"], until=line.time)] == ["before"]
    assert (await take(sink.follow(sources=["s"], since=line.time + 1), 1))[0].text == "after"


async def test_following_lives_on_when_memlogd_is_started_anew(programs: Programs, sink: LogSink) -> None:
    descriptor = sink.open("s")
    os.write(descriptor, b"first\n")
    lines = sink.follow(sources=["s"])
    assert (await take(lines, 1))[0].text == "first"
    programs.kill("memlogd")
    os.close(descriptor)
    programs.start("memlogd")
    write(sink, "s", b"second\n")
    lost, second = await take(lines, 2)
    assert (lost.source, lost.missing, lost.number) == ("s", -1, 2)
    assert (second.text, second.missing) == ("second", 0)


async def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    sink = LogSink(str(tmp_path / "l"), str(tmp_path / "q"))
    with pytest.raises(UnavailableError, match="can't be reached"):
        await anext(sink.follow())
    with pytest.raises(UnavailableError, match="can't be reached"):
        sink.open("x")


@pytest.mark.parametrize("name", ["", "x" * 513])
def test_a_name_that_memlogd_would_change_is_refused(sink: LogSink, name: str) -> None:
    with pytest.raises(InvalidError, match="1 to 512 bytes"):
        sink.open(name)


async def test_many_lines_are_followed_at_once_without_one_missing(sink: LogSink) -> None:
    descriptor = sink.open("s")
    lines = sink.follow(sources=["s"])
    for first in range(0, 20_000, 500):
        os.write(descriptor, b"".join(b"%d\n" % number for number in range(first, first + 500)))
        assert [line.text for line in await take(lines, 500)] == [str(number) for number in range(first, first + 500)]
    os.close(descriptor)
