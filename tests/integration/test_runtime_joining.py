"""Processes that join a running container."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boatyard.errors import ConflictError, ExecutableError, InvalidError
from boatyard.runtime.container import ContainerSpec, Control, ProcessSpec, RunningContainer, Stdio
from boatyard.runtime.executor import OciExecutor
from integration.conftest import Outcome
from integration.test_runtime_life import marker, processes, scratch_entries, until  # noqa: F401

pytestmark = [pytest.mark.root, pytest.mark.runtime]


@asynccontextmanager
async def running(executor: OciExecutor, root: Path, *args: str, **options: object) -> AsyncIterator[RunningContainer]:
    """A container whose first process does what it is told, by default to wait for the end of its input."""
    started: asyncio.Future[RunningContainer] = asyncio.get_running_loop().create_future()
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    options.setdefault("env", ("PATH=/bin", "FIRST=1"))
    spec = ContainerSpec(root=root, args=args or ("cat",), **options)  # type: ignore[arg-type]
    task = asyncio.create_task(executor.run(spec, Stdio(reader, null, null), on_start=started.set_result))
    try:
        yield await started
        os.close(writer)
        writer = -1
        assert await task == 0
    finally:
        task.cancel()
        await asyncio.wait((task,))
        for descriptor in (reader, writer, null):
            if descriptor >= 0:
                os.close(descriptor)


async def join(container: RunningContainer, *args: str, **options: object) -> Outcome:
    options.setdefault("env", ("PATH=/bin",))
    out, err = os.memfd_create("out"), os.memfd_create("err")
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        process = ProcessSpec(args=args, **options)  # type: ignore[arg-type]
        code = await container.exec(process, Stdio(null, out, err))
        return Outcome(code, *(os.pread(descriptor, 1 << 20, 0).decode() for descriptor in (out, err)))
    finally:
        for descriptor in (out, err, null):
            os.close(descriptor)


async def test_a_process_joins_with_user_directory_and_variables_of_its_own(
    each_executor: OciExecutor, root: Path
) -> None:
    async with running(each_executor, root, hostname="yard") as container:
        outcome = await join(
            container,
            "sh",
            "-c",
            "id -u; pwd; hostname; echo $A ${FIRST:-none}; ps | grep -c '[c]at'; exit 3",
            user="ann",
            cwd="/tmp",
            env=("PATH=/bin", "A=b"),
        )
    assert (outcome.code, outcome.lines) == (3, ["1000", "/tmp", "yard", "b none", "1"]), outcome.err


async def test_processes_of_a_container_see_the_same_files(each_executor: OciExecutor, root: Path) -> None:
    async with running(each_executor, root) as container:
        assert (await join(container, "sh", "-c", "echo here >/tmp/file")).code == 0
        assert (await join(container, "cat", "/tmp/file")).out == "here\n"
        assert (root / "tmp/file").read_text() == "here\n"


async def test_a_program_that_is_not_there_is_told(each_executor: OciExecutor, root: Path) -> None:
    async with running(each_executor, root) as container:
        with pytest.raises(ExecutableError) as told:
            await join(container, "nothing-of-that-name")
        assert told.value.exit_code == 127
        with pytest.raises(InvalidError, match="unable to find user nobody-here"):
            await join(container, "true", user="nobody-here")
        with pytest.raises(InvalidError, match="no program"):
            await join(container)


async def test_a_joined_process_is_killed_when_nobody_waits_for_it(
    each_executor: OciExecutor,
    root: Path,
    marker: str,  # noqa: F811
) -> None:
    async with running(each_executor, root) as container:
        joined = asyncio.create_task(join(container, "sleep", marker))
        await until(lambda: processes(marker))
        joined.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joined
        assert processes(marker) == []
        assert container.pid


async def test_a_signal_reaches_a_joined_process(each_executor: OciExecutor, root: Path) -> None:
    started: asyncio.Future[Control] = asyncio.get_running_loop().create_future()
    null = os.open(os.devnull, os.O_RDWR)
    async with running(each_executor, root) as container:
        command = "trap 'exit 9' USR1; : >/ready; while :; do sleep 0.01; done"
        process = ProcessSpec(args=("sh", "-c", command), env=("PATH=/bin",))
        joined = asyncio.create_task(container.exec(process, Stdio(null, null, null), on_start=started.set_result))
        await until((root / "ready").exists)
        (await started).signal(signal.SIGUSR1)
        assert await joined == 9
    os.close(null)


async def test_joined_processes_end_with_the_container(
    each_executor: OciExecutor,
    root: Path,
    marker: str,  # noqa: F811
) -> None:
    async with running(each_executor, root) as container:
        joined = asyncio.create_task(join(container, "sleep", marker))
        await until(lambda: processes(marker))
    assert (await joined).code == 137
    assert processes(marker) == []
    assert await each_executor.call(scratch_entries, each_executor.scratch) == []
    with pytest.raises(ConflictError, match="has ended"):
        await join(container, "true")


async def test_a_joined_process_can_have_a_terminal(each_executor: OciExecutor, root: Path) -> None:
    loop = asyncio.get_running_loop()
    taken: asyncio.Future[int] = loop.create_future()
    async with running(each_executor, root) as container:
        process = ProcessSpec(args=("sh", "-c", "tty; read line; echo got $line"), env=("PATH=/bin",))
        joined = asyncio.create_task(container.exec(process, taken.set_result))
        master = await taken
        os.write(master, b"word\n")
        seen = b""
        while b"got word" not in seen:
            seen += await loop.run_in_executor(None, os.read, master, 1000)
        assert await joined == 0
        os.close(master)
    assert b"/dev/pts/" in seen
