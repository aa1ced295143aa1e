"""The output of a step's process: two pipes whose bytes become log events as they come."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Self

from boatyard.build.solver.types import StepContext
from boatyard.errors import UnavailableError
from boatyard.runtime.container import Stdio

CHUNK = 64 << 10


class StepOutput:
    """Standard input is empty; standard output and error are read on the event loop. Owned by the op, for one
    process."""

    def __init__(self, step: StepContext) -> None:
        self._step = step
        self._loop = asyncio.get_running_loop()
        self._readers: dict[int, asyncio.Future[None]] = {}
        self._writers: list[int] = []

    def __enter__(self) -> Self:
        try:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._writers.append(stdin)
            self.stdio = Stdio(stdin, self._pipe(1), self._pipe(2))
        except OSError as error:
            self._close()
            raise UnavailableError(
                f"can't open a step's pipes: {error.strerror}", hint="raise the daemon's limit of open files"
            ) from error
        return self

    def _pipe(self, stream: int) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        self._writers.append(writer)
        ended: asyncio.Future[None] = self._loop.create_future()
        self._readers[reader] = ended
        self._loop.add_reader(reader, self._readable, reader, stream, ended)
        return writer

    def _readable(self, reader: int, stream: int, ended: asyncio.Future[None]) -> None:
        try:
            data = os.read(reader, CHUNK)
        except BlockingIOError:
            return
        if data:
            self._step.log(data, stream)
            return
        self._loop.remove_reader(reader)
        if not ended.done():
            ended.set_result(None)

    async def drained(self) -> None:
        """Wait for the rest, once the process has ended: all other writers have then closed the pipes."""
        self._close_writers()
        await asyncio.gather(*self._readers.values())

    def _close_writers(self) -> None:
        while self._writers:
            os.close(self._writers.pop())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._close_writers()
        for reader in self._readers:
            self._loop.remove_reader(reader)
            os.close(reader)
