"""Processes in a guest's containers, over one stream of messages: their bytes, terminals, signals and ends.

Any number of processes share a stream. The client is told, of each: Started, its output, Exit, the end of its
output, Done.

Specification: moby/buildkit `frontend/gateway/gateway.go` (ExecProcess).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import signal
import struct
import termios
from collections import deque
from typing import Any

from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError

from boatyard._pb import gateway_pb2 as pb
from boatyard._pb.status_pb2 import Status
from boatyard.api.buildkit import details, errors, values
from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.build.llb.graph import SecurityMode
from boatyard.build.ops.container import ProcessRequest
from boatyard.errors import BoatyardError, ConflictError, ExecutableError, InvalidError, NotFoundError
from boatyard.runtime.container import Control, Stdio
from boatyard.wire.pipes import until_readable, write_whole

log = logging.getLogger(__name__)

_PIECE = 1 << 15
MOST_INPUT = 1 << 20
"""Bytes that wait for one process to read them; then the whole stream waits."""
DRAIN = 2.0
"""Seconds to wait for the end of the output of a process that has ended, while others hold it open."""
UNKNOWN_EXIT = 255
"""Of a process that never ran."""
_SIGNALS = {name.removeprefix("SIG"): number for name, number in signal.Signals.__members__.items()}


class Processes:
    """Those of one stream. `run` ends when the client sends no more and all processes have ended."""

    def __init__(self, guest: Guest, stream: Any) -> None:
        self._guest = guest
        self._stream = stream
        self._sending = asyncio.Lock()
        self._known: dict[str, _Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """GRPCError for what makes no sense. Whatever runs is killed when this ends."""
        try:
            receiving = asyncio.ensure_future(self._receive())
            self._tasks.add(receiving)
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= done
                for task in done:
                    task.result()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _receive(self) -> None:
        while (message := await self._stream.recv_message()) is not None:
            if not message.ProcessID:
                raise InvalidError("a message about a process doesn't say which")
            kind = message.WhichOneof("Input")
            if kind == "Init":
                self._begin(message.ProcessID, message.Init)
                continue
            process = self._known.get(message.ProcessID)
            if process is None:
                raise NotFoundError(f"IO for process {message.ProcessID!r} not found")
            if kind == "File":
                await process.put(message.File)
            elif kind == "Resize":
                process.resize(message.Resize.Rows, message.Resize.Cols)
            elif kind == "Signal":
                number = _SIGNALS.get(message.Signal.Name.removeprefix("SIG"))
                if number is None:
                    raise InvalidError(f"Unknown signal {message.Signal.Name[:40]}")
                process.signal(number)

    def _begin(self, id: str, message: pb.InitMessage) -> None:
        if id in self._known:
            raise ConflictError(f"Process {id} already exists")
        container = self._guest.container(message.ContainerID)
        request = ProcessRequest(
            args=tuple(message.Meta.args),
            env=tuple(message.Meta.env),
            cwd=message.Meta.cwd or "/",
            user=message.Meta.user,
            security=_security(message.Security),
            secret_env=values.secret_env(message.secretenv),
        )
        process = self._known[id] = _Process(id, frozenset(message.Fds), message.Tty, self.send)
        self._tasks.add(asyncio.ensure_future(process.run(container.run, request)))

    async def send(self, id: str, **input: Any) -> None:
        async with self._sending:
            await self._stream.send_message(pb.ExecMessage(ProcessID=id, **input))


class _Process:
    """One process. `descriptors`: those of 0, 1, 2 that the client wants."""

    def __init__(self, id: str, descriptors: frozenset[int], terminal: bool, send: Any) -> None:
        self._id = id
        self._descriptors = descriptors
        self._terminal = terminal
        self._send = send
        self._control: Control | None = None
        self._signals: list[int] = []
        self._size: tuple[int, int] | None = None
        self._started = asyncio.Event()
        self._input: deque[bytes] = deque()
        self._input_size = 0
        self._input_ended = False
        self._input_news = asyncio.Event()
        self._input_room = asyncio.Event()
        self._input_closed = 0 not in descriptors
        self._master = -1
        self._ended = False

    # From the client

    async def put(self, message: pb.FdMessage) -> None:
        if message.Fd != 0 or 0 not in self._descriptors:
            raise GRPCError(Code.OUT_OF_RANGE, f"fd {message.Fd} unavailable to write")
        if message.Data and not self._input_closed:
            self._input.append(message.Data)
            self._input_size += len(message.Data)
        if message.EOF:
            self._input_ended = True
        self._input_news.set()
        while self._input_size > MOST_INPUT and not self._input_closed:
            self._input_room.clear()
            await self._input_room.wait()

    def signal(self, number: int) -> None:
        if self._control is not None:
            self._control.signal(number)
        elif not self._ended:
            self._signals.append(number)

    def resize(self, rows: int, columns: int) -> None:
        self._size = (min(rows, 0xFFFF), min(columns, 0xFFFF))
        if self._master >= 0:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))

    # Its life

    async def run(self, run: Any, request: ProcessRequest) -> None:
        """Everything it says goes to the client, its end as well."""
        ends = _Ends(self._descriptors, self._terminal)
        tasks: list[asyncio.Task[None]] = []

        def started(control: Control) -> None:
            self._control = control
            for number in self._signals:
                control.signal(number)
            self._started.set()

        def take(master: int) -> None:
            os.set_blocking(master, False)
            self._master = ends.master = master
            if self._size is not None:
                self.resize(*self._size)
            tasks.extend(self._served(ends))

        try:
            running = asyncio.ensure_future(run(request, take if self._terminal else ends.open(), started))
            telling = asyncio.ensure_future(self._tell_started(running))
            if not self._terminal:
                tasks.extend(self._served(ends, after=telling))
            try:
                await asyncio.wait((running,))
            except asyncio.CancelledError:
                running.cancel()
                await asyncio.wait((running,))
                raise
            finally:
                self._ended, self._control = True, None
                self._close_input()
            await telling
            ends.close_process_ends()
            await self._drained(ends)
            await self._send(self._id, Exit=_exit(running))
            for descriptor in sorted(self._descriptors - {0}):
                await self._send(self._id, File=pb.FdMessage(Fd=descriptor, EOF=True))
            await self._send(self._id, Done=pb.DoneMessage())
        finally:
            for task in tasks:
                task.cancel()
            # What they failed with is the end of the stream, which ends all of this anyway.
            await asyncio.gather(*tasks, return_exceptions=True)
            self._master = -1
            ends.close()

    async def _tell_started(self, running: asyncio.Future[int]) -> None:
        """Before anything else is told; also of one that can't be started: that is its exit."""
        waiting = asyncio.ensure_future(self._started.wait())
        await asyncio.wait((waiting, running), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await self._send(self._id, Started=pb.StartedMessage())

    def _served(self, ends: _Ends, after: asyncio.Future[None] | None = None) -> list[asyncio.Task[None]]:
        tasks = [
            asyncio.ensure_future(self._pass_output(descriptor, end, ends, after))
            for descriptor, end in ends.outputs().items()
        ]
        ends.reading = set(tasks)
        if (writable := ends.input()) >= 0:
            tasks.append(asyncio.ensure_future(self._pass_input(writable, ends)))
        return tasks

    async def _pass_output(
        self, descriptor: int, readable: int, ends: _Ends, after: asyncio.Future[None] | None
    ) -> None:
        if after is not None:
            await asyncio.shield(after)
        else:
            await self._started.wait()
        while data := await _read(readable):
            await self._send(self._id, File=pb.FdMessage(Fd=descriptor, Data=data))

    async def _pass_input(self, writable: int, ends: _Ends) -> None:
        try:
            while True:
                while not self._input:
                    if self._input_ended:
                        return
                    self._input_news.clear()
                    await self._input_news.wait()
                data = self._input.popleft()
                await write_whole(writable, data)
                self._input_size -= len(data)
                self._input_room.set()
        except OSError as error:
            log.debug("process %s reads no more: %s", self._id, error)
        finally:
            self._close_input()
            if not self._terminal:
                ends.close_input()

    def _close_input(self) -> None:
        self._input_closed = True
        self._input.clear()
        self._input_size = 0
        self._input_room.set()

    async def _drained(self, ends: _Ends) -> None:
        """All that the process wrote is on its way; others may still hold its output open."""
        if ends.reading:
            await asyncio.wait(ends.reading, timeout=DRAIN)


class _Ends:
    """The descriptors of a process, both sides'. Closed by whoever made it."""

    def __init__(self, wanted: frozenset[int], terminal: bool) -> None:
        self._wanted = wanted
        self._terminal = terminal
        self._process: list[int] = []
        self._ours: dict[int, int] = {}
        self.master = -1
        self.reading: set[asyncio.Task[None]] = set()

    def open(self) -> Stdio:
        return Stdio(*(self._open(number) for number in range(3)))

    def _open(self, number: int) -> int:
        if number not in self._wanted:
            theirs = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        else:
            readable, writable = os.pipe2(os.O_CLOEXEC)
            theirs, ours = (readable, writable) if number == 0 else (writable, readable)
            os.set_blocking(ours, False)
            self._ours[number] = ours
        self._process.append(theirs)
        return theirs

    def outputs(self) -> dict[int, int]:
        """By the number that the client knows it by."""
        if self._terminal:
            return {1: self.master}
        return {number: end for number, end in self._ours.items() if number}

    def input(self) -> int:
        if self._terminal:
            return self.master if 0 in self._wanted else -1
        return self._ours.get(0, -1)

    def close_input(self) -> None:
        if 0 in self._ours:
            os.close(self._ours.pop(0))

    def close_process_ends(self) -> None:
        while self._process:
            os.close(self._process.pop())

    def close(self) -> None:
        """Nothing waits for any of them any more."""
        self.close_process_ends()
        while self._ours:
            os.close(self._ours.popitem()[1])
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


async def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, _PIECE)
        except BlockingIOError:
            await until_readable(descriptor)
        except OSError as error:
            if error.errno == errno.EIO:  # the other side of a terminal is closed
                return b""
            raise


def _security(number: int) -> SecurityMode:
    try:
        return SecurityMode(number)
    except ValueError:
        raise InvalidError(f"{number} is no security mode") from None


def _exit(running: asyncio.Future[int]) -> pb.ExitMessage:
    if running.cancelled():
        return _failed(UNKNOWN_EXIT, Status(code=Code.CANCELLED.value, message=errors.CANCELED))
    error = running.exception()
    if error is None:
        code = running.result()
        if not code:
            return pb.ExitMessage()
        status = Status(code=Code.UNKNOWN.value, message=f"exit code: {code}", details=[details.exit_code(code)])
        return _failed(code, status)
    if not isinstance(error, BoatyardError):
        raise error
    return _failed(error.exit_code if isinstance(error, ExecutableError) else UNKNOWN_EXIT, errors.status_of(error))


def _failed(code: int, status: Status) -> pb.ExitMessage:
    return pb.ExitMessage(Code=code, Error=status)
