"""The life of a session."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from boatyard._pb.health_pb2 import HealthCheckRequest, HealthCheckResponse
from boatyard.errors import ConflictError, InvalidError, StorageError, UnavailableError
from boatyard.session import announcement
from boatyard.session.announcement import Announcement
from boatyard.session.health import Patience
from boatyard.session.offered.secrets import Secrets
from boatyard.session.registry import Sessions
from boatyard.session.secrets import get_secret
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.grpc.server import GrpcServer
from fixtures.sessionpair import linked


def test_an_announcement_is_read_from_headers_of_any_case() -> None:
    headers = [
        ("X-Docker-Expose-Session-Uuid", "abc"),
        ("X-Docker-Expose-Session-Sharedkey", "key"),
        ("X-Docker-Expose-Session-Grpc-Method", "/moby.filesync.v1.FileSync/DiffCopy"),
        ("X-Docker-Expose-Session-Grpc-Method", "/grpc.health.v1.Health/Check"),
        ("Host", "docker"),
    ]
    read = announcement.read(headers)
    assert (read.id, read.name, read.shared_key, len(read.methods)) == ("abc", "", "key", 2)
    assert announcement.read(read.headers()) == read


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("2500", 2.5), ("1", 1.0), ("0", 0), ("-5", 0), ("x", 0), ("9" * 30, 0)]
)
def test_a_client_may_want_to_be_given_up_sooner(text: str, seconds: float) -> None:
    assert announcement.read([(announcement.ID, "a"), (announcement.PATIENCE, text)]).patience == seconds


@pytest.mark.parametrize("id", ["", "x" * 129, "a\nb"])
def test_a_session_without_a_proper_id_is_refused(id: str) -> None:
    with pytest.raises(InvalidError, match="needs an id"):
        announcement.read([(announcement.ID, id)])


async def test_a_request_may_come_before_its_session() -> None:
    sessions = Sessions()

    async def begin() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        channel = Channel()
        await loop.create_connection(GrpcServer(list).connection, sock=theirs)
        await loop.create_connection(lambda: channel.protocol, sock=ours)
        await sessions.serve(Announcement("late"), channel)

    asking = asyncio.ensure_future(sessions.get("late"))
    await asyncio.sleep(0)
    assert not asking.done()
    serving = asyncio.ensure_future(begin())
    assert (await asking).id == "late"
    assert (await sessions.get("context:late")).id == "late", "a vertex may have a prefix of its own"
    assert (await sessions.any("gone", "late")).id == "late"
    sessions.end_all("the test is over")
    await serving
    assert len(sessions) == 0


async def test_an_id_is_taken_once_and_there_is_an_end_to_them() -> None:
    sessions = Sessions(most=1)
    async with linked([], sessions=sessions) as session:
        with pytest.raises(ConflictError, match="already"):
            sessions.check(Announcement(session.id))
        with pytest.raises(StorageError, match="1 sessions already"):
            sessions.check(Announcement("other"))
    sessions.check(Announcement("other"))


async def test_what_needs_a_session_ends_with_it_and_what_needs_another_goes_on() -> None:
    sessions = Sessions()
    async with linked([], sessions=sessions) as one, linked([], sessions=sessions) as other:
        started = asyncio.Event()

        async def work() -> None:
            async with one.needed():
                started.set()
                await asyncio.Event().wait()

        working = asyncio.ensure_future(work())
        await started.wait()
        one.end("the client was killed")
        with pytest.raises(UnavailableError, match="has ended: the client was killed"):
            await working
        assert not working.cancelled()
        with pytest.raises(UnavailableError, match="has ended"):
            async with one.needed():
                raise AssertionError("unreachable")
        async with other.needed():
            await asyncio.sleep(0)
        assert other.is_live


async def test_cancelling_what_needs_a_session_is_still_cancelling() -> None:
    async with linked([]) as session:
        started = asyncio.Event()

        async def work() -> None:
            async with session.needed():
                started.set()
                await asyncio.Event().wait()

        working = asyncio.ensure_future(work())
        await started.wait()
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()


async def test_calls_fail_when_the_client_goes_in_the_middle() -> None:
    gone = asyncio.Event()

    def never() -> bytes:
        gone.set()
        raise KeyboardInterrupt

    sessions = Sessions()
    ours, theirs = socket.socketpair()
    channel = Channel()
    await asyncio.get_running_loop().create_connection(lambda: channel.protocol, sock=ours)
    serving = asyncio.ensure_future(
        sessions.serve(Announcement("x", methods=frozenset(Secrets({}).__mapping__())), channel)
    )
    session = await sessions.get("x")
    asking = asyncio.ensure_future(get_secret(session, "a"))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(UnavailableError):
        await asking
    assert "closed" in await serving
    assert not session.is_live


# -- health ----------------------------------------------------------------------------------------------------------


class Health:
    """Answers each check with the next of `answers`, and with the last from then on."""

    def __init__(self, *answers: Status | None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.asked_often = asyncio.Event()

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/grpc.health.v1.Health/Check": Handler(
                self.check, Cardinality.UNARY_UNARY, HealthCheckRequest, HealthCheckResponse
            )
        }

    async def check(self, stream: object) -> None:
        self.asked += 1
        if self.asked >= 6:
            self.asked_often.set()
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status is not None:
            raise GRPCError(status, "not well")
        await stream.recv_message()  # type: ignore[attr-defined]
        await stream.send_message(HealthCheckResponse(status=1))  # type: ignore[attr-defined]


@asynccontextmanager
async def checked(health: Health) -> AsyncIterator[tuple[Sessions, asyncio.Future[str]]]:
    sessions = Sessions(patience=Patience(interval=0.001, timeout=5))
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    channel = Channel()
    server = GrpcServer(lambda: [health])
    await loop.create_connection(server.connection, sock=theirs)
    await loop.create_connection(lambda: channel.protocol, sock=ours)
    serving = asyncio.ensure_future(sessions.serve(Announcement("x"), channel))
    try:
        yield sessions, serving
    finally:
        await server.stop(0)
        await serving


async def test_a_client_that_fails_twice_in_a_row_is_given_up() -> None:
    health = Health(None, Status.UNAVAILABLE, None, Status.INTERNAL)
    async with checked(health) as (_, serving):
        assert "did not answer health checks: not well" in await serving
    assert health.asked == 5


@pytest.mark.parametrize("answer", [None, Status.UNIMPLEMENTED])
async def test_a_client_that_answers_is_kept(answer: Status | None) -> None:
    health = Health(answer)
    async with checked(health) as (sessions, serving):
        await health.asked_often.wait()
        assert (await sessions.get("x")).is_live
        assert not serving.done()
