"""Frontends that behave badly: what is said of them, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from boatyard._pb.secrets_pb2 import GetSecretResponse
from boatyard.build.frontend.base import FrontendResult
from boatyard.build.frontend.gateway.guest import DEFAULT, GuestLimits, host
from boatyard.build.solver.step import ShownStep
from boatyard.errors import BoatyardError, DeniedError, FrontendError, SolveError
from boatyard.progress import Event, LogEvent
from boatyard.runtime.container import ContainerSpec
from boatyard.runtime.executor import OciExecutor
from boatyard.wire.grpc.server import GrpcServer
from fixtures.grpcpair import Secrets, until

pytestmark = pytest.mark.runtime


class Log(ShownStep):
    """A step, and the text of its log."""

    def __init__(self) -> None:
        super().__init__("sha256:" + "1" * 64, "[internal] run the frontend", time.time)
        self._told: list[Event] = []
        self.join(self.digest, self._told.append)

    @property
    def text(self) -> str:
        return "".join(event.data for event in self._told if isinstance(event, LogEvent))


class Talk:
    """A conversation whose one call, whatever it asks, is the guest's result (or what it failed with)."""

    def __init__(self, error: BoatyardError | None = None) -> None:
        self.returned: asyncio.Future[FrontendResult] = asyncio.get_running_loop().create_future()
        self.quiet_since: float | None = asyncio.get_running_loop().time()
        self._error = error
        self.server = GrpcServer(lambda: [Secrets(self._answer)])
        self.protocol = self.server.connection()

    async def _answer(self, stream: Any) -> None:
        await stream.recv_message()
        if self._error is not None:
            self.returned.set_exception(self._error)
        else:
            self.returned.set_result(FrontendResult())
        await stream.send_message(GetSecretResponse())


@asynccontextmanager
async def talk(error: BoatyardError | None = None) -> AsyncIterator[Talk]:
    found = Talk(error)
    yield found
    await found.server.stop(0)
    if found.returned.done():
        found.returned.exception()


async def run(
    executor: OciExecutor,
    root: Path,
    *args: str,
    limits: GuestLimits = DEFAULT,
    conversation: Talk | None = None,
    log: Log | None = None,
) -> FrontendResult:
    spec = ContainerSpec(root=root, args=args, env=("PATH=/bin",))
    if conversation is not None:
        return await host(executor, spec, conversation, log or Log(), "bad", limits)
    async with talk() as own:
        return await host(executor, spec, own, log or Log(), "bad", limits)


def shell(text: str) -> Sequence[str]:
    return "sh", "-c", text


CALL = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a")
"""HTTP/2's preface."""


async def test_a_guest_that_ends_without_a_result(executor: OciExecutor, root: Path) -> None:
    log = Log()
    with pytest.raises(SolveError, match=r"ended without a result: exit code: 3") as caught:
        await run(executor, root, *shell("echo reason >&2; exit 3"), log=log)
    assert log.text == "reason\n"
    assert "log" in str(caught.value.hint)
    assert (caught.value.vertex, caught.value.vertex_name) == (log.digest, log.name)
    assert isinstance(caught.value.__cause__, FrontendError)
    with pytest.raises(SolveError, match="exit code: 0"):
        await run(executor, root, "true")


async def test_a_guest_that_prints_where_it_should_talk(executor: OciExecutor, root: Path) -> None:
    with pytest.raises(SolveError, match=r"does not speak gRPC.*Hello, world") as caught:
        await run(executor, root, *shell("echo Hello, world; sleep 1000"))
    assert "standard error" in str(caught.value.hint)
    with pytest.raises(SolveError, match="does not speak gRPC"):
        await run(executor, root, *shell("cat /dev/zero"))


async def test_a_guest_that_breaks_the_conversation_off(executor: OciExecutor, root: Path) -> None:
    (root / "broken").write_bytes(CALL + _frame(4, 0, 0, b"") + _frame(0, 0, 0, b"data of no stream"))
    with pytest.raises(SolveError, match="exit code: 4"):
        await run(executor, root, *shell("cat /broken; exit 4"))
    with pytest.raises(SolveError, match="broke off the conversation"):
        await run(executor, root, *shell("cat /broken; sleep 1000"), limits=GuestLimits(leave=0.05))


async def test_a_guest_that_does_nothing_is_ended(executor: OciExecutor, root: Path) -> None:
    with pytest.raises(SolveError, match=r"asked for nothing and said nothing for 0\.2 s"):
        await run(executor, root, "sleep", "1000", limits=GuestLimits(quiet=0.2))


async def test_a_guest_that_says_something_now_and_then_may_take_its_time(executor: OciExecutor, root: Path) -> None:
    log = Log()
    script = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.2; done; exit 9"
    with pytest.raises(SolveError, match="exit code: 9"):
        await run(executor, root, *shell(script), limits=GuestLimits(quiet=1.0), log=log)
    assert log.text.split() == list("123456")


async def test_a_program_that_is_not_there(executor: OciExecutor, root: Path) -> None:
    with pytest.raises(SolveError, match=r"can't be started.*nosuch"):
        await run(executor, root, "/bin/nosuch")


async def test_a_killed_guest_is_told_as_such(executor: OciExecutor, root: Path) -> None:
    with pytest.raises(SolveError, match="was killed"):
        await run(executor, root, *shell("exit 137"))


async def test_a_cancelled_build_ends_its_guest(executor: OciExecutor, root: Path) -> None:
    log = Log()
    task = asyncio.create_task(run(executor, root, *shell("echo here >&2; exec sleep 12345"), log=log))
    await until(lambda: log.text and _running("12345"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _running("12345")


def _running(argument: str) -> bool:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if argument.encode() in Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0"):
                    return True
            except OSError:
                continue
    return False


async def test_descriptors_do_not_pile_up(executor: OciExecutor, root: Path) -> None:
    async def once() -> int:
        with pytest.raises(SolveError):
            await run(executor, root, "false")
        return len(os.listdir("/proc/self/fd"))

    first = await once()
    assert {await once() for _ in range(5)} <= {first, first - 1}


async def test_a_result_stands_even_when_its_guest_stays(executor: OciExecutor, root: Path) -> None:
    (root / "call").write_bytes(CALL + _request())
    limits = GuestLimits(leave=0.1)
    async with talk() as conversation:
        result = await run(executor, root, *shell("cat /call; sleep 1000"), limits=limits, conversation=conversation)
    assert result == FrontendResult()
    async with talk() as conversation:
        with pytest.raises(SolveError, match="gave a result and then failed: exit code: 5"):
            await run(executor, root, *shell("cat /call; sleep 0.3; exit 5"), conversation=conversation)


async def test_its_own_words_come_before_its_exit_code(executor: OciExecutor, root: Path) -> None:
    (root / "call").write_bytes(CALL + _request())
    async with talk(DeniedError("no, says the frontend")) as conversation:
        with pytest.raises(DeniedError, match="no, says the frontend"):
            await run(executor, root, *shell("cat /call; sleep 0.3; exit 5"), conversation=conversation)


def _request() -> bytes:
    """SETTINGS, and a call of `GetSecret` with an empty message."""
    from hpack import Encoder

    path = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
    headers = Encoder().encode(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
    )
    return b"".join(
        [
            _frame(4, 0, 0, b""),
            _frame(1, 4, 1, headers),
            _frame(0, 1, 1, bytes(5)),
        ]
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
