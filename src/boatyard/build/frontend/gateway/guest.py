"""A guest's process, from its start to its result: a container whose standard input and output are the conversation,
and whose standard error is the log of a step.

What may go wrong, and what is said of it: the process ends without a result; it prints where it should talk; it hangs
up; it does nothing at all. A guest that works is given all the time it takes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from boatyard.build.frontend.base import FrontendResult
from boatyard.build.frontend.gateway.conversation import Conversation
from boatyard.build.solver.step import ShownStep
from boatyard.build.solver.types import StepContext
from boatyard.errors import ExecutableError, FrontendError, SolveError, UnavailableError
from boatyard.image.interruption import settled
from boatyard.runtime.container import ContainerSpec, Control, Executor, Stdio
from boatyard.wire.duplex import Duplex, carried

log = logging.getLogger(__name__)

_PIECE = 64 << 10
_HEAD = 80
"""Bytes of what a guest said first that a message may quote."""
_PREFACE = b"PRI * HTTP/2.0"
_KILLED = 137


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """Seconds. `quiet`: how long a guest may ask nothing and say nothing, `leave`: how long it may take to end after
    it has given its result or hung up."""

    quiet: float = 120.0
    leave: float = 5.0


DEFAULT = GuestLimits()


async def host(
    executor: Executor,
    spec: ContainerSpec,
    conversation: Conversation,
    step: ShownStep,
    name: str,
    limits: GuestLimits,
) -> FrontendResult:
    """Run it and give what it returned. Raises what it failed with; SolveError of its own step when it failed to say.
    When this is cancelled, or returns, nothing of it runs any more."""
    guest = _Guest(executor, spec, conversation, step, name, limits)
    with ExitStack() as stack:
        duplex, stdio = stack.enter_context(_pipes())
        stderr = stack.enter_context(_log(step))
        heard = _Heard(duplex)
        async with carried(conversation.protocol, heard) as connection:
            try:
                await guest.run(Stdio(stdio.stdin, stdio.stdout, stderr.writer), connection, heard, stderr, stdio)
            finally:
                connection.cancel()
        try:
            return guest.outcome(heard)
        except FrontendError as error:
            if error.document:
                raise  # its own words
            # Shown with what it printed last, as a step that failed.
            raise SolveError(
                f"{step.name}: {error}", vertex=step.digest, vertex_name=step.name, hint=error.hint
            ) from error


class _Guest:
    """Lives for one `host`."""

    def __init__(
        self,
        executor: Executor,
        spec: ContainerSpec,
        conversation: Conversation,
        step: ShownStep,
        name: str,
        limits: GuestLimits,
    ) -> None:
        self._executor = executor
        self._spec = spec
        self._conversation = conversation
        self._step = step
        self._name = name
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._code: int | None = None
        self._refused: ExecutableError | None = None
        self._hung_up = False
        self._quiet = False

    async def run(
        self, stdio: Stdio, connection: asyncio.Task[None], heard: _Heard, stderr: _Stderr, ends: _Ends
    ) -> None:
        """Until the process has ended, by itself or because there is nothing more to wait for."""

        def started(control: Control) -> None:
            # Only the process has them now: their end is its end.
            ends.close()
            stderr.close_writer()

        def warned(message: str) -> None:
            log.debug("%s: %s", self._name, message)

        process = asyncio.ensure_future(self._executor.run(self._spec, stdio, on_start=started, on_warning=warned))
        try:
            await self._attend(process, connection, heard, stderr)
        finally:
            if not process.done():
                process.cancel()
            await settled(asyncio.gather(process, return_exceptions=True))
        if not process.cancelled():
            try:
                self._code = process.result()
            except ExecutableError as error:
                self._refused = error
            await stderr.drained()
            # What it said last may still be on the way.
            await asyncio.wait((connection,), timeout=self._limits.leave)

    async def _attend(
        self, process: asyncio.Future[int], connection: asyncio.Task[None], heard: _Heard, stderr: _Stderr
    ) -> None:
        returned = self._conversation.returned
        while not returned.done() and not process.done() and not connection.done():
            left = self._quiet_left(stderr)
            if left <= 0:
                self._quiet = True
                return
            await asyncio.wait((process, returned, connection), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not process.done() and not (connection.done() and not heard.is_conversation):
            # It has given what it had, or hung up: it ends by itself, or is ended.
            await asyncio.wait((process,), timeout=self._limits.leave)
        self._hung_up = not process.done() and connection.done()

    def _quiet_left(self, stderr: _Stderr) -> float:
        since = self._conversation.quiet_since
        now = self._loop.time()
        if since is None:
            return self._limits.quiet
        return max(since, stderr.last) + self._limits.quiet - now

    def outcome(self, heard: _Heard) -> FrontendResult:
        returned = self._conversation.returned
        if returned.done():
            result = returned.result()  # its own words come first
            if self._code:
                raise FrontendError(
                    f"the frontend {self._name} gave a result and then failed: exit code: {self._code}",
                    hint="its log tells why",
                )
            return result
        if self._refused is not None:
            raise FrontendError(
                f"the frontend {self._name} can't be started: {self._refused}", hint=self._refused.hint
            ) from self._refused
        if not heard.is_conversation:
            raise FrontendError(
                f"the frontend {self._name} does not speak gRPC on its standard output: it said {heard.head!r}",
                hint="is it the image of a frontend? What a frontend prints has to go to standard error",
            )
        if self._quiet:
            raise FrontendError(
                f"the frontend {self._name} was ended: it has asked for nothing and said nothing for "
                f"{self._limits.quiet:g} s",
                hint="it hangs; a frontend that computes for so long says so on standard error now and then",
            )
        if self._code is None or self._hung_up:
            raise FrontendError(
                f"the frontend {self._name} broke off the conversation without a result", hint="its log may tell why"
            )
        if self._code == _KILLED:
            raise FrontendError(
                f"the frontend {self._name} was killed before it gave a result",
                hint="it may have needed more memory than it may have",
            )
        raise FrontendError(
            f"the frontend {self._name} ended without a result: exit code: {self._code}",
            hint="its log tells why" if self._code else "a frontend ends with a call of Return",
        )


class _Heard:
    """The connection's bytes, with an ear on the first ones."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self.head = b""

    @property
    def is_conversation(self) -> bool:
        """What came so far is, or may become, gRPC."""
        return self.head[: len(_PREFACE)] == _PREFACE[: len(self.head)]

    async def receive(self) -> bytes:
        data = await self._duplex.receive()
        if len(self.head) < _HEAD:
            self.head += data[: _HEAD - len(self.head)]
            if not self.is_conversation:
                return b""  # the end, for a protocol that could only wonder
        return data

    async def send(self, data: bytes) -> None:
        await self._duplex.send(data)

    def close(self) -> None:
        self._duplex.close()


class _Ends:
    """The process's ends of the two pipes."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self.stdin = stdin
        self.stdout = stdout

    def close(self) -> None:
        for descriptor in (self.stdin, self.stdout):
            if descriptor >= 0:
                os.close(descriptor)
        self.stdin = self.stdout = -1


@contextmanager
def _pipes() -> Iterator[tuple[Duplex, _Ends]]:
    try:
        stdin, to_stdin = os.pipe2(os.O_CLOEXEC)
        from_stdout, stdout = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(
            f"can't open a frontend's pipes: {error.strerror}", hint="raise the daemon's limit of open files"
        ) from error
    ends = _Ends(stdin, stdout)
    duplex = Duplex(from_stdout, to_stdin)
    try:
        yield duplex, ends
    finally:
        ends.close()
        duplex.close()


class _Stderr:
    """A pipe whose bytes are a step's log."""

    def __init__(self, reader: int, writer: int, step: StepContext) -> None:
        self.writer = writer
        self._reader = reader
        self._step = step
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.last = self._loop.time()
        """When it said something."""
        self._loop.add_reader(reader, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._reader, _PIECE)
        except BlockingIOError:
            return
        if data:
            self.last = self._loop.time()
            self._step.log(data, 2)
            return
        self._loop.remove_reader(self._reader)
        self._ended.set()

    async def drained(self) -> None:
        """The process has ended, and all who had the pipe with it."""
        self.close_writer()
        await self._ended.wait()

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.close_writer()
        self._loop.remove_reader(self._reader)
        os.close(self._reader)


@contextmanager
def _log(step: StepContext) -> Iterator[_Stderr]:
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(
            f"can't open a frontend's pipes: {error.strerror}", hint="raise the daemon's limit of open files"
        ) from error
    os.set_blocking(reader, False)
    stderr = _Stderr(reader, writer, step)
    try:
        yield stderr
    finally:
        stderr.close()
