"""The tools of the host that a bootstrap runs: started in a process group of their own, listened to, and ended with
everything they started when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from boatyard.errors import LayerError
from boatyard.image.interruption import settled

PATIENCE = 5.0
"""Seconds for a program that was asked to end, to clear up behind itself."""
_PIECE = 8192
_LAST_BYTES = 16384


async def run_program(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Callable[[bytes], None],
    take: Callable[[BinaryIO], None] | None = None,
) -> tuple[int, str]:
    """The exit code, and the end of what it said on standard error, each line of which `log` hears as it comes.

    `take` gets standard output, in a thread. What it raises is raised here, but for a LayerError when the program
    failed, too: its output was cut short. Cancelling kills every process, and all of them have ended when this returns.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writer if take else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    said = b""

    async def listen() -> None:
        nonlocal said
        assert process.stderr is not None
        rest = b""
        while piece := await process.stderr.read(_PIECE):
            said = (said + piece)[-_LAST_BYTES:]
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                log(line + b"\n")
        if rest:
            log(rest + b"\n")

    def read() -> None:
        with open(reader, "rb") as output:  # closed here: a program that goes on writing is told so
            if take:
                take(output)

    taking = asyncio.ensure_future(asyncio.to_thread(read))
    listening = asyncio.ensure_future(listen())
    try:
        await asyncio.wait((listening,))
        code = await process.wait()
    finally:
        # First the processes: the thread may be waiting for their output.
        await settled(asyncio.ensure_future(_end(process)))
        await settled(asyncio.gather(taking, listening, return_exceptions=True))
    failure = taking.exception()
    if failure is not None and not (code and isinstance(failure, LayerError)):
        raise failure
    return code, said.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the whole group to end, then make it."""
    if process.returncode is None:
        _kill(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            pass
    # The group may outlive its leader.
    _kill(process.pid, signal.SIGKILL)
    await process.wait()


def _kill(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in it
