from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from boatyard.build import following, history
from boatyard.build.history import Change, History
from boatyard.build.recording import Recording
from boatyard.errors import NotFoundError, UnavailableError
from boatyard.progress import Event, LogEvent, VertexEvent, WarningEvent


@pytest.fixture
def past(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def begin(past: History, ref: str = "r", *, internal: bool = False) -> Recording:
    return past.begin(ref, ref, {}, [], "", internal=internal)


def line(number: int, size: int = 0) -> LogEvent:
    return LogEvent(vertex="v", stream=1, data=f"{number} {'x' * size}\n", time=1.0)


async def followed(past: History, ref: str = "r") -> list[Event]:
    return [event async for batch in past.follow(ref) for event in batch]


async def until(condition: object) -> None:
    for _ in range(10_000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition did not come true")


async def test_a_follower_hears_what_was_told_before_and_what_comes(past: History) -> None:
    recording = begin(past)
    for number in range(3):
        recording.add(line(number))
    following = asyncio.create_task(followed(past))
    await until(lambda: recording.listeners)
    for number in range(3, 6):
        recording.add(line(number))
        await asyncio.sleep(0)
    recording.end("completed")
    past.ended("r")
    assert await following == [line(number) for number in range(6)]
    assert recording.listeners == []


async def test_many_follow_one_build(past: History) -> None:
    recording = begin(past)
    readers = [asyncio.create_task(followed(past)) for _ in range(20)]
    await until(lambda: len(recording.listeners) == 20)
    for number in range(10):
        recording.add(line(number))
    recording.end("completed")
    past.ended("r")
    assert all(heard == [line(number) for number in range(10)] for heard in await asyncio.gather(*readers))


async def test_what_is_told_at_once_comes_in_one_batch(past: History) -> None:
    recording = begin(past)
    batches = past.follow("r")
    first = asyncio.ensure_future(anext(batches))
    await until(lambda: recording.listeners)
    for number in range(10):
        recording.add(line(number))
    assert len(await first) == 10
    await batches.aclose()
    recording.end("completed")


async def test_after_a_batch_there_is_a_pause_but_not_at_the_end(past: History) -> None:
    recording = begin(past)
    batches = past.follow("r", pause=1000.0)
    first = asyncio.ensure_future(anext(batches))
    await until(lambda: recording.listeners)
    recording.add(line(0))
    assert await first == [line(0)]
    second = asyncio.ensure_future(anext(batches))
    for number in range(1, 4):
        recording.add(line(number))
        await asyncio.sleep(0)
    assert not second.done()
    recording.end("completed")
    assert await second == [line(1), line(2), line(3)]
    assert [batch async for batch in batches] == []


async def test_a_reader_that_falls_behind_costs_nothing_and_misses_nothing(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", 20_000)
    monkeypatch.setattr(history, "READ_AT_ONCE", 5_000)
    recording = begin(past)
    heard: list[Event] = []
    async with aclosing(past.follow("r")) as batches:
        first = asyncio.ensure_future(anext(batches))
        await until(lambda: recording.listeners)
        recording.add(line(0))
        heard += await first
        for number in range(1, 400):  # a hundred thousand bytes, while nothing is read
            recording.add(line(number, 200))
        (ear,) = recording.listeners
        assert ear.overflowed and not ear._waiting
        number = 400
        async for batch in batches:
            heard += batch
            if number < 420:  # and more, while it catches up
                recording.add(line(number, 200))
                number += 1
            elif recording.record.status == "running":
                recording.end("completed")
                past.ended("r")
    assert heard == [line(0), *(line(number, 200) for number in range(1, 420))]


async def test_a_build_whose_record_the_disk_refuses_can_still_be_followed(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", 5_000)
    recording = begin(past)
    recording._close()
    following_task = asyncio.create_task(followed(past))
    await until(lambda: recording.listeners)
    recording.add(line(1))
    await until(lambda: not recording.listeners[0]._waiting)
    for number in range(2, 30):
        recording.add(line(number, 500))
    await until(lambda: not recording.listeners[0].overflowed)
    recording.add(line(30))
    recording.end("completed")
    heard = await following_task
    assert heard[0] == line(1) and heard[-1] == line(30)
    assert [event.short for event in heard if isinstance(event, WarningEvent)] == [
        "output came faster than it was read, and is lost"
    ]


async def test_a_build_of_the_past_is_followed_to_its_end(past: History) -> None:
    recording = begin(past)
    recording.add(VertexEvent(digest="d", name="n"))
    recording.end("completed")
    past.ended("r")
    assert await followed(past) == [VertexEvent(digest="d", name="n")]


async def test_an_internal_build_is_no_build_of_the_past_but_can_be_read_for_a_while(
    past: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(history, "LINGER", 0.0)
    watcher = past.watch()
    recording = begin(past, internal=True)
    recording.add(line(1))
    recording.end("completed")
    past.ended("r")
    assert past.records() == []
    assert list(past.events("r")) == [line(1)]
    await until(lambda: not (tmp_path / "history/r").exists())
    with pytest.raises(NotFoundError):
        past.get("r")
    assert watcher._waiting == {}


def test_what_lingers_goes_when_the_daemon_stops_or_was_killed(past: History, tmp_path: Path) -> None:
    recording = begin(past, internal=True)
    recording.end("completed")
    History(tmp_path / "history")
    assert list((tmp_path / "history").iterdir()) == []


async def test_watchers_hear_of_builds_the_newest_change_only(past: History) -> None:
    watcher, gone = past.watch(), past.watch()
    past.unwatch(gone)
    begin(past, "a").end("completed")
    assert await watcher.take() == [("a", Change.STARTED)]
    past.ended("a")
    begin(past, "b")
    assert await watcher.take() == [("a", Change.COMPLETED), ("b", Change.STARTED)]
    past.pin("a")
    past.delete("a")
    assert await watcher.take() == [("a", Change.DELETED)]
    assert gone._waiting == {}


async def test_a_watcher_hears_of_what_is_done_in_other_threads(past: History) -> None:
    begin(past, "a").end("completed")
    past.ended("a")
    watcher = past.watch()
    taking = asyncio.ensure_future(watcher.take())
    await asyncio.to_thread(past.delete, "a")
    async with asyncio.timeout(10):
        assert await taking == [("a", Change.DELETED)]


async def test_only_so_many_records_are_kept_and_all_that_are_pinned(tmp_path: Path) -> None:
    discarded: list[Path] = []
    past = History(tmp_path / "history", max_entries=2, discard=discarded.append)
    for ref in "abcd":
        begin(past, ref).end("completed")
        past.ended(ref)
        attachment = past.attachments.add(ref, "x", "text/plain", ref.encode())
        if ref == "a":
            past.pin("a")
        if ref == "b":
            gone = attachment
    assert {record.ref for record in past.records()} == {"a", "c", "d"}
    assert [path.exists() for path in discarded] == [True]  # it is nobody's record any more, whoever deletes it
    assert past.attachments.find(gone.digest) is None
    assert gone.digest not in dict(past.attachments.walk())
    again = History(tmp_path / "history", max_entries=1)
    assert not discarded[0].exists()
    again.expire()
    assert {record.ref for record in again.records()} == {"a", "d"}


async def test_a_watcher_that_never_reads_is_given_up(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_CHANGES", 2)
    watcher = past.watch()
    for ref in "abc":
        begin(past, ref)
    with pytest.raises(UnavailableError):
        await watcher.take()


def test_attachments_go_with_their_build(past: History) -> None:
    begin(past).end("completed")
    past.ended("r")
    added = past.attachments.add("r", "logs", "text/plain", b"hello", {"k": "v"})
    assert past.attachments.of("r") == {"logs": added}
    assert (added.size, added.annotations) == (5, {"k": "v"})
    path = past.attachments.find(added.digest)
    assert path is not None and path.read_bytes() == b"hello"
    replaced = past.attachments.add("r", "logs", "text/plain", b"other")
    assert past.attachments.of("r") == {"logs": replaced}
    past.delete("r")
    assert past.attachments.find(added.digest) is None
    with pytest.raises(NotFoundError):
        past.attachments.add("r", "logs", "text/plain", b"late")
