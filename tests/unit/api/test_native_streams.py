"""Streamed requests: events, results, errors, and what happens when one of the two ends goes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.api.feed import Feed
from boatyard.api.native.form import Lines
from boatyard.client.calls import builds, images, system
from boatyard.client.documents.builds import BuildDelete, BuildDetail, BuildRequest, BuildResult, BuildSummary
from boatyard.client.sync import Client
from boatyard.errors import (
    BoatyardError,
    CancelledBuildError,
    ConflictError,
    ExitError,
    InvalidError,
    NotFoundError,
    SolveError,
    SourceExcerpt,
    UnavailableError,
)
from boatyard.progress import Event, LogEvent, StatusEvent, VertexEvent, WarningEvent
from unit.api.native_yard import Anything, yard

EVENTS: list[Event] = [
    VertexEvent(digest="sha256:a", name="[1/2] FROM base", started=1.0),
    StatusEvent(vertex="sha256:a", id="layer", name="extracting", current=5, total=10),
    LogEvent(vertex="sha256:a", stream=2, data="höllo\nworld", time=2.0),
    WarningEvent(short="careful"),
]


async def succeed(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
    for event in EVENTS:
        emit(event)
        await asyncio.sleep(0)
    return BuildResult(ref=request.ref, response={"image.name": "x"})


async def test_a_build_gives_its_events_and_then_its_result(tmp_path: Path) -> None:
    async with (
        yard(tmp_path, builds=Anything(build=succeed)) as here,
        here.client.stream(builds.build(BuildRequest(ref="mine"))) as stream,
    ):
        assert [event async for event in stream] == EVENTS
        assert await stream.result() == BuildResult(ref="mine", response={"image.name": "x"})


async def test_the_synchronous_client_reads_the_same(tmp_path: Path) -> None:
    def run(path: str) -> tuple[list[Any], BuildResult]:
        with Client(path).stream(builds.build(BuildRequest())) as stream:
            return list(stream), stream.result

    async with yard(tmp_path, builds=Anything(build=succeed)) as here:
        events, result = await asyncio.to_thread(run, here.path)
    assert events == EVENTS
    assert len(result.ref) == 25, "the daemon chose a ref"


async def test_polling_returns_when_nothing_comes_and_none_after_the_end(tmp_path: Path) -> None:
    proceed = asyncio.Event()

    async def slow(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        emit(EVENTS[0])
        await proceed.wait()
        return BuildResult(ref=request.ref)

    def run(path: str, loop: asyncio.AbstractEventLoop) -> None:
        with Client(path).stream(builds.build(BuildRequest())) as stream:
            assert stream.poll(5) == EVENTS[:1]
            assert stream.poll(0.01) == []
            loop.call_soon_threadsafe(proceed.set)
            assert stream.poll(5) is None
            assert stream.poll(5) is None

    async with yard(tmp_path, builds=Anything(build=slow)) as here:
        await asyncio.to_thread(run, here.path, asyncio.get_running_loop())


@pytest.mark.parametrize(
    "error",
    [
        ExitError("process failed", exit_code=137, hint="look", source=SourceExcerpt("Dockerfile", "FROM x\n", 1, 1)),
        SolveError("step failed", vertex="sha256:b", vertex_name="[2/2] RUN false"),
        NotFoundError("no image", hint="pull it"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_an_error_is_raised_in_the_client_as_what_it_was(tmp_path: Path, error: Any, late: bool) -> None:
    async def fail(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        if late:
            emit(EVENTS[0])
            await asyncio.sleep(0.01)
        raise error from InvalidError("the reason")

    seen = []
    async with yard(tmp_path, builds=Anything(build=fail)) as here:
        with pytest.raises(type(error)) as raised:
            async with here.client.stream(builds.build(BuildRequest())) as stream:
                async for event in stream:
                    seen.append(event)
    assert seen == EVENTS[:1] * late
    assert {**vars(raised.value)} == {**vars(error)}
    assert str(raised.value.__cause__) == "the reason"


async def test_the_synchronous_client_shows_events_before_it_raises(tmp_path: Path) -> None:
    async def fail(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        emit(EVENTS[0])
        raise ExitError("failed", exit_code=3)

    def run(path: str) -> None:
        with Client(path).stream(builds.build(BuildRequest())) as stream:
            assert stream.poll(5) == EVENTS[:1]
            with pytest.raises(ExitError) as raised:
                stream.poll(5)
            assert raised.value.exit_code == 3

    async with yard(tmp_path, builds=Anything(build=fail)) as here:
        await asyncio.to_thread(run, here.path)


async def test_an_error_that_is_none_of_ours_tells_no_details(tmp_path: Path) -> None:
    async def fail(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        raise ZeroDivisionError("x")

    async with yard(tmp_path, builds=Anything(build=fail)) as here:
        with pytest.raises(BoatyardError, match="internal error: ZeroDivisionError"):
            async with here.client.stream(builds.build(BuildRequest())) as stream:
                await stream.result()


async def test_closing_the_connection_cancels_the_build(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        emit(EVENTS[0])
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with yard(tmp_path, builds=Anything(build=endless)) as here:
        async with here.client.stream(builds.build(BuildRequest())) as stream:
            await begun.wait()
            await anext(aiter(stream))
        async with asyncio.timeout(1):
            await cancelled.wait()


async def test_a_stopping_daemon_answers_what_it_cancels(tmp_path: Path) -> None:
    async def endless(request: BuildRequest, requester: Any, emit: Any, terminal: Any) -> BuildResult:
        emit(EVENTS[0])
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        yard(tmp_path, builds=Anything(build=endless)) as here,
        here.client.stream(builds.build(BuildRequest(ref="r"))) as stream,
    ):
        await anext(aiter(stream))
        here.running.cancel_all()
        with pytest.raises(CancelledBuildError):
            await stream.result()


async def test_a_daemon_that_vanishes_is_noticed(tmp_path: Path) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc")
        writer.close()

    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(break_off, path):
        with pytest.raises(UnavailableError, match="in the middle of an answer"):
            await asyncio.to_thread(lambda: Client(path).call(system.ping()))


async def test_documents_are_checked_before_anything_happens(tmp_path: Path) -> None:
    async with yard(tmp_path, builds=Anything(build=succeed)) as here:
        for body, message in (
            (b"{", "truncated"),
            (b'{"ref": 1}', r"\$\.ref"),
            (b'{"typo": 1}', "typo"),
            (b'{"ref": "../x"}', "ref has up to"),
            (b'{"on_error": "dance"}', "on_error"),
        ):
            answer = await raw(here.path, b"POST", b"/boat/v1/builds", body)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b'"kind":"InvalidError"' in answer
            assert re.search(message, answer.decode()), answer


async def raw(path: str, method: bytes, target: bytes, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(
        b"%s %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
        % (method, target, len(body), body)
    )
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_unknown_places_and_methods_are_errors_of_ours(tmp_path: Path) -> None:
    async with yard(tmp_path) as here:
        answer = await raw(here.path, b"GET", b"/nowhere")
        assert answer.startswith(b"HTTP/1.1 404")
        assert b'"kind":"NotFoundError"' in answer
        answer = await raw(here.path, b"DELETE", b"/boat/v1/ping")
        assert answer.startswith(b"HTTP/1.1 405")
        assert b'"kind":"UnsupportedError"' in answer
        with pytest.raises(NotFoundError):
            await here.client.call(images.list_images())


async def test_every_answer_names_the_daemons_version(tmp_path: Path) -> None:
    async with yard(tmp_path) as here:
        for target in (b"/boat/v1/ping", b"/nowhere"):
            assert b"\r\nboat-version: " in await raw(here.path, b"GET", target)


async def test_plain_calls_carry_names_and_parameters(tmp_path: Path) -> None:
    async def listed(*, limit: int, status: str) -> list[BuildSummary]:
        return [BuildSummary(ref=f"{limit}{status}", name="n", status="completed", started=1.0)]

    async def inspect(ref: str) -> BuildDetail:
        return BuildDetail(ref=ref, name="n", status="failed", started=1.0)

    async def delete(request: BuildDelete) -> list[str]:
        return list(request.refs)

    service = Anything(list_builds=listed, inspect_build=inspect, delete_builds=delete)
    async with yard(tmp_path, builds=service) as here:
        call = here.client.call
        assert (await call(builds.list_builds(limit=3, status="failed"))).builds[0].ref == "3failed"
        assert (await call(builds.inspect_build("a b%?"))).ref == "a b%?"
        assert (await call(builds.delete_builds(BuildDelete(refs=("x",))))).refs == ("x",)
        with pytest.raises(InvalidError):
            await call(builds.delete_builds(BuildDelete()))
        with pytest.raises(InvalidError):
            await call(builds.delete_builds(BuildDelete(refs=("x",), all=True)))


async def test_a_log_is_replayed_no_faster_than_it_is_read(tmp_path: Path) -> None:
    given = 0

    async def logs(ref: str, *, follow: bool) -> AsyncIterator[Event]:
        nonlocal given
        for number in range(2000):
            given += 1
            yield LogEvent(vertex="v", stream=1, data=f"{number} " + "x" * 10_000, time=0)

    def run(path: str) -> int:
        with Client(path).stream(builds.build_logs("r")) as stream:
            first = stream.poll(5)
            assert first
            held = threading.Event()
            held.wait(0.3)
            assert given < 1500
            return len(first) + sum(1 for _ in stream)

    async with yard(tmp_path, builds=Anything(build_logs=logs)) as here:
        assert await asyncio.to_thread(run, here.path) == 2000


async def test_shutdown_is_refused_while_busy_if_asked_so(tmp_path: Path) -> None:
    async with yard(tmp_path) as here:
        here.system.busy = True
        with pytest.raises(ConflictError, match="busy"):
            await here.client.call(system.shutdown(when_idle=True))
        assert not here.system.stopped
        await here.client.call(system.shutdown())
        assert here.system.stopped


def lines(feed: Feed) -> list[bytes]:
    return Lines().events(feed.take()).splitlines()


async def test_only_the_newest_status_of_a_transfer_is_sent() -> None:
    feed = Feed()
    for current in (1, 2, 3):
        feed.emit(StatusEvent(vertex="v", id="a", name="n", current=current))
    feed.emit(StatusEvent(vertex="v", id="b", name="n", current=9))
    assert len(lines(feed)) == 2
    feed.emit(StatusEvent(vertex="v", id="a", name="n", current=4))
    assert b'"current":4' in lines(feed)[0]


async def test_output_that_nobody_reads_is_dropped_and_said_to_be() -> None:
    feed = Feed(max_log_backlog=100)
    for _ in range(5):
        feed.emit(LogEvent(vertex="v", stream=1, data="x" * 40, time=0))
    found = lines(feed)
    assert len(found) == 3
    assert b"120 characters of output are not shown" in found[-1]
