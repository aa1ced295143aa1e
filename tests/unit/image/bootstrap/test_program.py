"""Running the host's tools: what they say, how they fail, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from boatyard.errors import LayerError, StorageError
from boatyard.image.bootstrap import program
from boatyard.image.bootstrap.program import run_program


class Tool:
    """Shell scripts to run, and what was heard of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.heard: list[bytes] = []
        self.taken = b""

    def take(self, output: BinaryIO) -> None:
        self.taken = output.read()

    async def run(self, script: str, **options: object) -> tuple[int, str]:
        return await run_program(
            ["/bin/sh", "-c", script],
            environment={"PATH": os.environ["PATH"]},
            directory=self.directory,
            log=self.heard.append,
            **options,  # type: ignore[arg-type]
        )

    @property
    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in self.directory.glob("*.pid") if path.read_text().strip()]

    async def begun(self, count: int) -> None:
        while len(self.pids) < count:  # noqa: ASYNC110 -- another process writes them
            await asyncio.sleep(0.01)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_output_and_messages_go_their_ways(tool: Tool) -> None:
    code, said = await tool.run("echo data; echo one >&2; printf two >&2", take=tool.take)
    assert (code, said) == (0, "one\ntwo")
    assert tool.taken == b"data\n"
    assert tool.heard == [b"one\n", b"two\n"]


async def test_a_failure_ends_in_its_code_and_last_words(tool: Tool) -> None:
    code, said = await tool.run("echo no >&2; exit 3")
    assert (code, said) == (3, "no\n")


async def test_a_line_without_end_is_no_trouble(tool: Tool) -> None:
    code, said = await tool.run("head -c 300000 /dev/zero | tr '\\0' x >&2")
    assert code == 0 and len(said) == 16384


async def test_what_the_taker_raises_ends_the_program(tool: Tool) -> None:
    def take(output: BinaryIO) -> None:
        output.read(1)
        raise StorageError("no space left on device")

    with pytest.raises(StorageError):
        await tool.run("cat /dev/zero", take=take)


async def test_output_that_a_failure_cut_short_is_not_the_news(tool: Tool) -> None:
    def take(output: BinaryIO) -> None:
        raise LayerError(f"ended after {len(output.read())} bytes")

    assert await tool.run("echo part; echo why >&2; exit 1", take=take) == (1, "why\n")
    with pytest.raises(LayerError):
        await tool.run("echo part", take=take)


async def test_cancelling_ends_every_process(tool: Tool) -> None:
    script = "echo $$ > a.pid; (echo $(exec sh -c 'echo $PPID') > b.pid; sleep 1000) & sleep 1000"
    task = asyncio.create_task(tool.run(script, take=tool.take))
    await tool.begun(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [pid for pid in tool.pids if is_alive(pid)] == []


async def test_a_program_that_will_not_end_is_killed(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PATIENCE", 0.05)
    task = asyncio.create_task(tool.run("trap '' TERM; echo $$ > a.pid; while :; do sleep 0.01; done", take=tool.take))
    await tool.begun(1)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [pid for pid in tool.pids if is_alive(pid)] == []


async def test_no_descriptor_is_left(tool: Tool) -> None:
    await tool.run("true", take=tool.take)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        await run_program(["/nonexistent"], environment={}, directory=tool.directory, log=tool.heard.append)
    await tool.run("exit 1", take=tool.take)
    assert set(os.listdir("/proc/self/fd")) == before
